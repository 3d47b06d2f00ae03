"""Does the claim hold that a network looks at the right place? Answers from what `score_explanations` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sonoseg.report.tables import Cell

QUESTIONS = ("better than a flat map", "better than a random order", "changes under randomisation")
SURVIVES = 0.5
"""Mean rank correlation with the map of random weights from which a map is said to survive them."""
FEWEST = 5
"""Images under which no question is answered."""


def claim_rows(results: Sequence[Mapping[str, Any]]) -> list[list[Cell]]:
    """A row a model and layer: its names, and to each of `QUESTIONS` yes, no or unclear, or None if it was not asked.

    The answers are those of the 95 % intervals. Better than a flat map: more of the heat lies in the lesion than the
    share of the area that the lesion covers. Better than a random order: deleting the hottest pixels first takes more
    of the answer away, and inserting them first brings more of it back. Changes under randomisation: with all weights
    random, the rank correlation with the map is under `SURVIVES`. An interval on both sides of what is asked, or of
    fewer than `FEWEST` images, is unclear.

    Args:
        results: what `score.score_explanations` returns, or faithfulness.json holds, of each model.
    """
    return [
        [result["model"], layer, *_answers(measures)]
        for result in results
        for layer, measures in result["layers"].items()
    ]


def _answers(measures: Mapping[str, Any]) -> list[str | None]:
    order = {_above(measures["deletion_gain"], 0), _above(measures["insertion_gain"], 0)}
    both = next((answer for answer in (None, "no", "unclear", "yes") if answer in order), None)
    survives = _above(measures["similarity_all"], SURVIVES)
    changes = {"yes": "no", "no": "yes"}.get(survives or "", survives)
    return [_above(measures["share_gain"], 0), both, changes]


def _above(measure: Mapping[str, Any], limit: float) -> str | None:
    """Whether a mean is above `limit`."""
    if not measure["n"]:
        return None
    low, high = measure["interval"]
    if measure["n"] < FEWEST or low <= limit < high:
        return "unclear"
    return "yes" if low > limit else "no"
