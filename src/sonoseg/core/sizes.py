"""The size of a lesion as outlined against its size in the reference mask: both diameters, and the area.

What a report says is a length. Overlap hides that outlines may all be a little too small. Per image the largest lesion
of the reference mask is measured, and the outline that shares most pixels with it, both at the image's own size, as
`sonoseg segment` measures. The differences are percent of the mean of both, since the pixel size of many images is not
known, and mm over the images where it is. The intraclass correlation needs one unit for all images: it is over these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.limits import (
    Limits,
    intraclass_correlation,
    limits_of_agreement,
    percent_of_mean,
)
from sonoseg.core.measure import Spacing, connected_runs, find_lesions

MEASURES = {
    "longest_diameter": "mm",
    "perpendicular_diameter": "mm",
    "area": "mm²",
}
"""What is compared, and its unit if the pixel size is known."""


class Measured(NamedTuple):
    """One lesion: its diameters and area, in mm and mm² or in pixels. The fields are those of `MEASURES`."""

    longest_diameter: float
    perpendicular_diameter: float
    area: float


@dataclass(frozen=True)
class Sizes:
    """The largest lesion of one image.

    Attributes:
        reference: of the reference mask; None if it has no lesion.
        outline: what the prediction outlines of that lesion; None if that is nothing.
        is_metric: in mm and mm²; otherwise in pixels of the image.
    """

    reference: Measured | None = None
    outline: Measured | None = None
    is_metric: bool = False

    @property
    def missed(self) -> bool:
        """Whether there is a lesion of which nothing is outlined."""
        return self.reference is not None and self.outline is None


def measure_sizes(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing: Spacing,
    is_metric: bool,
) -> Sizes:
    """Measures one image.

    Args:
        prediction, truth: masks (H, W).
        spacing: (row, column): height and width of a pixel in mm; or in pixels of the image, if these masks were
            resized or the spacing is not known.
        is_metric: `spacing` is in mm.
    """
    of_truth = partial(_measured, truth, spacing)
    of_prediction = partial(_measured, prediction, spacing)
    return pair_sizes(truth, prediction, of_truth, of_prediction, is_metric)


def pair_sizes(
    reference: NDArray[np.bool_],
    other: NDArray[np.bool_],
    of_reference: Callable[[int], Measured],
    of_other: Callable[[int], Measured],
    is_metric: bool,
) -> Sizes:
    """The size of the largest part of `reference`, and of the part of `other` that shares most pixels with it.

    Args:
        reference, other: masks (H, W).
        of_reference, of_other: return the size of the part at a place, as in `place_of_largest`.
        is_metric: the sizes are in mm and mm².
    """
    if not reference.any():
        return Sizes()
    place = place_of_largest(reference, other)
    outline = None if place is None else of_other(place)
    return Sizes(of_reference(0), outline, is_metric)


def _measured(mask: NDArray[np.bool_], spacing: Spacing, place: int) -> Measured:
    """The size of one part of a mask (H, W); the largest part has place 0."""
    lesion = find_lesions(mask, mask.astype(np.float32), spacing=spacing)[place]
    return Measured(lesion.longest.length, lesion.across.length, lesion.area)


def place_of_largest(
    reference: NDArray[np.bool_], other: NDArray[np.bool_]
) -> int | None:
    """Finds the part of `other` that shares most pixels with the largest part of `reference`; both masks (H, W).

    Returns:
        Its place among the parts of `other`, the largest of which is 0, as in `measure.find_lesions`; None if none
        shares a pixel, or `reference` is empty.
    """
    is_largest = _places(reference) == 0
    shared = np.bincount(_places(other)[is_largest] + 1, minlength=1)
    shared[0] = 0  # the background
    return int(np.argmax(shared)) - 1 if shared.any() else None


def _places(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(H, W): the place of each pixel's part among the parts, by size; −1 in the background."""
    runs = connected_runs(mask)
    lengths = runs.stop - runs.start
    areas = np.bincount(runs.label, lengths)
    place_of_label = np.empty(len(areas), np.int64)
    place_of_label[np.argsort(-areas, kind="stable")] = np.arange(len(areas))
    places = np.full(mask.shape, -1)
    places[mask] = np.repeat(place_of_label[runs.label], lengths)
    return places


def sizes_summary(sizes: Sequence[Sizes], groups: Sequence[str]) -> dict[str, Any]:
    """Returns the part of metrics.json that is about the sizes.

    Args:
        sizes: of N images.
        groups: N names; images of one group are resampled together for the intervals.

    Returns:
        `images`, those with a lesion that is outlined; `images_metric`, those of them with known pixel size; `missed`,
        images of whose largest lesion nothing is outlined; and for each of `MEASURES` two tables, each None if there
        is no such image: `percent`, and `absolute` in its `unit`. A table has `bias` (outline minus reference) with
        `bias_interval`, `limits` (of agreement, see `limits_of_agreement`) and `median_error`; the absolute one also
        `icc` with `icc_interval` (see `intraclass_correlation`).
    """
    found = [
        (one.reference, one.outline, one.is_metric, group)
        for one, group in zip(sizes, groups, strict=True)
        if one.reference and one.outline
    ]
    is_metric = np.array([metric for *_, metric, _ in found], dtype=np.bool_)
    members = np.array([group for *_, group in found], dtype=np.str_)
    table: dict[str, Any] = {
        "images": len(found),
        "images_metric": int(is_metric.sum()),
        "missed": sum(one.missed for one in sizes),
    }
    for name, unit in MEASURES.items():
        reference = np.array([getattr(one, name) for one, *_ in found])
        outline = np.array([getattr(one, name) for _, one, *_ in found])
        table[name] = {
            "percent": _percent(reference, outline, members.tolist()),
            "absolute": _absolute(
                reference[is_metric],
                outline[is_metric],
                members[is_metric].tolist(),
                unit,
            ),
        }
    return table


def _percent(
    reference: NDArray[np.float64], outline: NDArray[np.float64], groups: Sequence[str]
) -> dict[str, Any] | None:
    if not len(reference):
        return None
    return _limits(limits_of_agreement(percent_of_mean(reference, outline), groups))


def _absolute(
    reference: NDArray[np.float64],
    outline: NDArray[np.float64],
    groups: Sequence[str],
    unit: str,
) -> dict[str, Any] | None:
    if not len(reference):
        return None
    icc = intraclass_correlation(reference, outline, groups)
    value, interval = icc or (None, None)
    return {
        "unit": unit,
        **_limits(limits_of_agreement(outline - reference, groups)),
        "icc": value,
        "icc_interval": interval and list(interval),
    }


def _limits(limits: Limits) -> dict[str, Any]:
    """For JSON."""
    return {
        "bias": limits.bias,
        "bias_interval": limits.bias_interval and list(limits.bias_interval),
        "limits": None if limits.low is None else [limits.low, limits.high],
        "median_error": limits.median_error,
    }
