"""How far the drawn border lies from the true one: 95 % Hausdorff distance and average symmetric surface distance.

Overlap tells little of the border of a large lesion; these do, and are what segmentation challenges report beside it
(Maier-Hein et al. 2024, Metrics reloaded). A distance to a border that is not there is undefined: an image without
lesion, or one on which none is drawn, is left out of the means, and the latter are counted as missed instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.data.case import Case

Pixel = tuple[float, float]
DISTANCES = ("hd95", "assd", "hd95_mm", "assd_mm")


@dataclass(frozen=True)
class Surface:
    """Distances of one image's two borders; None where they are undefined.

    Attributes:
        missed: the image has a lesion, and none is drawn.
        hd95: the larger of the 95th percentiles of the distances from either border to the other, in pixels.
        assd: the mean over both borders' pixels of the distance to the other, in pixels.
        hd95_mm, assd_mm: the same in millimetres of the image, where its spacing is known.
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
    in_pixels = border_distances(prediction, truth)
    in_mm = border_distances(prediction, truth, pixel) if pixel else (None, None)
    return Surface(False, *in_pixels, *in_mm)


def border_distances(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], pixel: Pixel = (1.0, 1.0)
) -> tuple[float, float]:
    """HD95 and ASSD of two masks (H, W), neither empty, in the unit of `pixel` (its height and width).

    A mask's border is its pixels with a neighbour, of four, outside it or beyond the image.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    first, second = (mask & ~binary_erosion(mask) for mask in (prediction, truth))
    to_second = distance_transform_edt(~second, sampling=pixel)[first]
    to_first = distance_transform_edt(~first, sampling=pixel)[second]
    hd95 = max(np.percentile(to_second, 95), np.percentile(to_first, 95))
    return float(hd95), float(np.concatenate([to_second, to_first]).mean())


def pixel_size(case: Case, own: tuple[int, ...], grid: tuple[int, ...]) -> Pixel | None:
    """Height and width in mm of a pixel when an image of shape `own` is scaled to `grid`; None if unknown."""
    if case.spacing is None:
        return None
    return case.spacing * own[0] / grid[0], case.spacing * own[1] / grid[1]


def surface_summary(
    surfaces: Sequence[Surface], groups: Sequence[str], grid: tuple[int, ...]
) -> dict[str, Any]:
    """What metrics.json says of the borders.

    Args:
        surfaces: of N images.
        groups: N names; images of one group are resampled together (see `bootstrap_interval`).
        grid: (H, W) that the masks are of.

    Returns:
        `images` that have both borders; of each of `DISTANCES` the mean, its 95 % `..._interval` and `..._median`,
        None if no image has it, those in mm over `images_mm` images; `unit`, in words; and `missed`, how many images
        have a lesion on which none is drawn.
    """
    table: dict[str, Any] = {"images": sum(surface.hd95 is not None for surface in surfaces)}
    for name in DISTANCES:
        rows = [row for row, surface in enumerate(surfaces) if getattr(surface, name) is not None]
        values = np.array([getattr(surfaces[row], name) for row in rows])
        interval = list(bootstrap_interval(values, [groups[row] for row in rows])) if rows else None
        table[name] = float(values.mean()) if rows else None
        table[f"{name}_interval"] = interval
        table[f"{name}_median"] = float(np.median(values)) if rows else None
    table["images_mm"] = sum(surface.hd95_mm is not None for surface in surfaces)
    table["unit"] = f"pixels of the {grid[0]} × {grid[1]} grid"
    table["missed"] = sum(surface.missed for surface in surfaces)
    return table


def describe_surface(table: dict[str, Any]) -> str:
    """`surface_summary` as a line for the terminal."""
    missed = f"nothing drawn on {table['missed']} with a lesion"
    if not table["images"]:
        return f"border distance: no image has both borders; {missed}"
    low, high = table["hd95_interval"]
    words = f"HD95 {table['hd95']:.2f} ({low:.2f} to {high:.2f}), ASSD {table['assd']:.2f} {table['unit']}"
    if table["images_mm"]:
        words += f"; {table['hd95_mm']:.2f} and {table['assd_mm']:.2f} mm over {table['images_mm']}"
    return f"border distance over {table['images']} images: {words}; {missed}"
