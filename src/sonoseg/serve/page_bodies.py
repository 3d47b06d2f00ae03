"""What the page sends, and what it is answered."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sonoseg.serve.edits import Tool
from sonoseg.serve.lexicon import join_descriptors, split_descriptors
from sonoseg.serve.patch import Patch, to_text, unsqueeze
from sonoseg.serve.records import Finding
from sonoseg.serve.view import View


class EditBody(BaseModel):
    """See `Edit`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    key: str = Field(min_length=8, max_length=64)
    after: int
    tool: Tool
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    bits: str = ""
    threshold: float = Field(0.5, gt=0, lt=1)
    lines: list[list[float]] = Field(default_factory=list, max_length=2)


Words = Annotated[str, Field(max_length=16)]
"""Digits of the finding that the page has seen, see `Finding.digits`."""


class FindingBody(BaseModel):
    """See `Finding`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    words: Words
    label: str = Field("", max_length=20)
    birads: str = Field("", max_length=4)
    note: str = Field("", max_length=4000)
    spacing: str = Field("", max_length=40)
    descriptors: dict[str, str] = Field(default_factory=dict, max_length=10)

    def finding(self) -> Finding:
        """As the journal keeps it.

        Raises:
            InputError: the descriptors have an unknown word.
        """
        words = (self.label, self.birads, self.note, self.spacing)
        return Finding(*words, join_descriptors(self.descriptors))


class AcceptBody(BaseModel):
    """Number of the last event, and digits of the finding, that the page has seen."""

    model_config = ConfigDict(extra="forbid", strict=True)
    after: int
    words: Words


class LoginBody(BaseModel):
    """The token that a user typed, or that stood in the address."""

    token: str = Field(max_length=4096)


def describe_view(view: View) -> dict[str, Any]:
    """What changes with each edit."""
    has_spacing = bool(view.lesions) and view.lesions[0].spacing is not None
    lesions = []
    for lesion, is_by_hand in zip(view.lesions, view.by_hand, strict=True):
        lesions.append({**lesion.to_dict(), "by_hand": is_by_hand})
    network = f"{view.network.name} {view.network.version}"
    return {
        "doubts": view.doubts,
        "notes": view.notes,
        "network": network,
        "revision": view.revision,
        "words": view.finding.digits,
        "undo": view.undo,
        "redo": view.redo,
        "state": view.state,
        "unit": "mm" if has_spacing else "px",
        "lesions": lesions,
    }


def describe_finding(finding: Finding) -> dict[str, Any]:
    """What the reader wrote."""
    descriptors = split_descriptors(finding.descriptors)
    return asdict(finding) | {"descriptors": descriptors}


def describe_patch(patch: Patch) -> dict[str, Any]:
    """What has changed of a mask."""
    after = unsqueeze(patch.after, patch.height, patch.width)
    box = {"x": patch.x, "y": patch.y, "width": patch.width, "height": patch.height}
    return {**box, "bits": to_text(after)}
