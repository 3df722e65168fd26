"""Archives of made-up pictures in the layouts of the real ones, for tests."""

import io
import zipfile
from pathlib import Path

import PIL.Image

from lib.data import photographs

WNIDS = ("n00000001", "n00000002", "n00000003")


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    """A picture of one colour: JPEG keeps it to within a few levels."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, colour).convert(mode).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def colour(i: int, j: int = 0) -> tuple[int, int, int]:
    """A red, a green and a blue, in shades."""
    return tuple(200 - 5 * j if c == i else 70 + 3 * j for c in range(3))


def tiny_members(per_class: int = 2) -> dict[str, bytes]:
    """Tiny ImageNet's layout: three classes of training pictures, one validation picture of each."""
    root = "tiny-imagenet-200"
    words = "n00000009\tnothing\n" + "".join(f"{w}\tthing {w[-1]}, more\n" for w in WNIDS)
    members = {f"{root}/wnids.txt": "\n".join(reversed(WNIDS)).encode(), f"{root}/words.txt": words.encode()}
    for i, wnid in enumerate(WNIDS):
        for j in range(per_class):
            members[f"{root}/train/{wnid}/images/{wnid}_{j}.JPEG"] = jpeg(colour(i, j))
        members[f"{root}/val/images/val_{i}.JPEG"] = jpeg(colour(i))
    boxes = (f"val_{i}.JPEG\t{wnid}\t0\t0\t63\t63" for i, wnid in enumerate(WNIDS))
    members[f"{root}/val/val_annotations.txt"] = "\n".join(boxes).encode()
    return members


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return path


def tiny_imagenet(folder: Path, per_class: int = 2) -> photographs.Split:
    """Three classes, a red, a green and a blue one, in a DATA_DIR."""
    write_zip(folder / "tiny-imagenet" / "tiny-imagenet-200.zip", tiny_members(per_class))
    return photographs.tiny_imagenet(folder)
