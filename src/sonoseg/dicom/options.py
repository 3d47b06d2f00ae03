"""How DICOM objects are written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How objects are written.

    Attributes:
        strict: write no plane positions. The standard defines them only for images with a frame of reference. OHIF
            and dcmqi do not open a segmentation without them.
        pseudonym: a key to replace the patient's data with; see `reference_dataset`.
        corrected_by: the name of the person who has changed the outlines of the network; None if nobody has.
    """

    strict: bool = False
    pseudonym: str | None = None
    corrected_by: str | None = None

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
