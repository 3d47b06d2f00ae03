"""In what two settings differ, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 60
"""Characters of a value that are shown."""


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What differs, such as "epochs (30 there, 31 asked for)"; settings inside settings are looked through.

    Args:
        there: what was found, as JSON.
        asked: what is asked for, as JSON.
    """
    found: list[str] = []
    for key in {**asked, **there}:
        old, new = there.get(key), asked.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new)
            continue
        there_text, asked_text = _shown(old), _shown(new)
        if there_text == asked_text:  # they differ beyond what is shown
            found.append(key)
        else:
            found.append(f"{key} ({there_text} there, {asked_text} asked for)")
    return found


def _shown(value: Any) -> str:
    if value in ("", (), [], None):
        return "none"
    text = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
