"""What radiologists said of the lesions of BrEaST: clinical.csv (Pawłowska et al., Scientific Data 11 (2024) 148)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sonoseg.data.scan import read_table
from sonoseg.errors import InputError

TABLE = "clinical.csv"
_COLUMNS = ("Image_filename", "Shape", "Margin", "Echogenicity", "Posterior_features")
_NOTHING = ("not applicable", "not available", "indefinable", "")
_SHAPES = {"oval": "oval", "round": "round", "irregular": "irregular"}
_ECHO = {
    "anechoic": "anechoic",
    "hyperechoic": "hyperechoic",
    "complex cystic/solid": "complex",
    "hypoechoic": "hypoechoic",
    "isoechoic": "isoechoic",
    "heterogeneous": "heterogeneous",
}
_POSTERIOR = {
    "no": "none",
    "enhancement": "enhancement",
    "shadowing": "shadowing",
    "combined": "combined",
}
_MARGINS = ("circumscribed", "indistinct", "angular", "microlobulated", "spiculated")
_HINT = "give the clinical table of BrEaST as CSV"


@dataclass(frozen=True)
class Words:
    """The words for one lesion, as in `sonoseg.describe.descriptors`; None where the table has none.

    BrEaST has no orientation.

    Attributes:
        margin: circumscribed alone, or one or more of indistinct, angular, microlobulated and spiculated; empty where
            the table has none.
    """

    shape: str | None
    margin: tuple[str, ...]
    echo_pattern: str | None
    posterior_features: str | None


def read_words(path: Path | str) -> dict[str, Words]:
    """The words for each image file of a table.

    Raises:
        InputError: the table cannot be read, lacks a column, or has a word that BrEaST does not use.
    """
    path = Path(path)
    words = {}
    for row in read_table(path, _COLUMNS):
        words[row["Image_filename"]] = Words(
            _word(path, row["Shape"], _SHAPES),
            _margin(path, row["Margin"]),
            _word(path, row["Echogenicity"], _ECHO),
            _word(path, row["Posterior_features"], _POSTERIOR),
        )
    return words


def _word(path: Path, text: str, known: dict[str, str]) -> str | None:
    if text in _NOTHING:
        return None
    if text not in known:
        raise InputError(path, f"has the unknown word {text[:40]!r}", _HINT)
    return known[text]


def _margin(path: Path, text: str) -> tuple[str, ...]:
    if text in _NOTHING:
        return ()
    words = tuple(text.removeprefix("not circumscribed - ").split("&"))
    for word in words:
        if word not in _MARGINS:
            raise InputError(path, f"has the unknown margin {word[:40]!r}", _HINT)
    return words
