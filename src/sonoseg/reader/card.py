"""The card of a bundle: what its network is, for whom it is, and how its outputs must be read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

CARD_KEY = "sonoseg.card"
SENSITIVITIES = ("high", "balanced", "specific")
"""Names of the operating points: few lesions are missed, as trained, few false lesions."""
_LONGEST_CARD = 1_000_000
_UNWRITABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"
)  # control characters, halves of characters


@dataclass(frozen=True)
class Card:
    """What a network is, for whom it is, and how its outputs must be read.

    Attributes:
        format: version of this card's layout, 1.
        name: of the network; one short line, which is drawn in pictures.
        version: of the network.
        input: `size` [height, width] of the network's input, `range` [0, 1], `channels` 1.
        threshold: probability from which a pixel counts as lesion, between 0 and 1.
        min_lesion_fraction: connected parts smaller than this share of the image are dropped; 0 drops none.
        training_data: what the network was trained on, one entry per data set.
        recipe: how it was trained, as a name or a sentence.
        scores: measured on data it was not trained on.
        intended_use: in a sentence.
        limits: where it must not be relied on, one limit per entry.
        licence: of the weights.
        created: ISO date.
        sensitivity: each name of `SENSITIVITIES` → the probability of the presence head, between 0 and 1, from which a
            predicted lesion is kept; empty if the network has no operating points.
        malignancy: how the malignancy head was fitted, and its rules; empty if there is none.
        weights: "sha256:" and 64 hex digits: of the weights of the run that the bundle was exported from; None if that
            is not recorded.
        temperature: by which the logits are divided, 1 without calibration; None if that is not recorded.
    """

    format: int
    name: str
    version: str
    input: dict[str, Any]
    threshold: float
    min_lesion_fraction: float
    training_data: list[str]
    recipe: str
    scores: dict[str, Any]
    intended_use: str
    limits: list[str]
    licence: str
    created: str
    sensitivity: dict[str, float] = field(default_factory=dict)
    malignancy: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    temperature: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        height, width = self.input["size"]
        return height, width

    def to_json(self) -> str:
        """The card as it is stored in the bundle's metadata."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Reads and checks a card; keys that this version does not know are ignored.

        Raises:
            ValueError: not JSON, or a key is missing or has a value out of its range; says which.
        """
        if len(text) > _LONGEST_CARD:
            raise ValueError(f"its card is over {_LONGEST_CARD} characters")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("its card is not JSON") from None
        if not isinstance(values, dict):
            raise ValueError("its card is not a JSON object")
        values = _ADDED_LATER | values
        for key, (is_valid, wanted) in _CARD_RULES.items():
            if not is_valid(values.get(key)):
                raise ValueError(f"its card's {key} is not {wanted}")
        return cls(**{key: values[key] for key in _CARD_RULES})


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return (
            not isinstance(value, bool) and abs(value) < 2**53
        )  # larger ones may be no float
    return isinstance(value, float) and math.isfinite(value)


def _is_text(value: object) -> bool:
    return (
        isinstance(value, str) and bool(value.strip()) and not _UNWRITABLE.search(value)
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_line(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable():
        return False
    return bool(value.strip()) and len(value) <= 40


def _is_input(value: object) -> bool:
    if not isinstance(value, dict) or (value.get("range"), value.get("channels")) != (
        [0, 1],
        1,
    ):
        return False
    size = value.get("size")
    if not isinstance(size, list) or len(size) != 2:
        return False
    return all(type(length) is int and 16 <= length <= 4096 for length in size)


def _is_sensitivity(value: object) -> bool:
    if value == {}:
        return True
    if not isinstance(value, dict) or set(value) != set(SENSITIVITIES):
        return False
    return all(_is_number(cut) and 0 < cut < 1 for cut in value.values())


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("sha256:[0-9a-f]{64}", value))


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


_ADDED_LATER: dict[str, Any] = {
    "sensitivity": {},
    "malignancy": {},
    "weights": None,
    "temperature": None,
}
"""Keys that older cards do not have → what then counts."""
_CARD_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "format": (
        lambda value: type(value) is int and value == 1,
        "1 (upgrade sonoseg if it is larger)",
    ),
    "name": (_is_line, "a line of at most 40 characters"),
    "version": (_is_line, "a line of at most 40 characters"),
    "input": (
        _is_input,
        "a size of two whole numbers (16 to 4096), range [0, 1] and channels 1",
    ),
    "threshold": (
        lambda value: _is_number(value) and 0 < value < 1,
        "a number between 0 and 1",
    ),
    "min_lesion_fraction": (
        lambda value: _is_number(value) and 0 <= value < 1,
        "a number from 0 to below 1",
    ),
    "training_data": (_is_texts, "a list of texts"),
    "recipe": (_is_text, "a text"),
    "scores": (lambda value: isinstance(value, dict), "an object"),
    "intended_use": (_is_text, "a text"),
    "limits": (_is_texts, "a list of texts"),
    "licence": (_is_text, "a text"),
    "created": (_is_date, "an ISO date"),
    "sensitivity": (
        _is_sensitivity,
        f"numbers between 0 and 1 for {', '.join(SENSITIVITIES)}",
    ),
    "malignancy": (lambda value: isinstance(value, dict), "an object"),
    "weights": (
        lambda value: value is None or _is_hash(value),
        "a sha256",
    ),
    "temperature": (
        lambda value: value is None or (_is_number(value) and value > 0),
        "a number above 0",
    ),
}
