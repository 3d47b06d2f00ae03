"""Precision, recall, F1, IoU and Dice under three named conventions, and false lesions on normal images.

Every metric is computed image by image and then averaged. What an image without a lesion scores decides the
average, and papers disagree on it, so each result is given under all three conventions:

- `paper`: all images; an undefined ratio (0/0) counts 0. So an empty answer on an empty image scores 0, and
  the mean cannot exceed the share of images with a lesion (Anari et al. 2025: decoded from its Table 1).
- `lesion`: only the images that hold a lesion; an undefined ratio counts 0.
- `all`: all images; an empty answer on an empty image scores 1 in every metric, any other undefined ratio 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import Counts
from sonoseg.core.intervals import bootstrap_interval

METRICS = ("precision", "recall", "f1", "iou", "dice")
CONVENTIONS = ("paper", "lesion", "all")
GRID = (224, 224)
"""Height and width at which masks are compared, the size of the paper's images."""

FALSE_LESION_FRACTION = 0.001
"""Share of the image's area from which a false-positive part is called a false lesion: 50 pixels at 224×224,
about the smallest blob (7×7) that a reader of the picture would take for a finding rather than for noise."""

FALSE_LESION_MEANING = (
    "share of the images without lesion on which at least one connected false-positive part"
    f" covers {FALSE_LESION_FRACTION:.1%} of the image or more"
)


def included(counts: Counts, convention: str) -> NDArray[np.bool_]:
    """(N,): the images that `convention` averages over."""
    if convention not in CONVENTIONS:
        raise ValueError(f"unknown convention {convention!r}: use one of {', '.join(CONVENTIONS)}")
    return counts.has_lesion if convention == "lesion" else np.ones(len(counts), dtype=np.bool_)


def image_scores(counts: Counts, convention: str) -> dict[str, NDArray[np.float64]]:
    """Every metric of every image that `convention` includes.

    Args:
        counts: N images.
        convention: `paper`, `lesion` or `all` (see the module's docstring).

    Returns:
        For each name in `METRICS` an array of shape (M,), values in 0..1; M = N, or the number of images with
        a lesion under `lesion`. F1 and Dice are the same by definition, 2·tp / (2·tp + fp + fn).
    """
    chosen = counts[included(counts, convention)]
    tp, fp, fn = chosen.tp, chosen.fp, chosen.fn
    empty_on_empty = (tp + fp + fn == 0).astype(np.float64)
    undefined = empty_on_empty if convention == "all" else np.zeros(len(chosen))

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


def summary(counts: Counts, groups: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Mean and 95 % bootstrap interval of every metric under every convention.

    Args:
        counts: N images.
        groups: N names; images of one group are resampled together (see `bootstrap_interval`).

    Returns:
        convention → {metric: mean, metric_interval: [low, high]}; None where no image is included.
    """
    table: dict[str, dict[str, Any]] = {}
    for convention in CONVENTIONS:
        scores = image_scores(counts, convention)
        rows = np.flatnonzero(included(counts, convention))
        members = None if groups is None else [groups[row] for row in rows]
        table[convention] = {}
        for metric in METRICS:
            table[convention] |= _with_interval(metric, scores[metric], members)
    return table


def normals_summary(
    counts: Counts,
    largest_false_part: NDArray[np.float64],
    groups: list[str] | None = None,
) -> dict[str, Any]:
    """What is drawn on the images that hold no lesion.

    Args:
        counts: N images, with and without lesion.
        largest_false_part: (N,), area of the largest connected false-positive part as a share of the image.
        groups: N names, as in `summary`.

    Returns:
        `images` (how many hold no lesion), `any_false_positive` (share of them with a false-positive pixel),
        `false_lesion` (share with a part of at least `FALSE_LESION_FRACTION`), each with its interval, and
        `false_lesion_means`, the definition in words. The shares are None where there is no such image.
    """
    rows = np.flatnonzero(~counts.has_lesion)
    members = None if groups is None else [groups[row] for row in rows]
    any_false = (counts.fp[rows] > 0).astype(np.float64)
    false_lesion = (largest_false_part[rows] >= FALSE_LESION_FRACTION).astype(np.float64)
    return {
        "images": len(rows),
        **_with_interval("any_false_positive", any_false, members),
        **_with_interval("false_lesion", false_lesion, members),
        "false_lesion_means": FALSE_LESION_MEANING,
    }


def _with_interval(
    name: str, values: NDArray[np.float64], groups: list[str] | None
) -> dict[str, Any]:
    if not len(values):
        return {name: None, f"{name}_interval": None}
    low, high = bootstrap_interval(values, groups)
    return {name: float(values.mean()), f"{name}_interval": [low, high]}
