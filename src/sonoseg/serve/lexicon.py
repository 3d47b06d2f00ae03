"""The words for findings: labels, BI-RADS categories, and the descriptors of its ultrasound lexicon."""

from __future__ import annotations

from collections.abc import Mapping

from sonoseg.describe.questions import ECHO_PATTERNS, KINDS
from sonoseg.errors import InputError

LABELS = ("benign", "malignant", "normal", "uncertain")
BIRADS = ("", "0", "1", "2", "3", "4A", "4B", "4C", "5", "6")
DESCRIPTORS = {
    "shape": ("oval", "round", "irregular"),
    "orientation": ("parallel", "not parallel"),
    "margin": ("circumscribed", *KINDS),
    "echo pattern": ECHO_PATTERNS,
    "posterior features": ("none", "enhancement", "shadowing", "combined"),
}
"""What may be chosen for each descriptor; DICOM has codes for them (PS3.16 CID 6004, 6006 and 6152 to 6155)."""


def join_descriptors(chosen: Mapping[str, str]) -> str:
    """The chosen descriptors as one text such as "shape: oval; margin: angular", in the order of `DESCRIPTORS`.

    Raises:
        InputError: an unknown descriptor or word.
    """
    for name, word in chosen.items():
        if word and word not in DESCRIPTORS.get(name, ()):
            raise InputError(
                "descriptors", "hold an unknown word", "choose one of the list"
            )
    return "; ".join(
        f"{name}: {chosen[name]}" for name in DESCRIPTORS if chosen.get(name)
    )


def split_descriptors(text: str) -> dict[str, str]:
    """What `join_descriptors` made `text` of."""
    chosen = {}
    for part in filter(None, text.split("; ")):
        name, _, word = part.partition(": ")
        chosen[name] = word
    return chosen
