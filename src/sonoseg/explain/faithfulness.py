"""Measures of whether a heat map is true: of the lesion's place, and of what the network's answer rests on.

All work on one grid (H, W), the network's own. Where pixels have the same heat their order is random, so that a map
that is flat, or zero everywhere, counts as what it says: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import rankdata

from sonoseg.evaluate.surface import border_distances

STEPS = 16
"""Of the deletion and insertion curves, which have one value more."""
TOLERANCE = 15 / 224
"""Share of the image's side by which the heat's maximum may miss the lesion (Zhang et al. 2018: 15 pixels)."""
BLOCK = 16 / 224
"""Share of the side: a random order takes squares of it, since the patterns of single pixels are like no image."""
BLUR = 1 / 16
"""Deviation, as a share of the side, of the blur that stands for a deleted pixel; wide enough to hide lesions."""


def heat_share(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Share of the heat that lies in the mask: the energy-based pointing game (Wang et al. 2020, Score-CAM).

    Args:
        heat: (H, W), not negative.
        mask: (H, W).

    Returns:
        0 to 1; of a flat map, and of one that is zero everywhere, the share of the area that the mask covers.
    """
    total = float(heat.sum(dtype=np.float64))
    return float(heat[mask].sum(dtype=np.float64)) / total if total > 0 else float(mask.mean())


def pointing(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Whether the largest heat lies within `TOLERANCE` of the mask: the pointing game (Zhang et al. 2018).

    Args:
        heat: (H, W).
        mask: (H, W), not empty.

    Returns:
        The share of the pixels of largest heat that do, 0 or 1 where there is one; and that of all pixels, which is
        what chance gives.
    """
    near = distance_transform_edt(~mask) <= TOLERANCE * max(mask.shape)
    return float(near[heat == heat.max()].mean()), float(near.mean())


def border_agreement(order: NDArray[np.int64], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Compares the mask with as many pixels of the largest heat.

    Args:
        order: (H, W), see `heat_order`.
        mask: (H, W), not empty.

    Returns:
        Intersection over union, 0 to 1 (about a / (2 − a) by chance, for a mask that covers the share a), and the mean
        distance in pixels from a point of either border to the other border.
    """
    hottest = order < mask.sum()
    return float((hottest & mask).sum() / (hottest | mask).sum()), border_distances(hottest, mask)[
        1
    ]


def random_order(shape: tuple[int, int], seed: int) -> NDArray[np.int64]:
    """Each pixel's place, from 0, in a random order of squares, and of pixels within a square: (H, W)."""
    random = np.random.default_rng(seed)
    side = max(1, round(BLOCK * max(shape)))
    rows, columns = (-(-length // side) for length in shape)
    squares = random.permutation(rows * columns).reshape(rows, columns)
    square_of = squares.repeat(side, 0).repeat(side, 1)[: shape[0], : shape[1]]
    return _places(np.lexsort((random.random(shape).ravel(), square_of.ravel())), shape)


def heat_order(heat: NDArray[np.float32], ties: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each pixel's place, from 0, when the hottest come first: (H, W).

    Args:
        heat: (H, W).
        ties: (H, W), the order of pixels that are equally hot, see `random_order`.
    """
    return _places(np.lexsort((ties.ravel(), -heat.ravel())), heat.shape)


def _places(sequence: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    places = np.empty(sequence.size, dtype=np.int64)
    places[sequence] = np.arange(sequence.size)
    return places.reshape(shape)


def blur(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image (H, W) of which nothing but the coarsest brightness is left."""
    blurred: NDArray[np.float32] = gaussian_filter(image, BLUR * max(image.shape), mode="nearest")
    return blurred


def exchanged(
    image: NDArray[np.float32], other: NDArray[np.float32], order: NDArray[np.int64]
) -> NDArray[np.float32]:
    """`image` on its way to `other`: (STEPS − 1, H, W), the first 1/STEPS, 2/STEPS, … of the pixels exchanged.

    Petsiuk et al. 2018 (RISE): deletion goes from the image to its blurred self, insertion back.

    Args:
        image, other: (H, W).
        order: (H, W), in which the pixels are exchanged.
    """
    cuts = np.arange(1, STEPS) * order.size / STEPS
    return np.where(order[None] < cuts[:, None, None], other, image)


def area_under(curve: NDArray[np.float64]) -> float:
    """By the trapezoidal rule, of (STEPS + 1,) values at equal steps from 0 to 1."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def rank_correlations(
    heat: NDArray[np.float32], others: Sequence[NDArray[np.float32]]
) -> list[float | None]:
    """Spearman's correlation over pixels of one map with others (H, W): 1 the same, 0 nothing in common.

    Returns:
        One a map of `others`: None where `heat` is flat, since it has nothing to keep; 0 where only the other is.
    """
    if heat.min() == heat.max():
        return [None] * len(others)
    ranks = rankdata(heat)
    return [
        float(np.corrcoef(ranks, rankdata(other))[0, 1]) if other.min() < other.max() else 0.0
        for other in others
    ]
