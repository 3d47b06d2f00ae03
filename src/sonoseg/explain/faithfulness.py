"""Measures of how faithful a heat map is: to the place of the lesion, and to what the network's answer depends on.

All of them use one grid (H, W), the network's own. Pixels with the same heat have a random order. So a map that is flat
or zero everywhere is as good as chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import rankdata

from sonoseg.evaluate.surface import border_distances

STEPS = 16
"""Steps of the deletion and insertion curves. A curve has one value more."""
TOLERANCE = 15 / 224
"""Share of the image's side by which the heat's maximum may miss the lesion (Zhang et al. 2018: 15 pixels)."""
BLOCK = 16 / 224
"""Side of a square as a share of the image's side. A random order takes whole squares, because an image with single
exchanged pixels looks like no real image."""
BLUR = 1 / 16
"""Standard deviation of the blur as a share of the side: wide enough to hide lesions. Blurred pixels count as deleted.
"""


def heat_share(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Returns the share of the heat in the mask: the energy-based pointing game (Wang et al. 2020, Score-CAM).

    Args:
        heat: (H, W), not negative.
        mask: (H, W).

    Returns:
        0 to 1. For a map that is flat or zero everywhere it is the share of the area that the mask covers.
    """
    total = float(heat.sum(dtype=np.float64))
    if total <= 0:
        return float(mask.mean())
    inside = float(heat[mask].sum(dtype=np.float64))
    return inside / total


def pointing(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Measures whether the largest heat lies within `TOLERANCE` of the mask: the pointing game (Zhang et al. 2018).

    Args:
        heat: (H, W).
        mask: (H, W), not empty.

    Returns:
        The share of the hottest pixels that do (0 or 1 if there is one hottest pixel), and the share of all pixels
        that do, which is the value of chance.
    """
    near = distance_transform_edt(~mask) <= TOLERANCE * max(mask.shape)
    is_hottest = heat == heat.max()
    return float(near[is_hottest].mean()), float(near.mean())


def border_agreement(
    order: NDArray[np.int64], mask: NDArray[np.bool_]
) -> tuple[float, float]:
    """Compares the mask with the hottest pixels, as many as the mask has.

    Args:
        order: (H, W), see `heat_order`.
        mask: (H, W), not empty.

    Returns:
        Intersection over union, 0 to 1 (about a / (2 − a) by chance, for a mask that covers the share a), and the mean
        distance in pixels from a point of either border to the other border.
    """
    hottest = order < mask.sum()
    iou = (hottest & mask).sum() / (hottest | mask).sum()
    _, assd = border_distances(hottest, mask)
    return float(iou), assd


def random_order(shape: tuple[int, int], seed: int) -> NDArray[np.int64]:
    """Returns (H, W): the rank of each pixel, from 0, in a random order of squares and of the pixels in a square."""
    random = np.random.default_rng(seed)
    side = max(1, round(BLOCK * max(shape)))
    height, width = shape
    rows = -(-height // side)  # rounded up
    columns = -(-width // side)
    squares = random.permutation(rows * columns).reshape(rows, columns)
    square_of = squares.repeat(side, 0).repeat(side, 1)[:height, :width]
    within_square = random.random(shape)
    sequence = np.lexsort((within_square.ravel(), square_of.ravel()))
    return _ranks(sequence, shape)


def heat_order(heat: NDArray[np.float32], ties: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns (H, W): the rank of each pixel, from 0, the hottest first.

    Args:
        heat: (H, W).
        ties: (H, W), the order of pixels that are equally hot, see `random_order`.
    """
    sequence = np.lexsort((ties.ravel(), -heat.ravel()))
    return _ranks(sequence, heat.shape)


def _ranks(sequence: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The rank of each pixel, given the pixels in their order."""
    ranks = np.empty(sequence.size, dtype=np.int64)
    ranks[sequence] = np.arange(sequence.size)
    return ranks.reshape(shape)


def blur(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the image (H, W) so blurred that only the coarsest brightness is left."""
    blurred: NDArray[np.float32] = gaussian_filter(
        image, BLUR * max(image.shape), mode="nearest"
    )
    return blurred


def exchanged(
    image: NDArray[np.float32], other: NDArray[np.float32], order: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns (STEPS − 1, H, W): `image` with the first 1/STEPS, 2/STEPS, … of its pixels taken from `other`.

    Petsiuk et al. 2018 (RISE): deletion goes from the image to the blurred image, insertion back.

    Args:
        image, other: (H, W).
        order: (H, W), in which the pixels are exchanged.
    """
    cuts = np.arange(1, STEPS) * order.size / STEPS
    return np.where(order[None] < cuts[:, None, None], other, image)


def area_under(curve: NDArray[np.float64]) -> float:
    """Returns the area by the trapezoidal rule under (STEPS + 1,) values at equal steps from 0 to 1."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def rank_correlations(
    heat: NDArray[np.float32], others: Sequence[NDArray[np.float32]]
) -> list[float | None]:
    """Returns Spearman's correlation over pixels of one map with others (H, W): 1 the same, 0 nothing in common.

    Returns:
        One value per map of `others`. All are None if `heat` is flat, since it has no order. A value is 0 if only the
        other map is flat.
    """
    if heat.min() == heat.max():
        return [None] * len(others)
    ranks = rankdata(heat)
    correlations: list[float | None] = []
    for other in others:
        if other.min() == other.max():
            correlations.append(0.0)
        else:
            matrix = np.corrcoef(ranks, rankdata(other))
            correlations.append(float(matrix[0, 1]))
    return correlations
