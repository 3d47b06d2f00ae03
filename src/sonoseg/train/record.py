"""images.csv of a run folder: the images that a network was trained and chosen on, with hashes of their pixels."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.resize import resize_image
from sonoseg.data.case import Case
from sonoseg.data.pack import PackedCase
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError
from sonoseg.files import is_file, write_text
from sonoseg.report.tables import csv_text

_logger = logging.getLogger(__name__)

IMAGES = "images.csv"
TRAIN, VALIDATION, UNKNOWN = "train", "validation", "unknown"
OWN, EARLIER = "own", "earlier"
"""Values of the column run: an image of this run, or of a run that it started from or learned from."""
HINT = "delete it; sonoseg then does not know on which images the run was trained"
LARGEST = 4096
"""Pixels that images are resized to at most."""
_HASH = re.compile("[0-9a-f]{32}")


def pixel_hash(pixels: NDArray[np.uint8]) -> str:
    """32 hex digits of sha256 of size and pixels (H, W) uint8; name and format of the file do not matter."""
    height, width = pixels.shape
    digest = hashlib.sha256(f"{height}x{width} ".encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()[:32]


def pixels_of(case: Case) -> str:
    """The `pixel_hash` of a case's image and that of its mask, at their own size.

    Raises:
        InputError: one of them cannot be read.
    """
    image, mask = case.read()
    return f"{pixel_hash(image)} {pixel_hash(mask.view(np.uint8))}"


def facts_of(case: Case) -> str:
    """What the scores of a case come from besides its pixels: label, group, and what its pixels measure."""
    # Of a file it is (): `pixels_of` has its size. Of a pack it is the size before packing.
    full_shape = case.full_shape(())
    return repr((case.label, case.group, case.pixel_size, full_shape))


@dataclass(frozen=True)
class Seen:
    """One image that a network has seen.

    Attributes:
        file: its name.
        subset: train, validation or unknown. If unknown, `file` is the name of a run whose images are not recorded.
        size: the image was resized to size × size pixels.
        image: `pixel_hash` of the resized image.
        mask: `pixel_hash` of the resized mask.
    """

    file: str
    subset: str
    size: int
    image: str
    mask: str


@dataclass(frozen=True)
class Record:
    """All images that a network has seen.

    Attributes:
        own: the training and validation images of this run, in order.
        earlier: those of the runs that it started from or learned from.
    """

    own: tuple[Seen, ...]
    earlier: tuple[Seen, ...] = ()

    @property
    def digest(self) -> str:
        """64 hex digits of sha256 of names, subsets and pixels of `own`; of `earlier` if `own` is empty."""
        images = self.own or self.earlier
        lines = "\n".join(
            f"{seen.file} {seen.subset} {seen.image} {seen.mask}" for seen in images
        )
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def complete(self) -> bool:
        """Whether the images of all earlier runs are known."""
        return all(seen.subset != UNKNOWN for seen in self.earlier)

    @cached_property
    def _subsets(self) -> dict[int, dict[str, str]]:
        """Size → pixel hash → subset; train if it is in both."""
        found: dict[int, dict[str, str]] = {}
        for seen in self.earlier + self.own:
            if seen.subset == UNKNOWN:
                continue
            subsets = found.setdefault(seen.size, {})
            if seen.subset == TRAIN or seen.image not in subsets:
                subsets[seen.image] = seen.subset
        return found

    def subset_of(self, image: NDArray[np.uint8]) -> str | None:
        """train or validation if the network has seen this image (H, W) under any name; None if it has not."""
        found = set()
        for size, subsets in self._subsets.items():
            resized = resize_image(image, (size, size))
            found.add(subsets.get(pixel_hash(resized)))
        for subset in (TRAIN, VALIDATION):
            if subset in found:
                return subset
        return None

    def warn_of_pack(self, cases: Sequence[Case]) -> None:
        """Says if images of a pack cannot be recognised: resized twice, an image has other pixels than resized once."""
        of_pack = {case.own.size for case in cases if isinstance(case, PackedCase)}
        seen = {one.size for one in self.own + self.earlier if one.subset != UNKNOWN}
        others = sorted(seen - of_pack)
        if of_pack and others:
            sizes = " and ".join(map(str, others))
            _logger.warning(
                "images that the network was trained on at %s pixels are not recognised in a pack of another size:"
                " give the folder",
                sizes,
            )

    def is_held_out(self, image: NDArray[np.uint8]) -> bool:
        """Whether this image (H, W) is a validation image, or one that the network has not seen.

        Some splits have a copy of one image in both subsets: it counts as held out.
        """
        hashes: dict[int, str] = {}
        subsets = set()
        for seen in self.earlier + self.own:
            if seen.subset == UNKNOWN:
                continue
            if seen.size not in hashes:
                resized = resize_image(image, (seen.size, seen.size))
                hashes[seen.size] = pixel_hash(resized)
            if seen.image == hashes[seen.size]:
                subsets.add(seen.subset)
        return VALIDATION in subsets or not subsets

    def write(self, folder: Path) -> None:
        """Writes images.csv."""
        header = ["run"] + [field.name for field in fields(Seen)]
        rows = [(OWN, *astuple(seen)) for seen in self.own]
        rows += [(EARLIER, *astuple(seen)) for seen in self.earlier]
        write_text(folder / IMAGES, csv_text(header, rows))

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """Reads images.csv in `folder`; None if there is none.

        Raises:
            InputError: it cannot be read.
        """
        file = folder / IMAGES
        if not is_file(file):
            return None
        try:
            rows = [(row["run"], _seen(row)) for row in read_table(file, ("run",))]
        except (ValueError, KeyError, InputError) as error:
            raise InputError(
                file, "is not a list of images that can be read", HINT
            ) from error
        own = tuple(seen for run, seen in rows if run == OWN)
        earlier = tuple(seen for run, seen in rows if run == EARLIER)
        return cls(own, earlier)

    @classmethod
    def read_of(cls, folder: Path, cases: str) -> Record | None:
        """Reads images.csv as `read` does, and checks that it is the list that the run was trained with.

        Args:
            folder: the run.
            cases: the `digest` in the run's config.

        Raises:
            InputError: it cannot be read, or was changed since.
        """
        record = cls.read(folder)
        if record is not None and record.digest != cases:
            raise InputError(
                folder / IMAGES,
                "is not the list of images that the run was trained with",
                HINT,
            )
        return record

    def changes(self, before: Record | None) -> str:
        """How the images of this record differ from those of an earlier record of the same run, in words."""
        if before is None:
            return "other images or masks"
        old = {(seen.subset, seen.file): seen for seen in before.own}
        new = {(seen.subset, seen.file): seen for seen in self.own}
        both = [key for key in new if key in old]
        other_images = [key for key in both if new[key].image != old[key].image]
        other_masks = [key for key in both if new[key].mask != old[key].mask]
        added = [key for key in new if key not in old]
        missing = [key for key in old if key not in new]
        found = [
            _counted(other_images, "changed", "image"),
            _counted(other_masks, "changed", "mask"),
            _counted(added, "new", "image"),
            _counted(missing, "missing", "image"),
        ]
        texts = [text for text in found if text]
        return ", ".join(texts) or "another order of its images"


def _seen(row: dict[str, str]) -> Seen:
    """A row of images.csv.

    Raises:
        KeyError: it lacks a column.
        ValueError: it has a value that no record has.
    """
    seen = Seen(row["file"], row["subset"], int(row["size"]), row["image"], row["mask"])
    if seen.subset in (TRAIN, VALIDATION):
        has_hashes = _HASH.fullmatch(seen.image) and _HASH.fullmatch(seen.mask)
        good = 0 < seen.size <= LARGEST and bool(has_hashes)
    else:
        is_empty = seen.size == 0 and seen.image == "" and seen.mask == ""
        good = seen.subset == UNKNOWN and is_empty
    if not good or row["run"] not in (OWN, EARLIER):
        raise ValueError(f"{seen.file} has a value that no record has")
    return seen


def _counted(keys: Sequence[tuple[str, str]], word: str, noun: str) -> str:
    if not keys:
        return ""
    first_file = keys[0][1]
    if len(keys) == 1:
        return f"1 {word} {noun} ({first_file})"
    return f"{len(keys)} {word} {noun}s ({first_file}, …)"


def union(parts: Iterable[Record]) -> tuple[Seen, ...]:
    """All images of several records, each once."""
    found: dict[Seen, None] = {}  # used as a set that keeps the order
    for part in parts:
        found |= dict.fromkeys(part.earlier + part.own)
    return tuple(found)
