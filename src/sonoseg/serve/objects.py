"""SEG and SR of what a reader accepted of a DICOM file: of a still, of frames of a loop, of the images of a screen."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sonoseg.core.image import Image
from sonoseg.core.measure import Diameter, Point, find_lesions
from sonoseg.errors import InputError, MachineError
from sonoseg.files import atomic_path, output_folder
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.calipers import by_hand, spacing_of, split_calipers
from sonoseg.serve.journal import Finding
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import Mask
from sonoseg.serve.scans import open_scan
from sonoseg.serve.scenes import plain_stem

if TYPE_CHECKING:
    from sonoseg.dicom.lesions import Outline, Tracker
    from sonoseg.dicom.read import DicomFile

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """What a reader accepted of one region of one frame.

    Attributes:
        frame, region: numbers from 1.
        mask: (h, w) bool, of the region.
        finding: has the size of a pixel and the calipers.
        is_corrected: whether the mask is not the network's own.
    """

    frame: int
    region: int
    mask: Mask
    finding: Finding
    is_corrected: bool


def write_objects(
    folder: Path,
    path: Path,
    parts: Iterable[Part],
    reader: str,
    segmenter: Segmenter,
    limits: Limits,
) -> None:
    """Writes STEM_seg.dcm, where there is a lesion, and STEM_sr.dcm; removes them if there are no parts.

    An image without the UIDs that such objects refer to gets none, which is logged.

    Args:
        folder: made if need be.
        path: of the image.
        parts: in the order of their frames.
        reader: who accepted them; named in the report where an outline was corrected.
        segmenter: the network.
        limits: on the image.

    Raises:
        InputError: the image cannot be read, or the folder not be written to.
    """
    from sonoseg.dicom.lesions import Tracker
    from sonoseg.dicom.objects import make_objects
    from sonoseg.dicom.options import Options

    file, tracker = open_scan(path, limits), Tracker()
    outlines: list[Outline] = []
    is_corrected, count = False, 0
    for part in parts:
        outlines += _outlines(file, tracker, part)
        is_corrected |= part.is_corrected
        count += 1
    stem = plain_stem(path)
    if not count:
        for ending in ("seg", "sr"):
            (folder / f"{stem}_{ending}.dcm").unlink(missing_ok=True)
        return
    try:
        options = Options(corrected_by=reader if is_corrected else None)
        objects = make_objects(file, outlines, segmenter, options)
    except MachineError:
        raise
    except InputError as error:
        words = "sonoseg: an accepted DICOM image has no SEG and SR: it %s"
        _logger.warning(words, error.problem)
        return
    output_folder(folder)
    with atomic_path(folder / f"{stem}_sr.dcm") as temporary:
        temporary.write_bytes(objects.report)
    seg = folder / f"{stem}_seg.dcm"
    if objects.seg is None:
        seg.unlink(missing_ok=True)
        return
    with atomic_path(seg) as temporary:
        temporary.write_bytes(objects.seg)


def _outlines(file: DicomFile, tracker: Tracker, part: Part) -> list[Outline]:
    """The lesions of a part, in the whole frame."""
    from sonoseg.dicom.read import View

    region = file.layout.regions[part.region - 1]
    spacing = spacing_of(part.finding, region.spacing)
    # Only its place is asked for, not its pixels.
    image = Image(np.zeros((0, 0), np.uint8), spacing)
    view = View(image, part.frame, part.region, region, file.shape)
    outlines = tracker.follow(view, part.mask)
    lesions = find_lesions(part.mask, part.mask.astype(np.float32), spacing=spacing)
    pairs = split_calipers(part.finding.calipers)
    drawn, is_by_hand = by_hand(lesions, pairs, spacing)
    corner = float(region.left), float(region.top)
    found = []
    for outline, lesion, is_drawn in zip(outlines, drawn, is_by_hand, strict=True):
        axes = None
        if is_drawn:
            axes = _moved(lesion.longest, corner), _moved(lesion.across, corner)
        found.append(replace(outline, spacing=spacing, drawn=axes))
    return found


def _moved(line: Diameter, corner: Point) -> Diameter:
    start, end = (
        (point[0] + corner[0], point[1] + corner[1]) for point in (line.start, line.end)
    )
    return replace(line, start=start, end=end)
