"""Which pixels of a mask are lesion. It is decided by colours and alpha; unclear masks are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.decode import Samples, decode_samples
from sonoseg.core.mask_values import (
    HINT,
    NOISE,
    ROWS,
    Values,
    are_labels,
    eroded,
    has_area,
    has_levels,
    is_constant,
    is_image,
    share_of_gray,
    with_alpha,
)
from sonoseg.core.measure import Runs, connected_runs, convex_hull
from sonoseg.core.source import Source
from sonoseg.errors import InputError

LARGEST_LABEL = 15
"""Whole values up to here are labels, such as 0, 1, 2; larger ones are shades."""
_SPECK = 0.01
"""Of the area of a mask: smaller parts of it are not judged."""
_MOST_HOLE, _MOST_HULL = 1.5, 3.0
"""Over either, a part of a mask is an outline: its area with holes filled, and that of its convex hull, by its own.
The 2,666 masks of BUSI, BUS-BRA and BrEaST have at most 1.0015 and 1.57; outlines of up to 5 pixels around a lesion of
80 have 3.6 and more. The hull tells those that are not closed, or end at the border of the image."""
_THIN = 0.15
"""Half the thickness of an outline, at most, by the radius of a disc as large as what it encloses. Lines of up to 8
pixels around lesions of 80 and 160 have 0.11 at most, filled bodies with long spicules 0.35 and more."""


@dataclass(frozen=True)
class Mask:
    """A mask as it was read.

    Attributes:
        pixels: (H, W) bool, True is lesion.
        between: how many different values it has between that of the background and the largest.
        cut: the value above which a pixel was taken as lesion.
    """

    pixels: NDArray[np.bool_]
    between: int
    cut: float


def read_mask(source: Source) -> Mask:
    """Reads a mask: the lesion is what is brighter, or of another colour, than its black background.

    A colour counts as bright as its brightest channel. Where the colour is the same everywhere, alpha is read; where
    transparent pixels have a colour, they are background. Of values between black and the largest, as JPEG, smooth
    edges and probability maps have them, those above half the largest are lesion; of labels, every one above 0.

    Args:
        source: as for `sonoseg.core.image.read_image`.

    Raises:
        InputError: as `read_image`; or it is not clear what is lesion: no black background, lesion on most of
            the image's border (inverted masks), several gray levels that may be labels or shades, labels with an
            "ignore" value, values below 0, colour and transparency at odds, or an image in a mask's place.
    """
    samples = decode_samples(source)
    if samples.indices is not None and are_labels(samples.indices, samples.colour):
        samples = Samples(samples.subject, samples.indices)
    values = _values(samples)
    low, high = values.min(), values.max()
    _check_range(samples.subject, low, high)
    if high == 0:
        return Mask(np.zeros(values.shape, np.bool_), 0, 0)
    between = _between(values, low, high)
    cut = _cut(samples, values, between, float(high)) if len(between) else float(low)
    mask = values > cut
    _check_border(samples.subject, mask)
    return Mask(mask, len(between), cut)


def read_reference(path: Path) -> Mask:
    """Reads a mask that says what is lesion.

    Raises:
        InputError: as `read_mask` and `check_filled`.
    """
    mask = read_mask(path)
    check_filled(path, mask.pixels)
    return mask


def check_filled(path: Path, mask: NDArray[np.bool_]) -> None:
    """Refuses a mask (H, W) that is an outline. That of a network may have any form.

    Raises:
        InputError: of the file `path`.
    """
    problem = outline_problem(mask)
    if problem:
        raise InputError(path, problem, "fill the outline")


def outline_problem(mask: NDArray[np.bool_]) -> str:
    """Says that in a mask (H, W) a lesion was outlined and not filled; "" if that is not so."""
    runs = connected_runs(mask)
    areas = np.bincount(runs.label, runs.stop - runs.start)
    for label in np.flatnonzero(areas >= _SPECK * areas.sum()):
        own = runs.label == label
        part = Runs(*(field[own] for field in runs))
        filled, hull = _filled_area(part), _hull_area(part)
        is_open = filled > _MOST_HOLE * areas[label] or hull > _MOST_HULL * areas[label]
        if is_open and _is_thin(part, max(filled, hull)):
            share = areas[label] / max(filled, hull)
            return f"the mask seems to be an outline: it covers {share:.0%} of what it encloses"
    return ""


def _filled_area(part: Runs) -> int:
    """The pixels of a part with its holes."""
    around = np.pad(~_painted(part), 1, constant_values=True)
    runs = connected_runs(around, diagonal=False)
    is_outside = runs.label == 0  # the row above the part
    return int(around.size - (runs.stop - runs.start)[is_outside].sum())


def _painted(part: Runs) -> NDArray[np.bool_]:
    """The pixels of a part within the smallest box around it."""
    top, left = part.row.min(), part.start.min()
    pixels = np.zeros((part.row.max() + 1 - top, part.stop.max() - left), np.bool_)
    for row, start, stop, _ in zip(*part, strict=True):
        pixels[row - top, start - left : stop - left] = True
    return pixels


def _is_thin(part: Runs, enclosed: float) -> bool:
    """Whether a part is thin everywhere, for the area that it encloses; a filled body with long spicules is not."""
    inside = _painted(part)
    for _ in range(max(1, round(_THIN * math.sqrt(enclosed / math.pi)))):
        inside = eroded(inside)
        if not inside.any():
            return True
    return False


def _hull_area(part: Runs) -> float:
    x, y = convex_hull(part).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _check_range(subject: str, low: Any, high: Any) -> None:
    """Refuses values that are not finite or below 0, and a mask whose smallest value is not black."""
    if not (np.isfinite(low) and np.isfinite(high)):
        problem = "has pixels that are not finite numbers (NaN or infinite)"
        raise InputError(subject, problem, "replace them by numbers")
    if low < 0:
        raise InputError(subject, f"the mask has values below 0 (down to {low})", HINT)
    if low > high * NOISE:
        problem = "the mask has no black background"
        if low == high:
            problem += " (it has one colour)"
        raise InputError(subject, problem, HINT)


def _check_border(subject: str, mask: NDArray[np.bool_]) -> None:
    """Refuses a mask that is lesion on most of its border: black and white are exchanged."""
    share = border_share(mask)
    if share > 0.5:
        problem = f"the mask seems to be inverted: {share:.0%} of the image's border would be lesion"
        raise InputError(subject, problem, HINT)


def border_share(mask: NDArray[np.bool_]) -> float:
    """How much of the border of a mask (H, W) is lesion, from 0 to 1."""
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float(border.mean())


def _values(samples: Samples) -> Values:
    """How much lesion each pixel is, (H, W): 0 is none."""
    colour, alpha = samples.colour, samples.alpha
    if alpha is not None and is_constant(alpha):
        alpha = None if alpha.any() or not is_constant(colour) else alpha
    if alpha is not None and is_constant(colour):
        return alpha
    values = colour if colour.ndim == 2 else colour.max(axis=2)
    if _are_colours(samples):
        values = np.where(values > 0, np.uint8(255), np.uint8(0))
    if samples.top is not None:
        values = values // (255 // samples.top)
    if alpha is None:
        return values
    return with_alpha(values, alpha, samples.subject)


def _between(values: Values, low: Any, high: Any) -> Values:
    """The different values that are neither the smallest nor the largest."""
    if values.dtype not in (np.uint8, np.uint16):
        is_between = (values > low) & (values < high)
        return np.unique(values[is_between])
    seen = np.zeros(int(high) + 1, np.bool_)
    for top in range(0, len(values), ROWS):
        seen[values[top : top + ROWS]] = True
    seen[[low, high]] = False
    return np.flatnonzero(seen)


def _cut(samples: Samples, values: Values, between: Values, high: float) -> float:
    """The value above which a pixel of a mask of more than two values is lesion."""
    areas = [
        value for value in between[: LARGEST_LABEL + 1] if has_area(values == value)
    ]
    is_whole = bool((between == np.rint(between)).all()) and high == round(high)
    if is_whole and high <= LARGEST_LABEL:
        if samples.lossy:
            problem = "the mask has labels, which lossy compression changes"
            raise InputError(samples.subject, problem, "save the mask as PNG")
        is_smooth = samples.top == high and len(areas) < len(between)
        return high / 2 if is_smooth else 0
    if is_whole and between[-1] <= LARGEST_LABEL and areas and not samples.lossy:
        labels = ", ".join(f"{value:g}" for value in between)
        problem = f'the mask has the labels {labels} and the value {high:g}, which may mean "ignore"'
        hint = "keep 0 for background, 1 and up to 15 for lesions"
        raise InputError(samples.subject, problem, hint)
    are_even = not samples.lossy and len(areas) == len(between)
    if are_even or has_levels(values, high):
        problem = f"the mask has areas of gray between 0 and {high:g}, which may be labels or uncertain pixels"
        raise InputError(samples.subject, problem, HINT)
    if is_image(values, high):
        what = f"{share_of_gray(values, high):.0%} of what is not black is gray"
        problem = f"the mask seems to be an image: {what}"
        raise InputError(samples.subject, problem, HINT)
    return high / 2


def _are_colours(samples: Samples) -> bool:
    """Whether a mask is painted in a few colours on black, each in areas.

    Raises:
        InputError: there is gray or white among them, which may mean "ignore".
    """
    colour = samples.colour
    if colour.ndim == 2 or colour.dtype != np.uint8:
        return False
    packed = np.empty(colour.shape[:2], np.uint32)
    weights = np.array([1 << 16, 1 << 8, 1], np.uint32)
    seen: set[int] = set()
    for top in range(0, len(colour), ROWS):
        rows = slice(top, top + ROWS)
        packed[rows] = colour[rows].astype(np.uint32) @ weights
        seen.update(np.unique(packed[rows]).tolist())
        if len(seen) > LARGEST_LABEL + 1:
            return False
    used = np.array(sorted(seen), np.uint32)
    if used[0] != 0:
        return False
    painted = used[1:]
    channels = np.stack([painted >> 16, painted >> 8 & 255, painted & 255]).astype(int)
    is_pale = np.ptp(channels, axis=0) <= 32
    if is_pale.all() or not all(has_area(packed == one) for one in painted):
        return False
    if is_pale.any():
        problem = 'the mask has colours, and gray or white, which may mean "ignore"'
        raise InputError(samples.subject, problem, HINT)
    return True
