"""Synthetic breast ultrasound as DICOM: a still, a loop and a split screen, with regions of known spacing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.data.phantom import SPACING, make_phantom
from sonoseg.errors import InputError
from sonoseg.files import atomic_path, output_folder

KINDS = ("still", "loop", "split")
MOST = 10_000
_FRAMES = 12
_MARGIN = 24  # pixels of black screen around a region, where a scanner writes text
_SIZE = (320, 400)


@dataclass(frozen=True)
class Screen:
    """What a scanner shows: (N, H, W) uint8 frames, their lesion masks, and where the B-mode images lie."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    boxes: tuple[tuple[int, int, int, int], ...]
    spacing: tuple[float, float] = (SPACING, SPACING)


def make_screen(kind: str, seed: int) -> Screen:
    """A screen with a lesion in each region.

    Args:
        kind: "still"; "loop", of 12 frames on which the tissue moves; or "split", of two regions side by side.
        seed: the same seed makes the same screen.
    """
    image, mask = make_phantom(seed, size=_SIZE)
    height, width = _SIZE
    lefts = [_MARGIN]
    if kind == "split":
        other, other_mask = make_phantom(seed + 1, size=_SIZE)
        image, mask = np.hstack([image, other]), np.hstack([mask, other_mask])
        lefts.append(_MARGIN + width)
    boxes = tuple((left, _MARGIN, width, height) for left in lefts)
    shifts = range(_FRAMES) if kind == "loop" else range(1)
    frames = np.stack([_moved(image, shift) for shift in shifts])
    masks = np.stack([_moved(mask, shift) for shift in shifts])
    return Screen(frames, masks, boxes)


def write_dicom_phantoms(folder: Path | str, count: int, seed: int = 0) -> None:
    """Writes `count` files of ultrasound and their segmentations, in turns of the three kinds.

    Args:
        folder: made if need be; files of the same names are replaced.
        count: at least 1.
        seed: screen i is `make_screen(kind, seed + 2 i)`.

    Raises:
        InputError: `count` is below 1 or over `MOST`, `seed` below 0, or the folder cannot be written to.
    """
    from sonoseg.dicom.regions import Region
    from sonoseg.dicom.wrap import make_image

    if not 1 <= count <= MOST:
        raise InputError(
            "phantoms", f"{count} files cannot be made", f"ask for 1 to {MOST}"
        )
    if seed < 0:
        raise InputError(
            "--seed", f"{seed} is below 0", "give 0 or a positive whole number"
        )
    images, masks = (
        output_folder(Path(folder) / "images"),
        output_folder(Path(folder) / "masks"),
    )
    for i in range(count):
        kind = KINDS[i % len(KINDS)]
        screen = make_screen(kind, seed + 2 * i)
        regions = [Region(*box, screen.spacing) for box in screen.boxes]
        name = f"synthetic_{i:02d}_{kind}"
        dataset = make_image(
            screen.frames, regions, f"phantom-{seed}-{i}", f"{seed}-{name}"
        )
        path = images / f"{name}.dcm"
        with atomic_path(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
        _write_truth(path, screen, masks / f"{name}_seg.dcm")


def _write_truth(image: Path, screen: Screen, path: Path) -> None:
    """Writes the known masks as a segmentation of the image."""
    from sonoseg.dicom.lesions import Tracker
    from sonoseg.dicom.read import read_dicom
    from sonoseg.dicom.seg import make_seg
    from sonoseg.dicom.source import Algorithm

    file, tracker = read_dicom(image), Tracker()
    outlines = []
    for view in file.views():
        truth = screen.masks[view.frame - 1][view.region.slices]
        outlines += tracker.follow(view, truth)
    with atomic_path(path) as temporary:
        make_seg(file, outlines, Algorithm("phantom", "1", "0" * 64)).save_as(temporary)


def _moved(image: NDArray[Any], shift: int) -> NDArray[Any]:
    """The image moved to the right, with a black margin around it."""
    return np.pad(np.roll(image, shift, axis=1), _MARGIN)
