"""Decides from the scores of heat maps whether a network looks at the right place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sonoseg.report.tables import Cell

QUESTIONS = (
    "better than a flat map",
    "better than a random order",
    "changes under randomisation",
)
SURVIVES = 0.5
"""A map survives random weights if its mean rank correlation with their map is at least this."""
FEWEST = 5
"""With fewer groups of images, such as patients, no question is answered."""


def claim_rows(results: Sequence[Mapping[str, Any]]) -> list[list[Cell]]:
    """Returns one row per model and layer: both names, and an answer to each of `QUESTIONS`.

    An answer is yes, no, unclear, or None if nothing was measured. The 95 % intervals decide. An interval that contains
    the limit, or that is of fewer than `FEWEST` groups or an unknown number of them, is unclear. Where all values are
    equal, there is no interval, and the value decides. The questions:

    - better than a flat map: the share of the heat in the lesion is larger than the lesion's share of the area;
    - better than a random order: deleting the hottest pixels first lowers the predicted probability more, and inserting
      them first raises it more;
    - changes under randomisation: with all weights random, the rank correlation with the map is below `SURVIVES`.

    Args:
        results: for each model what `score.score_explanations` returns, or the content of faithfulness.json.
    """
    rows: list[list[Cell]] = []
    for result in results:
        for layer, measures in result["layers"].items():
            row: list[Cell] = [result["model"], layer]
            row += _answers(measures)
            rows.append(row)
    return rows


def _answers(measures: Mapping[str, Any]) -> list[str | None]:
    better_than_flat = _above(measures["share_gain"], 0)
    deletion = _above(measures["deletion_gain"], 0)
    insertion = _above(measures["insertion_gain"], 0)
    better_than_random = _both(deletion, insertion)
    survives = _above(measures["similarity_all"], SURVIVES)
    opposite = {"yes": "no", "no": "yes"}
    changes = opposite.get(survives, survives) if survives else None
    return [better_than_flat, better_than_random, changes]


def _both(one: str | None, other: str | None) -> str | None:
    """The answer to whether both are true."""
    for answer in (None, "no", "unclear"):
        if answer in (one, other):
            return answer
    return "yes"


def _above(measure: Mapping[str, Any], limit: float) -> str | None:
    """Whether a mean is above `limit`: yes, no, unclear, or None if it was not measured."""
    if not measure["n"]:
        return None
    low, high = measure["interval"] or (measure["mean"], measure["mean"])
    if measure.get("groups", 0) < FEWEST or low <= limit < high:
        return "unclear"
    return "yes" if low > limit else "no"
