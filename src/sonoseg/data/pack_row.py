"""What a pack holds of one image besides its pixels, and how it is read from the pack's JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sonoseg.core.measure import Spacing
from sonoseg.data.case import LABELS
from sonoseg.errors import InputError

HINT = "make it again with sonoseg data pack"


@dataclass(frozen=True)
class PackRow:
    """What a pack holds of one image besides its pixels.

    Attributes:
        name, label, group, spacing: as in `Case`; the spacing is that of the image before it was resized.
        height, width: pixels of the image before it was resized.
        masked: whether the data set has a mask for it.
        fold: 0 to 4 where the data set has folds of its own; otherwise None.
    """

    name: str
    label: str
    group: str
    spacing: float | Spacing | None
    height: int
    width: int
    masked: bool
    fold: int | None


def read_rows(path: Path, entries: Sequence[Any]) -> Iterator[PackRow]:
    """What is known of each image, each value checked."""
    names = {field.name for field in fields(PackRow)}
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or set(entry) != names:
            raise InputError(path, f"row {number} has too few or too many values", HINT)
        for name, is_right in _RULES.items():
            if not is_right(entry[name]):
                raise InputError(
                    path,
                    f"row {number} has a wrong value of {name}: {str(entry[name])[:40]}",
                    HINT,
                )
        if isinstance(entry["spacing"], list):
            entry["spacing"] = tuple(entry["spacing"])
        yield PackRow(**entry)


def _is_number(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value not in ("", ".", "..")
        and not set(value) & {"/", "\\", "\0"}
    )


def _is_spacing(value: Any) -> bool:
    """None, a number, or a list of two numbers: of rows and of columns."""
    if isinstance(value, list):
        return len(value) == 2 and all(map(_is_length, value))
    return value is None or _is_length(value)


def _is_length(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


_RULES: dict[str, Callable[[Any], bool]] = {
    "name": _is_name,
    "label": lambda value: isinstance(value, str) and value in LABELS,
    "group": lambda value: isinstance(value, str) and value != "",
    "spacing": _is_spacing,
    "height": lambda value: _is_number(value, 1, 10**6),
    "width": lambda value: _is_number(value, 1, 10**6),
    "masked": lambda value: isinstance(value, bool),
    "fold": lambda value: value is None or _is_number(value, 0, 4),
}
