"""The scores on a bundle's card: those that `sonoseg evaluate` measured with this network and this rule, no others."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError
from sonoseg.inputs import read_json
from sonoseg.reader.card import Card

_logger = logging.getLogger(__name__)
HINT = "give one of sonoseg evaluate"
AGAIN = "export without --scores, evaluate the bundle, and export again with its metrics.json"


def with_scores(card: Card, path: Path, run: Path) -> Card:
    """The card with the scores of a metrics.json.

    It is logged as a warning if the file does not say with which network it was measured.

    Args:
        card: of a bundle, without scores.
        path: the metrics.json.
        run: the run that the bundle is exported from, for errors.

    Raises:
        InputError: the file cannot be read, is no metrics.json, or was measured with another network, calibration or
            rule than those of the card.
        ValueError: the card becomes too long.
    """
    scores = _read(path)
    measured: dict[str, Any] = scores["model"]
    for name in ("threshold", "min_lesion_fraction"):
        value, wanted = measured.get(name), getattr(card, name)
        if value not in (None, wanted):
            problem = f"was measured with {name} {value}, not {wanted:g}"
            raise InputError(path, problem, AGAIN)
    weights, temperature = measured.get("weights"), measured.get("temperature")
    if weights not in (None, card.weights):
        problem = f"was measured with another network than {run}"
        raise InputError(path, problem, AGAIN)
    if temperature not in (None, card.temperature):
        values = f"temperature {temperature}, not {card.temperature:g}"
        problem = f"was measured before {run} was calibrated as it is now ({values})"
        raise InputError(path, problem, AGAIN)
    if weights is None or temperature is None:
        _logger.warning(
            "%s does not say with which network it was measured: make sure that it was %s",
            path,
            run,
        )
    return Card.from_json(replace(card, scores=scores).to_json())


def _read(path: Path) -> dict[str, Any]:
    """The content of a metrics.json, whose `model` is an object."""
    try:
        found = read_json(path)
    except InputError as error:
        raise InputError(path, "not a readable metrics.json", HINT) from error
    scores: dict[str, Any] = found if isinstance(found, dict) else {}
    is_whole = {"images", "conventions", "normals"} <= scores.keys()
    if not is_whole or not isinstance(scores.setdefault("model", {}), dict):
        raise InputError(path, "not a metrics.json", HINT)
    return scores
