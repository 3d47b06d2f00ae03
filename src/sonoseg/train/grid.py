"""The grid of `sonoseg sweep`: its axes as the command line names them, and every combination of their values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_type_hints

from sonoseg.errors import InputError
from sonoseg.models.catalog import Recipe
from sonoseg.train.choices import RECIPE_CHOICES
from sonoseg.train.configure import check_recipe

Value = str | int | float
Grid = Mapping[str, Sequence[Value]]
"""Field of `Recipe` → its values."""

PAPER: Grid = {
    "learning_rate": (1e-5, 1e-4, 1e-3),
    "batch": (8, 16, 32),
    "dropout": (0.2, 0.3, 0.4, 0.5),
}
"""The search of Anari et al. 2025."""


def parse_grid(words: Sequence[str], recipe: Recipe) -> Grid:
    """The axes that `words`, such as "batch=8,16", name; `PAPER` if there are none.

    Args:
        words: AXIS=VALUE,VALUE; an axis is a field of `Recipe`, hyphens as good as underscores.
        recipe: what the fields that are no axis are; only to check the values by.

    Raises:
        InputError: an unknown axis, one that is given twice, or a bad value.
    """
    grid: dict[str, Sequence[Value]] = {}
    for word in words:
        name, _, texts = word.partition("=")
        name = name.strip().replace("-", "_")
        if name in grid:
            raise InputError(
                f"--grid {word}",
                "this axis was given before",
                "give all of its values at once",
            )
        grid[name] = [parse_value(name, text.strip()) for text in texts.split(",")]
        if len(set(grid[name])) < len(grid[name]):
            raise InputError(
                f"--grid {word}", "has a value twice", "give each value once"
            )
    for name, values in grid.items():
        for value in values:
            check_recipe(replace(recipe, **{name: value}))  # type: ignore[arg-type]
    return grid or PAPER


def parse_value(axis: str, text: str) -> Value:
    """`text` as a value of the recipe's field `axis`.

    Raises:
        InputError: there is no such field, or the field cannot have this value.
    """
    kinds = get_type_hints(Recipe)
    if axis not in kinds:
        raise InputError(
            f"--grid {axis}", "no such axis", f"choose from {', '.join(kinds)}"
        )
    if text not in RECIPE_CHOICES.get(axis, [text]):
        raise InputError(
            f"--grid {axis}={text}",
            "no such value",
            f"choose from {', '.join(RECIPE_CHOICES[axis])}",
        )
    try:
        value: Value = kinds[axis](text)
    except ValueError:
        number = "a whole number" if kinds[axis] is int else "a number"
        raise InputError(
            f"--grid {axis}={text}", f"is not {number}", "see sonoseg train --help"
        ) from None
    return value


def combinations(grid: Grid) -> list[dict[str, Value]]:
    """Every choice of one value an axis, the last axis changing fastest."""
    choices = itertools.product(*grid.values())
    return [dict(zip(grid, values, strict=True)) for values in choices]


def folder_name(values: Mapping[str, Value]) -> str:
    """The name of a combination's run folder."""
    return "_".join(f"{axis}={value}" for axis, value in values.items())
