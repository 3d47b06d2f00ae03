"""Precision, recall, F1, IoU and Dice under three named conventions, and false lesions on normal images.

Every metric is computed for each image and then averaged. The average depends on the score of an image without
lesion. Papers disagree on that score, so every result is reported under three conventions:

- `paper`: all images; an undefined ratio (0/0) counts 0. An empty mask on an image without lesion scores 0. The mean
  cannot exceed the share of images with a lesion (Anari et al. 2025; derived from its Table 1).
- `lesion`: only the images with a lesion; an undefined ratio counts 0.
- `all`: all images; an empty mask on an image without lesion scores 1 in every metric, any other undefined ratio 0.

This module is the only place that defines them. `image_scores` computes them, `included` selects the images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import Counts
from sonoseg.core.intervals import Interval, bootstrap_interval, share_interval

METRICS = ("precision", "recall", "f1", "iou", "dice")
CONVENTIONS = ("paper", "lesion", "all")
GRID = (224, 224)
"""Height and width in pixels at which masks are compared: the size of the paper's images."""

FALSE_LESION_FRACTION = 0.001
"""A connected false-positive part that covers at least this share of the image is called a false lesion.

It is 50 pixels at 224×224. This is about the smallest area (7×7) that a radiologist would take for a finding."""

FALSE_LESION_MEANING = (
    "share of the images without lesion on which at least one connected false-positive part"
    f" covers {FALSE_LESION_FRACTION:.1%} of the image or more"
)


def included(counts: Counts, convention: str) -> NDArray[np.bool_]:
    """Returns (N,) bool: the images that `convention` averages over.

    Raises:
        ValueError: there is no such convention.
    """
    if convention not in CONVENTIONS:
        raise ValueError(
            f"unknown convention {convention!r}: use one of {', '.join(CONVENTIONS)}"
        )
    if convention == "lesion":
        return counts.has_lesion
    return np.ones(len(counts), dtype=np.bool_)


def image_scores(counts: Counts, convention: str) -> dict[str, NDArray[np.float64]]:
    """Returns every metric of every image that `convention` includes.

    Args:
        counts: N images.
        convention: `paper`, `lesion` or `all` (see the module's docstring).

    Returns:
        For each name in `METRICS` an array of shape (M,), values in 0..1. M = N; under `lesion` M is the number of
        images with a lesion. F1 and Dice are the same by definition: 2·tp / (2·tp + fp + fn).
    """
    chosen = counts[included(counts, convention)]
    tp, fp, fn = chosen.tp, chosen.fp, chosen.fn
    undefined = np.zeros(len(chosen))
    if convention == "all":
        is_empty_on_empty = tp + fp + fn == 0
        undefined = is_empty_on_empty.astype(np.float64)

    def ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(whole > 0, part / np.maximum(whole, 1), undefined)

    predicted, true = tp + fp, tp + fn
    dice = ratio(2 * tp, predicted + true)
    return {
        "precision": ratio(tp, predicted),
        "recall": ratio(tp, true),
        "f1": dice,
        "iou": ratio(tp, predicted + fn),
        "dice": dice,
    }


def summary(
    counts: Counts, groups: list[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Returns mean and 95 % bootstrap interval of every metric under every convention.

    Args:
        counts: N images.
        groups: N names; images of one group are resampled together (see `bootstrap_interval`).

    Returns:
        convention → {metric: mean, metric_interval: [low, high]}; None where no image is included, and an interval
        also where `bootstrap_interval` has none.
    """
    table: dict[str, dict[str, Any]] = {}
    for convention in CONVENTIONS:
        scores = image_scores(counts, convention)
        rows = np.flatnonzero(included(counts, convention))
        members = _of_rows(groups, rows)
        table[convention] = {}
        for metric in METRICS:
            table[convention] |= with_interval(
                metric, scores[metric], members, bootstrap_interval
            )
    return table


def normals_summary(
    counts: Counts,
    largest_false_part: NDArray[np.float64],
    groups: list[str] | None = None,
) -> dict[str, Any]:
    """Returns how often something is segmented on the images without lesion.

    Args:
        counts: N images, with and without lesion.
        largest_false_part: (N,), area of the largest connected false-positive part as a share of the image.
        groups: N names, as in `summary`.

    Returns:
        `images` (number of images without lesion), `any_false_positive` (share of them with a false-positive pixel),
        `false_lesion` (share of them with a part of at least `FALSE_LESION_FRACTION`), each with its interval (see
        `share_interval`), and `false_lesion_means`, the definition in words. The shares are None if there is no such
        image.
    """
    rows = np.flatnonzero(~counts.has_lesion)
    members = _of_rows(groups, rows)
    has_false_pixel = counts.fp[rows] > 0
    has_false_lesion = largest_false_part[rows] >= FALSE_LESION_FRACTION
    table: dict[str, Any] = {"images": len(rows)}
    table |= with_interval(
        "any_false_positive", has_false_pixel, members, share_interval
    )
    table |= with_interval("false_lesion", has_false_lesion, members, share_interval)
    table["false_lesion_means"] = FALSE_LESION_MEANING
    return table


def _of_rows(groups: list[str] | None, rows: NDArray[np.intp]) -> list[str] | None:
    """The groups of the images in `rows`; None if there are no groups."""
    if groups is None:
        return None
    return [groups[row] for row in rows]


def with_interval(
    name: str,
    values: NDArray[Any],
    groups: list[str] | None,
    interval_of_mean: Callable[[NDArray[Any], list[str] | None], Interval | None],
) -> dict[str, Any]:
    """For JSON: `name`, the mean of the values (N,), and `name_interval`, its interval by group; None for no values."""
    if not len(values):
        return {name: None, f"{name}_interval": None}
    interval = interval_of_mean(values, groups)
    return {name: float(values.mean()), f"{name}_interval": interval and list(interval)}
