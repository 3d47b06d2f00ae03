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
    for key in dict.fromkeys((*asked, *there)):
        old, new = there.get(key), asked.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new)
            continue
        texts = _shown(old), _shown(new)
        found.append(
            f"{key} ({texts[0]} there, {texts[1]} asked for)"
            if texts[0] != texts[1]
            else key
        )
    return found


def _shown(value: Any) -> str:
    if value in ("", (), [], None):
        return "none"
    text = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
