"""Distance between predicted and reference border: 95 % Hausdorff distance and average symmetric surface distance.

Overlap says little about the border of a large lesion. These distances do, and segmentation challenges report them as
well (Maier-Hein et al. 2024, Metrics reloaded). The distance is undefined if one of the borders is missing. So the
means leave out images without lesion and images with an empty prediction. Lesions with an empty prediction are counted
as missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.core.metrics import with_interval
from sonoseg.data.case import Case
from sonoseg.errors import counted
from sonoseg.report.tables import interval_text

Pixel = tuple[float, float]
DISTANCES = ("hd95", "assd", "hd95_mm", "assd_mm")


@dataclass(frozen=True)
class Surface:
    """Distances between the two borders of one image; None if they are undefined.

    Attributes:
        missed: the image has a lesion, and the prediction is empty.
        hd95: the larger of the 95th percentiles of the distances from either border to the other, in pixels.
        assd: the mean over both borders' pixels of the distance to the other, in pixels.
        hd95_mm, assd_mm: the same in millimetres, if the spacing of the image is known.
    """

    missed: bool
    hd95: float | None = None
    assd: float | None = None
    hd95_mm: float | None = None
    assd_mm: float | None = None


def measure_surface(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], pixel: Pixel | None = None
) -> Surface:
    """Measures one image.

    Args:
        prediction, truth: masks (H, W).
        pixel: (height, width) of a pixel in mm, if known.
    """
    if not (prediction.any() and truth.any()):
        return Surface(missed=bool(truth.any()))
    hd95, assd = border_distances(prediction, truth)
    if pixel is None:
        return Surface(missed=False, hd95=hd95, assd=assd)
    hd95_mm, assd_mm = border_distances(prediction, truth, pixel)
    return Surface(False, hd95, assd, hd95_mm, assd_mm)


def border_distances(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], pixel: Pixel = (1.0, 1.0)
) -> tuple[float, float]:
    """Returns HD95 and ASSD of two masks (H, W), in the unit of `pixel` (its height and width). No mask may be empty.

    The border of a mask: its pixels of which one of the four neighbours is outside the mask or outside the image.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    first = prediction & ~binary_erosion(prediction)
    second = truth & ~binary_erosion(truth)
    to_second = distance_transform_edt(~second, sampling=pixel)[first]
    to_first = distance_transform_edt(~first, sampling=pixel)[second]
    hd95 = max(np.percentile(to_second, 95), np.percentile(to_first, 95))
    assd = np.concatenate([to_second, to_first]).mean()
    return float(hd95), float(assd)


def pixel_size(case: Case, own: tuple[int, ...], grid: tuple[int, ...]) -> Pixel | None:
    """Returns height and width of a pixel in mm after an image of shape `own` was scaled to `grid`; None if unknown."""
    size = case.pixel_size
    if size is None:
        return None
    row, column = size
    return row * own[0] / grid[0], column * own[1] / grid[1]


def surface_summary(
    surfaces: Sequence[Surface], groups: Sequence[str], grid: tuple[int, ...]
) -> dict[str, Any]:
    """Returns the part of metrics.json that is about the borders.

    Args:
        surfaces: of N images.
        groups: N names; images of one group are resampled together (see `bootstrap_interval`).
        grid: (H, W) of the masks.

    Returns:
        `images`, how many have both borders; for each of `DISTANCES` the mean, its 95 % `..._interval` (see
        `bootstrap_interval`) and `..._median` (all None if no image has it), those in mm over `images_mm`
        images; `unit`, in words; and `missed`, how many images have a lesion and an empty prediction.
    """
    table: dict[str, Any] = {
        "images": sum(surface.hd95 is not None for surface in surfaces)
    }
    for name in DISTANCES:
        table |= _mean_interval_median(name, surfaces, groups)
    table["images_mm"] = sum(surface.hd95_mm is not None for surface in surfaces)
    table["unit"] = f"pixels of the {grid[0]} × {grid[1]} grid"
    table["missed"] = sum(surface.missed for surface in surfaces)
    return table


def _mean_interval_median(
    name: str, surfaces: Sequence[Surface], groups: Sequence[str]
) -> dict[str, Any]:
    """The three entries of one of `DISTANCES` over the images that have it."""
    found: list[float] = []
    members: list[str] = []
    for surface, group in zip(surfaces, groups, strict=True):
        distance = getattr(surface, name)
        if distance is not None:
            found.append(distance)
            members.append(group)
    values = np.array(found)
    return {
        **with_interval(name, values, members, bootstrap_interval),
        f"{name}_median": float(np.median(values)) if found else None,
    }


def describe_surface(table: dict[str, Any]) -> str:
    """Returns `surface_summary` as one line for the terminal."""
    missed = f"nothing drawn on {table['missed']} with a lesion"
    if not table["images"]:
        return f"border distance: no image has both borders; {missed}"
    interval = interval_text(table["hd95_interval"], ".2f")
    hd95 = f"HD95 {table['hd95']:.2f} ({interval})"
    words = f"{hd95}, ASSD {table['assd']:.2f} {table['unit']}"
    if table["images_mm"]:
        words += f"; {table['hd95_mm']:.2f} and {table['assd_mm']:.2f} mm over {table['images_mm']}"
    return (
        f"border distance over {counted(table['images'], 'image')}: {words}; {missed}"
    )
