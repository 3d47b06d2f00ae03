"""What is written of DICOM files, and how."""

from __future__ import annotations

from dataclasses import dataclass

from sonoseg.core.measure import Spacing
from sonoseg.errors import InputError

OBJECTS = ("seg", "sr", "sc")
_NEED_IMAGE = ("coco", "labelme")
"""Formats that name the image, for programs that read no DICOM."""


@dataclass(frozen=True)
class Options:
    """How objects are written.

    Attributes:
        strict: write no plane positions. The standard defines them only for images with a frame of reference. OHIF
            and dcmqi do not open a segmentation without them.
        pseudonym: a key to replace the patient's data with; see `reference_dataset`.
        corrected_by: the name of the person who changed what the network found, or described it in a report; None if
            nobody has.

    Raises:
        InputError: the key is empty.
    """

    strict: bool = False
    pseudonym: str | None = None
    corrected_by: str | None = None

    def __post_init__(self) -> None:
        if self.pseudonym is not None and not self.pseudonym.strip():
            raise InputError("--pseudonym", "the key is empty", "give a secret word")

    @property
    def algorithm_type(self) -> str:
        """How the outlines were made (PS3.3 C.8.20.2)."""
        return "AUTOMATIC" if self.corrected_by is None else "SEMIAUTOMATIC"

    @property
    def person(self) -> str:
        """The name of that person as the value of an element of type PN; "" if there is none."""
        if self.corrected_by is None:
            return ""
        plain = self.corrected_by.translate(str.maketrans("^=\\", "   "))
        return " ".join(plain.split())[:64] or "reader"


@dataclass(frozen=True)
class Settings:
    """What is written of DICOM files.

    Attributes:
        spacing: mm per pixel (row, column), in place of the file's own; None takes that of the file.
        explain: also draw where the network looked.
        to: any of `OBJECTS` and of `sonoseg.reader.annotations.FORMATS`.
        options: of the DICOM objects.
        fractional: write probabilities of stills as well.
    """

    spacing: Spacing | None = None
    explain: bool = False
    to: tuple[str, ...] = ()
    options: Options = Options()
    fractional: bool = False

    @property
    def needs_images(self) -> bool:
        """Whether each mask needs its image beside it, as a picture."""
        return any(kind in self.to for kind in _NEED_IMAGE)

    @property
    def left_out(self) -> str:
        """What is not written of a file whose pictures may show a name, and why."""
        kinds = ["overlay"]
        if "sc" in self.to:
            kinds.append("sc")
        if self.needs_images:
            kinds.append("image")
        verb = "is" if len(kinds) == 1 else "are"
        why = "with --pseudonym: the file does not set the B-mode image apart, so the picture may show a name"
        return f"no {' and no '.join(kinds)} {verb} written {why}"
