"""From a DICOM file to the objects about it in memory: the outlines (SEG) and the measurements (SR)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sonoseg.dicom.doubts import Doubts
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile
from sonoseg.dicom.report import make_report
from sonoseg.dicom.seg import make_seg
from sonoseg.dicom.segment import segment_dicom
from sonoseg.dicom.source import Algorithm, as_bytes
from sonoseg.reader.segmenter import Segmenter


@dataclass(frozen=True)
class Objects:
    """What is written about a DICOM file.

    Attributes:
        seg: content of the SEG file; None if there is no lesion.
        report: content of the SR file.
        lesions: how many there are; one that is seen on several frames of a loop counts once.
        doubts: why the result should not be trusted, in words; they are in the report, too.
    """

    seg: bytes | None
    report: bytes
    lesions: int
    doubts: tuple[str, ...] = ()

    @property
    def files(self) -> list[bytes]:
        """The contents of all files."""
        return [self.report] if self.seg is None else [self.seg, self.report]


def make_objects(
    file: DicomFile,
    outlines: list[Outline],
    segmenter: Segmenter,
    options: Options | None = None,
    doubts: Sequence[str] | None = None,
) -> Objects:
    """Writes outlines as objects. The same outlines and network make objects with the same UIDs.

    Args:
        file: the image that was segmented.
        outlines: of its lesions, on all frames.
        segmenter: the network that found them.
        options: see `Options`.
        doubts: see `make_report`.

    Raises:
        InputError: the image has no UIDs to refer to, or its header holds what cannot be.
    """
    algorithm = Algorithm.of(segmenter)
    seg = None
    if outlines:
        seg = as_bytes(file, make_seg(file, outlines, algorithm, options))
    known = file.layout.doubts if doubts is None else tuple(doubts)
    report = make_report(file, outlines, algorithm, options, known)
    lesions = {outline.segment for outline in outlines}
    return Objects(seg, as_bytes(file, report), len(lesions), known)


def segment_to_objects(
    segmenter: Segmenter, file: DicomFile, options: Options | None = None
) -> Objects:
    """Segments all frames of a file, one at a time, and writes what was found; see `make_objects`.

    Raises:
        InputError: as `make_objects`; or the pixel data is damaged.
    """
    outlines: list[Outline] = []
    doubts = Doubts()
    for one in segment_dicom(segmenter, file):
        outlines += one.outlines
        doubts.add(one)
    return make_objects(file, outlines, segmenter, options, doubts.words)
