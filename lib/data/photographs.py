"""Labelled pictures of ImageNet, read where they lie: Tiny ImageNet, and a sample of one picture for each class.

A set of pictures is an archive that stays packed: members are decoded when asked for, to tensors in [0, 1] of the size
that the ImageNet networks take. Nothing is unpacked onto the disk.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from lib.data import downloads
from lib.data.archive import Archive
from lib.data.downloads import DataError, PublicFile
from lib.store.files import checksum

TINY_IMAGENET = PublicFile(
    name="tiny-imagenet-200.zip",
    folder="tiny-imagenet",
    url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    checksum="md5:90528d7ca1a48142e341f4ef8d21d0de",
    aliases={"tiny-imagenet-200-subset.zip": ""},  # the same layout, fewer pictures
)
IMAGENET_SAMPLE = PublicFile(
    name="imagenet-sample-images.zip",
    folder="imagenet-sample",
    url="https://github.com/EliSchwartz/imagenet-sample-images/archive/refs/heads/master.zip",
    checksum="",  # GitHub packs it anew
    aliases={
        "imagenet-sample-images-master.zip": "",
        # Shorter side 256 already.
        "imagenet-sample-256.tar": "sha256:b885a3712017c774c9392a8d87dfffb4277278fab8818b2b6ac914b1cdeee537",
    },
)
SIDE = 224  # of the pictures that the networks were trained on
SHORTER_SIDE = 256  # before the centre is cut out, as torchvision's networks were evaluated


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures and their classes; pixels are decoded when asked for.

    Attributes
    ----------
    archive : Archive
    members : tuple of str, the N names in the archive
    labels : Tensor (N,), int64, indices into `wnids`
    wnids : tuple of str, the WordNet identifiers of the K classes, sorted; ImageNet's own order
    words : tuple of str, what each class is called
    name : str, says what pictures these are
    shorter_side : int, to which a picture is scaled before its centre is cut out
    side : int, pixels a side of that centre
    """

    archive: Archive = field(repr=False)
    members: tuple[str, ...] = field(repr=False)
    labels: Tensor = field(repr=False)
    wnids: tuple[str, ...] = field(repr=False)
    words: tuple[str, ...] = field(repr=False)
    name: str
    shorter_side: int
    side: int = SIDE

    def __len__(self) -> int:
        return len(self.members)

    def subset(self, index: Tensor | Sequence[int], label: str = "subset") -> "Pictures":
        """The pictures at the index, named "name[label]"."""
        index = torch.as_tensor(index)
        members = tuple(self.members[int(i)] for i in index)
        return replace(self, members=members, labels=self.labels[index], name=f"{self.name}[{label}]")

    def spread(self, num: int | None) -> "Pictures":
        """`num` pictures at equal distances in the set, so of many classes; all if num is None or there are no more."""
        if num is None or num >= len(self):
            return self
        return self.subset(torch.arange(num) * len(self) // num, f"{num} of {len(self)}")

    def of_classes(self, num: int | None) -> "Pictures":
        """The pictures of the first `num` classes, which then are all the classes there are; all if num is None."""
        if num is None or num >= len(self.wnids):
            return self
        some = self.subset((self.labels < num).nonzero()[:, 0], f"{num} classes")
        return replace(some, wnids=self.wnids[:num], words=self.words[:num])

    def at(self, side: int) -> "Pictures":
        """The same pictures at another size: the whole shorter side brought to `side` pixels, for small networks."""
        return replace(self, shorter_side=side, side=side)

    def inputs(self) -> Tensor:
        """All of them, decoded: (N, 3, side, side), float32, values in [0, 1]. Raises DataError for a damaged one."""
        return torch.stack([self._decode(member) for member in self.members])

    def batches(self, size: int) -> Iterator[Tensor]:
        """`inputs` in consecutive pieces of `size`, each decoded when its turn comes."""
        for rows in torch.arange(len(self)).split(size):
            yield self.subset(rows).inputs()

    @cached_property
    def identity(self) -> str:
        """sha256 of the archive, the members and what is done to them: what a stored artifact depends on."""
        parts = [self.archive.identity, *self.members, str(self.shorter_side), str(self.side)]
        return checksum("\n".join(parts).encode())

    def _decode(self, member: str) -> Tensor:
        contents = self.archive.read(member)
        try:
            with PIL.Image.open(io.BytesIO(contents)) as image:
                square = centre(scale(image.convert("RGB"), self.shorter_side), self.side)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's ways to say "no picture"
            raise self.archive.damaged(error, member) from None
        return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255


def scale(image: PIL.Image.Image, shorter_side: int) -> PIL.Image.Image:
    """The picture with its shorter side brought to that many pixels (bilinear), its proportions kept."""
    factor = shorter_side / min(image.size)
    if factor == 1:
        return image
    return image.resize([round(factor * length) for length in image.size], PIL.Image.Resampling.BILINEAR)


def centre(image: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """The square of `side` pixels in the middle of the picture."""
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


class Split(NamedTuple):
    """Training and validation pictures of the same classes."""

    train: Pictures
    validation: Pictures


def tiny_imagenet(data_dir: str | Path | None = None, download: bool = True) -> Split:
    """Tiny ImageNet: 200 of ImageNet's classes at 64 x 64 pixels, here enlarged (bilinear) to SIDE x SIDE.

    Raises
    ------
    MissingFileError
        If the archive is nowhere.
    DataError
        If it is damaged or laid out in another way.

    Reference: http://cs231n.stanford.edu, the course's challenge of 2015.
    """
    archive = Archive(downloads.obtain(TINY_IMAGENET, data_dir, download))
    try:
        return _split(archive)
    except (KeyError, ValueError, IndexError) as error:  # lists and folders that do not agree, or are no such lists
        raise archive.damaged(error) from None


def _split(archive: Archive) -> Split:
    root = archive.names[0].split("/")[0]
    wnids = tuple(sorted(_lines(archive, f"{root}/wnids.txt")))
    names = dict(line.split("\t", 1) for line in _lines(archive, f"{root}/words.txt"))
    words = tuple(names[wnid].split(",")[0] for wnid in wnids)
    index = {wnid: i for i, wnid in enumerate(wnids)}

    def pictures(labelled: list[tuple[str, str]], name: str) -> Pictures:
        """The pictures of (member, wnid)."""
        if not labelled:
            raise DataError(
                f"{archive.path} holds no pictures for {name}; expected Tiny ImageNet's layout, {root}/{{train,val}}/"
            )
        members, classes = zip(*labelled, strict=True)
        return Pictures(archive, members, torch.tensor([index[c] for c in classes]), wnids, words, name, SIDE)

    train = [
        (name, name.split("/")[2])
        for name in archive.names
        if name.startswith(f"{root}/train/") and name.endswith(".JPEG")
    ]
    annotations = (line.split("\t")[:2] for line in _lines(archive, f"{root}/val/val_annotations.txt"))
    validation = [(f"{root}/val/images/{file}", wnid) for file, wnid in annotations]
    return Split(pictures(train, "tiny-imagenet-train"), pictures(validation, "tiny-imagenet-val"))


def imagenet_sample(data_dir: str | Path | None = None, download: bool = True) -> Pictures:
    """One picture for each of ImageNet's 1,000 classes, shorter side 256, centre cut out; labels are ImageNet's own.

    They most likely are training pictures: a network's accuracy on them flatters it. Errors as in `tiny_imagenet`.

    Reference: https://github.com/EliSchwartz/imagenet-sample-images
    """
    archive = Archive(downloads.obtain(IMAGENET_SAMPLE, data_dir, download))
    members = sorted((Path(name).stem[:9], name) for name in archive.names if Path(name).suffix in (".jpg", ".JPEG"))
    wnids = tuple(wnid for wnid, _ in members)
    if len(set(wnids)) != 1000 or len(members) != 1000:
        raise DataError(
            f"{archive.path} holds {len(members)} pictures of {len(set(wnids))} classes, expected 1,000 of 1,000"
        )
    return Pictures(
        archive=archive,
        members=tuple(name for _, name in members),
        labels=torch.arange(len(members)),
        wnids=wnids,
        words=_words(archive, members),
        name="imagenet-sample",
        shorter_side=SHORTER_SIDE,
    )


def _words(archive: Archive, members: list[tuple[str, str]]) -> tuple[str, ...]:
    """What the classes are called: from classes.csv beside the archive, else from the pictures' names."""
    table = archive.path.with_name("classes.csv")
    if not table.exists():
        return tuple(Path(name).stem[10:].replace("_", " ") or wnid for wnid, name in members)
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            names = {line["wnid"]: line["name"] for line in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise DataError(
            f"{table} cannot be read as a table of wnid and name ({type(error).__name__}: {error}); copy it again, or "
            "remove it: the pictures' names tell the classes, too"
        ) from None
    if missing := [wnid for wnid, _ in members if wnid not in names]:
        raise DataError(f"{table} lacks {len(missing)} of the classes, {missing[0]} among them")
    return tuple(names[wnid] for wnid, _ in members)


def _lines(archive: Archive, name: str) -> list[str]:
    return [line for line in archive.read(name).decode("utf-8-sig").splitlines() if line.strip()]
