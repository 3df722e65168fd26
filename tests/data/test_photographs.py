"""Pictures come out of their archives as they went in, with their classes, and a damaged archive says so."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from lib.data import downloads, photographs
from lib.data.downloads import DataError, MissingFileError
from tests.pictures_made import WNIDS, colour, jpeg, tiny_members, write_zip

torch.set_num_threads(1)

DATA_DIR = Path(os.environ.get("DATA_DIR", "nowhere"))


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, contents in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(contents)
            archive.addfile(entry, io.BytesIO(contents))
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty DATA_DIR, an empty cache, no network; an archive made here passes for the one that was published."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OFFLINE", "1")
    monkeypatch.setattr(downloads, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(downloads, "verify", lambda *_: None)
    return tmp_path


@pytest.fixture
def tiny(folder):
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", tiny_members())
    return photographs.tiny_imagenet()


def sample_members() -> dict[str, bytes]:
    return {f"n{1000 - i:08}.jpg": jpeg(colour(i % 3), (256, 256)) for i in range(1000)}


@pytest.fixture(scope="module")
def sample_tar(tmp_path_factory):
    return write_tar(tmp_path_factory.mktemp("sample") / "imagenet-sample-256.tar", sample_members())


# --- Tiny ImageNet --------------------------------------------------------------------------------


def test_tiny_imagenet_has_its_pictures_labels_and_words(tiny):
    train, validation = tiny
    assert (len(train), len(validation)) == (6, 3)
    assert train.wnids == validation.wnids == WNIDS  # sorted, whatever wnids.txt's order
    assert train.words == ("thing 1", "thing 2", "thing 3")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert validation.labels.tolist() == [0, 1, 2]
    for part in tiny:
        for picture, label in zip(part.inputs(), part.labels, strict=True):
            expected = torch.tensor(colour(int(label))) / 255
            assert (picture.mean(dim=(1, 2)) - expected).abs().max() < 0.02


def test_pictures_are_enlarged_bilinearly_to_what_networks_take(tiny):
    inputs = tiny.train.inputs()
    assert inputs.shape == (6, 3, 224, 224)
    assert inputs.dtype == torch.float32
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    image = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    ours = torch.from_numpy(np.array(photographs.scale(image, 224))).permute(2, 0, 1).float()
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(image)).permute(2, 0, 1).float()[None], size=(224, 224), mode="bilinear"
    )
    assert (ours - theirs[0]).abs().max() <= 1.01  # Pillow rounds to bytes, once for each axis


def test_batches_and_subsets_are_rows_of_the_whole(tiny):
    whole = tiny.train.inputs()
    torch.testing.assert_close(torch.cat(list(tiny.train.batches(4))), whole, rtol=0, atol=0)
    part = tiny.train.subset(torch.tensor([5, 0]))
    assert torch.equal(part.inputs(), whole[[5, 0]])
    assert part.labels.tolist() == [2, 0]
    spread = tiny.train.spread(3)
    assert spread.labels.tolist() == [0, 1, 2]
    assert tiny.train.spread(99) is tiny.train


def test_the_first_classes_alone(tiny):
    two = tiny.train.of_classes(2)
    assert two.labels.tolist() == [0, 0, 1, 1]
    assert (two.wnids, two.words) == (WNIDS[:2], ("thing 1", "thing 2"))
    assert torch.equal(two.inputs(), tiny.train.inputs()[:4])
    assert tiny.train.of_classes(3) is tiny.train.of_classes(None) is tiny.train


def test_identity_tells_sets_apart(tiny, folder):
    assert tiny.train.identity != tiny.train.spread(3).identity != tiny.validation.identity
    assert tiny.train.identity == photographs.tiny_imagenet().train.identity
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", tiny_members() | {"tiny-imagenet-200/x": b""})
    assert tiny.train.identity != photographs.tiny_imagenet().train.identity


def test_grey_pictures_get_three_colours(folder):
    members = tiny_members()
    members[f"tiny-imagenet-200/train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG"] = jpeg((90, 90, 90), mode="L")
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", members)
    first = photographs.tiny_imagenet().train.inputs()[0]
    assert first.shape == (3, 224, 224)
    torch.testing.assert_close(first, torch.full_like(first, 90 / 255), rtol=0, atol=0.01)


# --- The sample -----------------------------------------------------------------------------------


def test_the_sample_is_sorted_into_imagenets_order(folder, sample_tar):
    sample = photographs.imagenet_sample(sample_tar.parent)
    assert len(sample) == 1000
    assert list(sample.wnids) == sorted(sample.wnids)
    assert sample.labels.tolist() == list(range(1000))
    rows = [0, 1, 999]
    for row, picture in zip(rows, sample.subset(rows).inputs(), strict=True):
        expected = torch.tensor(colour((999 - row) % 3)) / 255
        assert (picture.mean(dim=(1, 2)) - expected).abs().max() < 0.02


def test_github_s_zip_of_the_originals_is_read_too(folder):
    members = {
        f"imagenet-sample-images-master/n{i:08}_white_thing.JPEG": jpeg(colour(i % 3), (30, 20)) for i in range(1000)
    }
    write_zip(folder / "imagenet-sample-images.zip", {"imagenet-sample-images-master/README.md": b""} | members)
    sample = photographs.imagenet_sample()
    assert sample.words[7] == "white thing"
    assert sample.spread(4).inputs().shape == (4, 3, 224, 224)


def test_the_centre_of_the_scaled_picture_is_cut_out():
    """Shorter side 256, then the middle 224: a band of 16 pixels is lost above, below, and more at the long sides."""
    columns = np.zeros((256, 512, 3), np.uint8)
    columns[:, 144:368] = 255
    square = np.array(photographs.centre(photographs.scale(PIL.Image.fromarray(columns), 256), 224))
    assert square.shape == (224, 224, 3)
    assert (square == 255).all()
    assert photographs.scale(PIL.Image.new("RGB", (100, 300)), 256).size == (256, 768)


def test_classes_csv_names_the_classes(folder, sample_tar):
    table = sample_tar.with_name("classes.csv")
    lines = [f"{i},n{i + 1:08},name {i},1,1" for i in range(1000)]
    try:
        table.write_text("\n".join(["index,wnid,name,orig_w,orig_h", *lines]))
        assert photographs.imagenet_sample(sample_tar.parent).words[41] == "name 41"
        table.write_text("\n".join(["index,wnid,name,orig_w,orig_h", *lines[:-1]]))
        with pytest.raises(DataError, match="lacks 1 of the classes, n00001000"):
            photographs.imagenet_sample(sample_tar.parent)
    finally:
        table.unlink()


# --- What can go wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "file"),
    [
        (photographs.tiny_imagenet, photographs.TINY_IMAGENET),
        (photographs.imagenet_sample, photographs.IMAGENET_SAMPLE),
    ],
)
def test_a_missing_archive_is_named_with_its_address(folder, load, file):
    with pytest.raises(MissingFileError) as error:
        load()
    for part in (file.name, file.url, f"DATA_DIR/{file.folder}/"):
        assert part in str(error.value)


@pytest.mark.faults
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no archive" * 100])
def test_a_damaged_zip_is_named(tiny, damage):
    path = tiny.train.archive.path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"tiny-imagenet-200\.zip.*download the archive again"):
        photographs.tiny_imagenet()


@pytest.mark.faults
def test_a_flipped_byte_in_a_zip_is_noticed(tiny):
    """By the zip's own checksum, before Pillow sees it."""
    path = tiny.train.archive.path
    contents = bytearray(path.read_bytes())
    contents[contents.index(jpeg(colour(0))) + 400] ^= 0xFF
    path.write_bytes(contents)
    again = photographs.tiny_imagenet()
    with pytest.raises(DataError, match=f"{WNIDS[0]}_0.JPEG cannot be read.*CRC"):
        again.train.inputs()


@pytest.mark.faults
def test_a_truncated_tar_is_named(folder, sample_tar):
    (folder / sample_tar.name).write_bytes(sample_tar.read_bytes()[:100_000])
    with pytest.raises(DataError, match="imagenet-sample-256"):
        photographs.imagenet_sample().spread(50).inputs()


@pytest.mark.faults
def test_what_is_no_picture_is_named(folder):
    members = tiny_members()
    members["tiny-imagenet-200/val/images/val_1.JPEG"] = b"no picture"
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", members)
    with pytest.raises(DataError, match=r"val_1\.JPEG cannot be read \(UnidentifiedImageError"):
        photographs.tiny_imagenet().validation.inputs()


@pytest.mark.faults
@pytest.mark.parametrize("lost", ["wnids.txt", "words.txt", "val/val_annotations.txt", "train"])
def test_another_layout_is_refused(folder, lost):
    members = {name: contents for name, contents in tiny_members().items() if f"tiny-imagenet-200/{lost}" not in name}
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", members)
    with pytest.raises(DataError, match=lost):
        photographs.tiny_imagenet()


ROOT = "tiny-imagenet-200"
EDITED = {  # a member, and what is in it instead
    "a class without a word": {f"{ROOT}/words.txt": b"n00000000\tnothing\n"},
    "words of another encoding": {f"{ROOT}/words.txt": "n0\tSch\xe4fer\n".encode("latin-1")},
    "a word without its class": {f"{ROOT}/words.txt": b"nothing\n"},
    "a class that nobody listed": {f"{ROOT}/train/n99999999/images/a.JPEG": b""},
    "a picture of no class": {f"{ROOT}/val/val_annotations.txt": b"val_0.JPEG\n"},
    "a page": {f"{ROOT}/wnids.txt": b"<html>"},
}


@pytest.mark.faults
@pytest.mark.parametrize("edited", EDITED.values(), ids=EDITED)
def test_lists_that_do_not_agree_are_refused_with_the_archives_name(folder, edited):
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", tiny_members() | edited)
    with pytest.raises(DataError, match=r"tiny-imagenet-200\.zip.* cannot be read .*download the archive again"):
        photographs.tiny_imagenet()


@pytest.mark.faults
def test_an_archive_of_nothing_is_refused(folder):
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", {})
    with pytest.raises(DataError, match=r"tiny-imagenet-200\.zip"):
        photographs.tiny_imagenet()


@pytest.mark.faults
def test_marks_and_blank_lines_of_an_editor_change_nothing(folder):
    members = {
        n: b"\xef\xbb\xbf" + text + b"\r\n" if n.endswith(".txt") else text for n, text in tiny_members().items()
    }
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", members)
    assert photographs.tiny_imagenet().train.wnids == tuple(WNIDS)


@pytest.mark.faults
@pytest.mark.parametrize("text", ["wnid;name\nn0;x\n", "<html>", "wnid,name\nn0,Sch\xe4fer\n"])
def test_a_classes_csv_that_is_none_is_refused(folder, sample_tar, text):
    (folder / sample_tar.name).symlink_to(sample_tar)
    (folder / "classes.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"classes\.csv (cannot be read|lacks)"):
        photographs.imagenet_sample()


@pytest.mark.faults
def test_a_sample_without_all_classes_is_refused(folder):
    write_tar(folder / "imagenet-sample-256.tar", dict(list(sample_members().items())[:-1]))
    with pytest.raises(DataError, match="999 pictures of 999 classes"):
        photographs.imagenet_sample()


# --- The real archives ----------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA_DIR / "tiny-imagenet").exists(), reason="DATA_DIR has no tiny-imagenet")
def test_the_real_tiny_imagenet():
    train, validation = photographs.tiny_imagenet(DATA_DIR, download=False)
    assert len(train.wnids) == len(set(train.labels.tolist())) == 200
    assert set(validation.labels.tolist()) <= set(range(200))
    assert train.words[train.wnids.index("n04285008")] == "sports car"
    inputs = train.spread(5).inputs()
    assert inputs.shape == (5, 3, 224, 224)
    assert (inputs.flatten(1).std(dim=1) > 0.05).all()


@pytest.mark.skipif(not (DATA_DIR / "imagenet-sample").exists(), reason="DATA_DIR has no imagenet-sample")
def test_the_real_samples_ostrich_is_class_9():
    sample = photographs.imagenet_sample(DATA_DIR, download=False)
    assert sample.wnids[9] == "n01518878"
    assert sample.words[9] == "ostrich"
