"""Scores of the lesions of one kind: benign or malignant, small or large. A mean over all hides what is hard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sonoseg.core.counts import Counts
from sonoseg.core.intervals import bootstrap_interval, share_interval
from sonoseg.core.metrics import image_scores, with_interval
from sonoseg.report.tables import Cell, interval_text, text_table

SIZES = {
    "under 2 %": (0.0, 0.02),
    "2-8 %": (0.02, 0.08),
    "8 % and more": (0.08, np.inf),
}
"""Name → the share of the image that the reference mask covers: from, and to below."""


def subgroups(
    counts: Counts, labels: Sequence[str], groups: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Returns the scores of the images with a lesion, by label and by size of the lesion.

    Args:
        counts: N images, with and without lesion.
        labels: N labels of `data.case`.
        groups: N names; images of one group are resampled together for the intervals.

    Returns:
        `label` and `size` → name → `images`; `dice`, the mean, with `dice_interval`; and `missed`, the share of the
        images on which no pixel of the lesion is found, with `missed_interval` (see `intervals`). Only what has images.
    """
    of_label = np.asarray(labels, str)
    share = (counts.tp + counts.fn) / (counts.tp + counts.fp + counts.fn + counts.tn)
    chosen = {
        "label": {name: of_label == name for name in sorted(set(labels))},
        "size": {
            name: (share >= low) & (share < high) for name, (low, high) in SIZES.items()
        },
    }
    table: dict[str, dict[str, Any]] = {}
    for kind, parts in chosen.items():
        table[kind] = {}
        for name, rows in parts.items():
            lesions = np.flatnonzero(rows & counts.has_lesion)
            if len(lesions):
                members = [groups[row] for row in lesions.tolist()]
                table[kind][name] = _scores(counts[lesions], members)
    return table


def _scores(counts: Counts, groups: list[str]) -> dict[str, Any]:
    dice = image_scores(counts, "lesion")["dice"]
    return {
        "images": len(dice),
        **with_interval("dice", dice, groups, bootstrap_interval),
        **with_interval("missed", counts.tp == 0, groups, share_interval),
    }


def describe_subgroups(table: dict[str, dict[str, Any]]) -> list[str]:
    """Returns `subgroups` as a table for the terminal, with a line before it; nothing without lesions.

    A kind with a single name, such as one label for all, is left out.
    """
    rows: list[list[Cell]] = []
    for kind in table.values():
        for name, scores in kind.items() if len(kind) > 1 else ():
            row: list[Cell] = [name, scores["images"], scores["dice"]]
            row += [interval_text(scores["dice_interval"]), f"{scores['missed']:.1%}"]
            rows.append(row)
    if not rows:
        return []
    header = ["lesions", "images", "Dice", "95 % interval", "not found"]
    return ["", text_table(header, rows), ""]
