"""How DICOM objects are written."""

from __future__ import annotations

from dataclasses import dataclass

from highdicom.seg import SegmentAlgorithmTypeValues


@dataclass(frozen=True)
class Options:
    """How objects are written.

    Attributes:
        strict: write no plane positions. The standard defines them only for images with a frame of reference. OHIF
            and dcmqi do not open a segmentation without them.
        pseudonym: a key to replace the patient's data with; see `reference_dataset`.
        is_corrected: a person has changed the outlines of the network.
    """

    strict: bool = False
    pseudonym: str | None = None
    is_corrected: bool = False

    @property
    def algorithm_type(self) -> SegmentAlgorithmTypeValues:
        """How the outlines were made."""
        types = SegmentAlgorithmTypeValues
        return types.SEMIAUTOMATIC if self.is_corrected else types.AUTOMATIC
