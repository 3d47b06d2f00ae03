"""What a recipe and a network may be: one rule for each field, for the command line and for config.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_args

from sonoseg.train.choices import (
    RECIPE_CHOICES,
    Attention,
    Convolution,
    Encoder,
    Presence,
)

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is good, and what a good value is, in words."""
MONITORS = {"loss": "min", "dice": "max", "last": "max"}
"""Name → whether its best is the least or the greatest; of the last, the epoch's number is."""
LARGEST_SIZE = 4096
LARGEST_SEED = 2**24 - 1
"""A step draws its randomness from seed · 2^40 + step, and PyTorch takes 64 bits."""


def number_in(low: float, below: float, above: bool = False) -> Rule:
    """A finite number from `low` (with `above`: greater than it) to below `below`."""

    def check(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return low <= value < below and not (above and value == low)  # false for NaN

    return (
        check,
        f"a number {'above' if above else 'from'} {low:g}{',' if above else ' to'} below {below:g}",
    )


def whole_in(low: int, high: int) -> Rule:
    """A whole number from `low` to `high`."""
    return (
        lambda value: type(value) is int and low <= value <= high
    ), f"a whole number from {low} to {high}"


def word_of(choices: Iterable[str]) -> Rule:
    """One of `choices`."""
    names = tuple(choices)
    return (
        lambda value: isinstance(value, str) and value in names
    ), f"one of {', '.join(names)}"


TEXT: Rule = (lambda value: isinstance(value, str) and len(value) <= 10_000), "a text"
FLAG: Rule = (lambda value: isinstance(value, bool)), "true or false"
SIZE: Rule = (
    lambda value: (
        type(value) is int and 32 <= value <= LARGEST_SIZE and value % 32 == 0
    ),
    f"a multiple of 32 up to {LARGEST_SIZE}",
)
SEED = whole_in(0, LARGEST_SEED)


ENCODER_NAMES = get_args(Encoder)


def _are_encoders(value: Any) -> bool:
    if not isinstance(value, (tuple, list)) or not all(
        isinstance(name, str) for name in value
    ):
        return False
    return 0 < len(value) == len(set(value)) and set(value) <= set(ENCODER_NAMES)


def _are_whole(value: Any, high: int) -> bool:
    return isinstance(value, (tuple, list)) and all(
        type(number) is int and 1 <= number <= high for number in value
    )


RECIPE_RULES: Mapping[str, Rule] = {
    "loss": TEXT,
    "learning_rate": number_in(0, 10, above=True),
    "optimizer": TEXT,
    "schedule": TEXT,
    "weight_decay": number_in(0, 1),
    "batch": whole_in(1, 100_000),
    "dropout": number_in(0, 1),
    "epochs": whole_in(1, 1_000_000),
    "patience": whole_in(0, 1_000_000),
    "monitor": word_of(MONITORS),
    "augment": TEXT,
    "ema": number_in(0, 1),
    "learn": TEXT,
}
"""Field of `Recipe` → its rule, as for a stored run: a run may have used a loss that there is no longer."""

ASKED_RECIPE_RULES: Mapping[str, Rule] = {
    **RECIPE_RULES,
    **{name: word_of(words) for name, words in RECIPE_CHOICES.items()},
}
"""Field of `Recipe` → its rule, for a training that is asked for."""

NETWORK_RULES: Mapping[str, Rule] = {
    "encoders": (
        _are_encoders,
        f"one or more of {', '.join(ENCODER_NAMES)}, each once",
    ),
    "attention": word_of(get_args(Attention)),
    "frozen": FLAG,
    "skips": FLAG,
    "widths": (
        lambda value: _are_whole(value, 4096) and len(value) == 4,
        "four whole numbers from 1 to 4096",
    ),
    "convolution": word_of(get_args(Convolution)),
    "presence": word_of(get_args(Presence)),
    "inner": (lambda value: _are_whole(value, 65_536), "whole numbers from 1 to 65536"),
    "members": whole_in(1, 100),
}
"""Field of a network's config → its rule. Only `FusionUNetConfig` has fields."""


def first_problem(
    values: Mapping[str, Any], rules: Mapping[str, Rule]
) -> tuple[str, str] | None:
    """The first name in `values` whose value breaks its rule, and what a good value is; None if all are good."""
    for name, value in values.items():
        good, wanted = rules.get(
            name, (_is_plain, "a number, a word or a list of these")
        )
        if not good(value):
            return name, wanted
    return None


def _is_plain(value: Any) -> bool:
    """The rule for a field that has none of its own."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, (tuple, list)):
        return all(isinstance(each, (str, int, float)) for each in value)
    return isinstance(value, (str, int)) or value is None


def check_fields(part: str, values: Any, kind: Any, rules: Mapping[str, Rule]) -> None:
    """Checks an object that was read from JSON before the dataclass `kind` is made of it.

    Raises:
        ValueError: no object, a key that is missing or unknown, or a value that breaks its rule; names it.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{part} is not an object")
    known: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}
    for name in values:
        if name not in known:
            raise ValueError(f"{part} has the unknown key {name[:40]}")
    for name, field in known.items():
        if (
            name not in values
            and field.default is MISSING
            and field.default_factory is MISSING
        ):
            raise ValueError(f"{part} has no {name}")
    problem = first_problem(values, rules)
    if problem is not None:
        raise ValueError(f"{part}.{problem[0]} is not {problem[1]}")


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with a tuple for each list: JSON knows lists alone."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found[name] = tuple(value) if isinstance(value, list) else value
    return found


def _is_list_of(kind: type, wanted: str) -> Rule:
    def check(value: Any) -> bool:
        if not isinstance(value, list):
            return False
        return all(isinstance(each, kind) and is_shallow(each) for each in value)

    return check, f"a list of {wanted}"


def is_shallow(value: Any, levels: int = 6) -> bool:
    """Whether lists and objects are nested at most this many levels deep. A config has four levels."""
    if levels < 0:
        return False
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return all(is_shallow(each, levels - 1) for each in value)


_OBJECT: Rule = (lambda value: isinstance(value, dict), "an object")
CONFIG_RULES: Mapping[str, Rule] = {
    "model": TEXT,
    "data": TEXT,
    "split": TEXT,
    "cases": TEXT,
    "encoder_weights": TEXT,
    "start_from": TEXT,
    "network": _OBJECT,
    "recipe": _OBJECT,
    "size": SIZE,
    "seed": SEED,
    "lineage": _is_list_of(dict, "configs"),
    "teachers": _is_list_of(str, "texts"),
}
"""Key of config.json → its rule."""
