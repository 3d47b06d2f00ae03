"""How far a reader is with an image: open, edited, accepted, or changed after it was accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sonoseg.files import is_there
from sonoseg.serve.journal import Journal
from sonoseg.serve.records import Accepted, Finding
from sonoseg.serve.scenes import Scene, parts_of
from sonoseg.serve.versions import version_of


@dataclass(frozen=True)
class FrameState:
    """State and label of one frame."""

    state: str
    label: str


def entries_of(
    scenes: Mapping[str, Scene], states: Mapping[str, Mapping[int, FrameState]]
) -> list[dict[str, Any]]:
    """One entry for each scene of the list, with its state.

    Args:
        scenes: by their identifiers.
        states: see `all_states`.
    """
    entries = []
    for identifier, scene in scenes.items():
        own = states.get(scene.key, {}).values()
        entry = {
            "id": identifier,
            "version": version_of(scene.path) if is_there(scene.path) else "",
            "name": scene.name,
            "place": scene.place,
            "state": joined_state([one.state for one in own]),
            "label": next((one.label for one in own if one.label), ""),
            "frames": scene.frames,
            "accepted": sum(one.state == "accepted" for one in own),
        }
        entries.append(entry)
    return entries


def all_states(journal: Journal, reader: str) -> dict[str, dict[int, FrameState]]:
    """By the key of its scene, and the number of the frame, the state of each image that a reader has touched."""
    findings, accepted = journal.findings(reader), journal.accepted(reader)
    numbers = journal.last_numbers(reader)
    states: dict[str, dict[int, FrameState]] = {}
    for key in dict.fromkeys((*findings, *accepted, *numbers)):
        _, _, frame = parts_of(key)
        finding = findings.get(key, Finding())
        state = state_of(finding, accepted.get(key), numbers.get(key, 0))
        scene = key.removesuffix(f"/frame{frame}")
        states.setdefault(scene, {})[frame] = FrameState(state, finding.label)
    return states


def state_of(finding: Finding, accepted: Accepted | None, number: int) -> str:
    """The state of one image: what the reader wrote, what was accepted, and the number of the last event."""
    if accepted is not None:
        is_same = accepted.number == number and accepted.finding == finding
        return "accepted" if is_same else "changed"
    return "open" if number == 0 and finding == Finding() else "edited"


def joined_state(states: Sequence[str]) -> str:
    """The state of a loop, of those of its frames: the one that asks for most attention."""
    for state in ("changed", "edited", "accepted"):
        if state in states:
            return state
    return "open"
