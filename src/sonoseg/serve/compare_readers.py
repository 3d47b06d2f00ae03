"""`sonoseg compare-readers`: how far the readers of one folder agree, with each other and with the network."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import Counts, count, stack
from sonoseg.core.image import Image, read_image
from sonoseg.core.kappa import kappa, kappa_of_table
from sonoseg.core.mask import check_filled
from sonoseg.core.metrics import image_scores
from sonoseg.core.sizes import Sizes, sizes_summary
from sonoseg.data.scan import read_table, subfolder
from sonoseg.errors import InputError, counted
from sonoseg.files import is_file, is_folder
from sonoseg.reader.segmenter import Segmenter, load
from sonoseg.report.tables import Cell, interval_text, text_table
from sonoseg.serve.collect import mask_path, read_mask
from sonoseg.serve.reader_sizes import (
    Row,
    check_row,
    compare_sizes,
    measured_row,
    read_rows,
)
from sonoseg.serve.records import CALIPERS

Mask = NDArray[np.bool_]
NETWORK = "network"
_TABLE = "annotations.csv"
_HEADER = (
    *("first", "second", "images", "Dice", "κ pixels", "κ lesion", "κ label"),
    *("measured", "bias %", "limits %", "ICC"),
)
_LEGEND = (
    "images: accepted by both. Dice: mean over the images on which one of the two sees a lesion.",
    "κ: Cohen's kappa of all pixels, of whether there is a lesion, and of the labels; – where it is 0/0.",
    "measured: images on which both outline the first one's largest lesion, with one pixel size. Bias, limits of",
    "agreement: by how much the second's longest diameter is longer, in % of the mean of both. ICC: of those in mm.",
)


@dataclass(frozen=True)
class Reader:
    """What one reader accepted.

    Attributes:
        name: of the reader, unlike that of every other one.
        folder: with images/ and masks/.
        labels: label of each image by the name of its file.
        rows: sizes of each image by the name of its file.
        by_caliper: names of the files in which the reader put calipers down.
    """

    name: str
    folder: Path
    labels: dict[str, str]
    rows: dict[str, Row]
    by_caliper: frozenset[str]

    def mask(self, file: str) -> Mask:
        """The mask (H, W) of an image; its sizes are checked, and that it is no outline."""
        mask = read_mask(self.folder, file)
        check_filled(mask_path(self.folder, file), mask)
        check_row(mask, self.rows[file], file in self.by_caliper)
        return mask

    def image(self, file: str) -> Image:
        """An image, as the reader saw it."""
        return read_image(self.folder / "images" / file)


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree.

    Attributes:
        first, second: their names; the second may be the network.
        images: which both have judged.
        dice: mean over the images on which at least one sees a lesion; None if there is none.
        kappa_pixels: of lesion or not, over the pixels of all images.
        kappa_lesion: of whether an image shows a lesion.
        kappa_label: of the labels; None with the network, which has no label.
        sizes: `sizes.sizes_summary`, with the first as the reference.
        other_pixel_size: images that `sizes` leaves out, because the two have different sizes of a pixel for them.
    """

    first: str
    second: str
    images: int
    dice: float | None
    kappa_pixels: float | None
    kappa_lesion: float | None
    kappa_label: float | None
    sizes: dict[str, Any]
    other_pixel_size: int


@dataclass
class _Pair:
    """What is collected of two judges, image by image."""

    counts: list[Counts] = field(default_factory=list)
    labels: list[tuple[str, str]] = field(default_factory=list)
    sizes: list[Sizes] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


def compare_readers_command(folder: Path, model: str, as_json: bool) -> str:
    """A table of the agreement of all pairs of readers, and of each reader with the network.

    Args:
        folder: that was served, or its folder annotations/.
        model: a shipped name or a bundle file.
        as_json: return JSON instead of a table.

    Raises:
        InputError: nothing was accepted in the folder, or a file cannot be read.
    """
    agreements = compare_readers(find_readers(folder), load(model))
    if as_json:
        return json.dumps([asdict(one) for one in agreements], indent=2)
    rows = []
    for one in agreements:
        kappas = (one.kappa_pixels, one.kappa_lesion, one.kappa_label)
        counts = (one.first, one.second, one.images)
        rows.append((*counts, one.dice, *kappas, *_size_cells(one.sizes)))
    lines = [text_table(_HEADER, rows), "", *_LEGEND]
    left_out = sum(one.other_pixel_size for one in agreements)
    if left_out:
        comparisons = counted(left_out, "comparison")
        lines.append(f"Of sizes, {comparisons} with different pixel sizes left out.")
    return "\n".join(lines)


def find_readers(folder: Path) -> list[Reader]:
    """The readers who accepted something, in the order of their names.

    Where several folders are of one reader, such as a first and a second reading, each name has its folder in brackets.

    Raises:
        InputError: there is none, or a table cannot be read.
    """
    readers = []
    inner = subfolder(folder, "images") or folder / "images"
    for place in (folder, folder / "annotations", inner / "annotations"):
        if not is_folder(place):
            continue
        for own in sorted(place.iterdir()):
            if is_file(own / _TABLE):
                readers.append(_reader(own))
    readers = [reader for reader in readers if reader.labels]
    if not readers:
        hint = "give the folder that sonoseg serve showed"
        raise InputError(folder, "nothing that readers have accepted is there", hint)
    return sorted(_distinct(readers, folder), key=lambda reader: reader.name)


def compare_readers(readers: list[Reader], segmenter: Segmenter) -> list[Agreement]:
    """The agreement of all pairs of readers, then of each reader with the network.

    Masks are read image by image, and each image is segmented once.

    Args:
        readers: of different names.
        segmenter: the network.

    Raises:
        InputError: a file cannot be read, or two readers have different images of one name, or masks of different
            sizes of one image.
    """
    names = [reader.name for reader in readers]
    pairs = [*itertools.combinations(names, 2), *((name, NETWORK) for name in names)]
    collected: dict[tuple[str, str], _Pair] = {pair: _Pair() for pair in pairs}
    files = {file for reader in readers for file in reader.labels}
    for file in sorted(files):
        own = [reader for reader in readers if file in reader.labels]
        masks = {reader.name: reader.mask(file) for reader in own}
        labels = {reader.name: reader.labels[file] for reader in own}
        masks[NETWORK] = segmenter.segment(_common_image(file, own)).mask
        labels[NETWORK] = ""
        rows = {reader.name: reader.rows[file] for reader in own}
        for first, second in pairs:
            if first in masks and second in masks:
                pair = collected[first, second]
                pair.counts.append(_count(file, masks[second], masks[first]))
                pair.labels.append((labels[first], labels[second]))
                row = rows[first]
                other = rows.get(second) or measured_row(masks[second], row)
                sizes = compare_sizes((masks[first], row), (masks[second], other))
                if sizes is not None:
                    pair.sizes.append(sizes)
                    pair.groups.append(row.group)
    return [
        _agreement(first, second, collected[first, second]) for first, second in pairs
    ]


def _reader(folder: Path) -> Reader:
    rows = read_table(folder / _TABLE, ("file", "label", "reader", "changed"))
    labels = {row["file"]: row["label"] for row in rows}
    for file in labels:
        if Path(file).name != file:
            raise InputError(folder / _TABLE, "names a file elsewhere", "correct it")
    sizes = read_rows(folder / "labels.csv")
    for file in labels:
        if file not in sizes:
            problem = f"has no row for {file}, which {_TABLE} has"
            raise InputError(folder / "labels.csv", problem, "accept it again")
    name = rows[0]["reader"] if rows else folder.name
    if name == NETWORK:  # only the network has its name
        name = f"{name} (reader)"
    by_caliper = {row["file"] for row in rows if CALIPERS in row["changed"].split(", ")}
    return Reader(name, folder, labels, sizes, frozenset(by_caliper))


def _distinct(readers: list[Reader], root: Path) -> list[Reader]:
    """The same readers, all under different names: by their names they are compared."""
    times = Counter(reader.name for reader in readers)
    named = []
    for reader in readers:
        if times[reader.name] > 1:
            place = reader.folder.relative_to(root).as_posix()
            reader = replace(reader, name=f"{reader.name} ({place})")
        named.append(reader)
    # A third reader may be called as one of them is now.
    return named if named == readers else _distinct(named, root)


def _common_image(file: str, readers: list[Reader]) -> Image:
    """The image of that name, which must have the same pixels for all of these readers."""
    first, *others = readers
    image = first.image(file)
    for other in others:
        if not np.array_equal(image.pixels, other.image(file).pixels):
            problem = f"is another image for {first.name} than for {other.name}"
            raise InputError(file, problem, "compare folders of the same images")
    return image


def _count(file: str, mask: Mask, reference: Mask) -> Counts:
    if mask.shape != reference.shape:
        hint = "remove what was accepted of the older image"
        raise InputError(file, "has masks of different sizes", hint)
    return count(mask, reference)


def _agreement(first: str, second: str, pair: _Pair) -> Agreement:
    sizes = sizes_summary(pair.sizes, pair.groups)
    if not pair.counts:
        return Agreement(first, second, 0, None, None, None, None, sizes, 0)
    counts = stack(pair.counts)
    is_seen = (counts.tp + counts.fp + counts.fn) > 0
    dice = None
    if is_seen.any():
        dice = float(image_scores(counts[is_seen], "all")["dice"].mean())
    both, only_second = counts.tp.sum(), counts.fp.sum()
    only_first, neither = counts.fn.sum(), counts.tn.sum()
    pixels = kappa_of_table([[both, only_first], [only_second, neither]])
    sees = [_words(counts.tp + counts.fn), _words(counts.tp + counts.fp)]
    label = None
    if second != NETWORK:
        columns: list[Any] = list(zip(*pair.labels, strict=True))
        label = kappa(columns[0], columns[1])
    images = len(pair.counts)
    sees_lesion = kappa(*sees)
    others = images - len(pair.sizes)
    kappas = (pixels, sees_lesion, label)
    return Agreement(first, second, images, dice, *kappas, sizes, others)


def _size_cells(sizes: dict[str, Any]) -> tuple[Cell, ...]:
    """Images, bias, limits and ICC of the longest diameter for the table."""
    percent = sizes["longest_diameter"]["percent"]
    absolute = sizes["longest_diameter"]["absolute"]
    if percent is None:
        return (0, None, None, None)
    limits = interval_text(percent["limits"], ".1f")
    icc = absolute and absolute["icc"]
    return (sizes["images"], f"{percent['bias']:+.1f}", limits, icc)


def _words(areas: NDArray[np.int64]) -> list[str]:
    return ["lesion" if area else "none" for area in areas]
