"""SEG and SR of what a reader accepted of a DICOM file: of a still, of frames of a loop, of the images of a screen."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sonoseg.core.image import Image
from sonoseg.core.measure import Diameter, Point, Spacing, find_lesions
from sonoseg.errors import InputError, MachineError
from sonoseg.files import atomic_path, output_folder
from sonoseg.serve.calipers import by_hand, sized, spacing_of
from sonoseg.serve.lexicon import split_descriptors
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import Mask
from sonoseg.serve.records import OUTLINE, Accepted, Network
from sonoseg.serve.scans import open_scan
from sonoseg.serve.scenes import plain_stem

if TYPE_CHECKING:
    from sonoseg.dicom.lesions import Outline, Tracker
    from sonoseg.dicom.read import DicomFile

_logger = logging.getLogger(__name__)
_NAME = re.compile("(.+)_(seg|sr)(_[0-9a-f]{8})?[.]dcm")
"""Of an object: the stem of the image, its kind, and the digits of the network if there are several."""


@dataclass(frozen=True)
class Part:
    """What a reader accepted of one region of one frame.

    Attributes:
        frame, region: numbers from 1.
        mask: (h, w) bool, of the region.
        accepted: how it was made and measured.
    """

    frame: int
    region: int
    mask: Mask
    accepted: Accepted


def write_objects(
    folder: Path, path: Path, parts: Iterable[Part], reader: str, limits: Limits
) -> None:
    """Writes STEM_seg.dcm, where there is a lesion, and STEM_sr.dcm; removes what is there of earlier ones.

    An object names one network. If the outlines are of several, each network has objects of its own, named
    STEM_seg_DIGITS.dcm (see `Network`). An image without the UIDs that such objects refer to gets none, which is
    logged.

    Args:
        folder: made if need be.
        path: of the image.
        parts: in the order of their frames.
        reader: who accepted them; named in the report of what a person changed or said.
        limits: on the image.

    Raises:
        InputError: the image cannot be read, or the folder not be written to.
    """
    by_network: dict[Network, list[Part]] = {}
    for part in parts:
        by_network.setdefault(part.accepted.network, []).append(part)
    stem = plain_stem(path)
    written = set()
    file = open_scan(path, limits)
    for network, own in by_network.items():
        digits = f"_{network.digits}" if len(by_network) > 1 else ""
        try:
            contents = _objects_of(file, own, network, reader)
        except MachineError:
            raise
        except InputError as error:
            words = "sonoseg: an accepted DICOM image has no SEG and SR: it %s"
            _logger.warning(words, error.problem)
            continue
        output_folder(folder)
        for kind, content in contents.items():
            name = f"{stem}_{kind}{digits}.dcm"
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(content)
            written.add(name)
    for old in objects_of(folder, stem):
        if old.name not in written:
            old.unlink(missing_ok=True)


def objects_of(folder: Path, stem: str) -> list[Path]:
    """The SEG and SR files of an image in a folder, which need not be there."""
    paths = sorted(folder.glob("*.dcm"))
    return [path for path in paths if stem_of_object(path.name) == stem]


def stem_of_object(name: str) -> str:
    """The stem of the image that a SEG or SR belongs to, by its file name; "" if it is no such name."""
    found = _NAME.fullmatch(name)
    return found[1] if found else ""


def _objects_of(
    file: DicomFile, parts: Sequence[Part], network: Network, reader: str
) -> dict[str, bytes]:
    """The contents of the objects of one network: "sr", and "seg" where there is a lesion.

    Raises:
        InputError: the image has no UIDs to refer to.
    """
    from sonoseg.dicom import codes, new_object
    from sonoseg.dicom.content import CONTAINS, text_item
    from sonoseg.dicom.lesions import Tracker
    from sonoseg.dicom.options import Options
    from sonoseg.dicom.report import make_report
    from sonoseg.dicom.seg import make_seg
    from sonoseg.dicom.source import Algorithm, as_bytes

    algorithm = Algorithm(network.name, network.version, network.sha256)
    tracker = Tracker()
    outlines: list[Outline] = []
    doubts: dict[str, str] = {}
    changed: dict[str, None] = {}
    for part in parts:
        outlines += _outlines(file, tracker, part)
        changed |= dict.fromkeys(part.accepted.by_person)
        for doubt in part.accepted.doubts:
            doubts.setdefault(doubt.partition(" (")[0], doubt)  # without its number
    categories = _categories(file, parts)
    is_said = bool(categories) or any(outline.chosen for outline in outlines)
    options = Options(corrected_by=reader if changed or is_said else None)
    measured = _with_sizes(file, parts)
    report = make_report(measured, outlines, algorithm, options, list(doubts.values()))
    comments = [f"{one}, chosen by {options.person}." for one in categories]
    if changed:
        comments.append(f"A person changed: {', '.join(changed)}.")
    for words in comments:
        report.ContentSequence.append(text_item(CONTAINS, codes.COMMENT, words))
    if comments:
        new_object.finish(report)
    contents = {"sr": as_bytes(file, report)}
    if outlines:
        # Who only measured or described did not outline.
        options = Options(corrected_by=reader if OUTLINE in changed else None)
        seg = make_seg(measured, outlines, algorithm, options)
        contents["seg"] = as_bytes(file, seg)
    return contents


def _categories(file: DicomFile, parts: Sequence[Part]) -> list[str]:
    """The BI-RADS categories that the reader chose, each with its frames and images if the file has several.

    They are words of a comment: their codes are of a scheme that is licensed (PS3.16 CID 6026).
    """
    places: dict[str, list[str]] = {}
    for part in parts:
        place = [f"frame {part.frame}"] if file.frames > 1 else []
        if len(file.layout.regions) > 1:
            place.append(f"image {part.region}")
        if part.accepted.finding.birads:
            category = f"BI-RADS category {part.accepted.finding.birads}"
            places.setdefault(category, []).append(" ".join(place))
    return [
        f"{category} ({', '.join(own)})" if own[0] else category
        for category, own in places.items()
    ]


def _with_sizes(file: DicomFile, parts: Sequence[Part]) -> DicomFile:
    """The file with the sizes of a pixel that were accepted."""
    sizes: dict[int, set[Spacing | None]] = {}
    for part in parts:
        own = file.layout.regions[part.region - 1].spacing
        size = spacing_of(part.accepted.finding, own)
        sizes.setdefault(part.region, set()).add(size)
    for region, of_region in sizes.items():
        file = sized(file, region, of_region)
    return file


def _outlines(file: DicomFile, tracker: Tracker, part: Part) -> list[Outline]:
    """The lesions of a part, in the whole frame."""
    from sonoseg.dicom.read import View

    region = file.layout.regions[part.region - 1]
    finding = part.accepted.finding
    spacing = spacing_of(finding, region.spacing)
    # Only its place is asked for, not its pixels.
    image = Image(np.zeros((0, 0), np.uint8), spacing)
    view = View(image, part.frame, part.region, region, file.shape)
    outlines = tracker.follow(view, part.mask)
    lesions = find_lesions(part.mask, part.mask.astype(np.float32), spacing=spacing)
    drawn, is_by_hand = by_hand(lesions, part.accepted.calipers, spacing)
    judged = part.accepted.malignancies
    corner = float(region.left), float(region.top)
    found = []
    for place, (outline, lesion) in enumerate(zip(outlines, drawn, strict=True)):
        axes = None
        if is_by_hand[place]:
            axes = _moved(lesion.longest, corner), _moved(lesion.across, corner)
        known = replace(outline, spacing=spacing, drawn=axes, malignancy=judged[place])
        found.append(known)
    if found:
        # The page asks for the words of the largest lesion, which comes first.
        words = split_descriptors(finding.descriptors)
        found[0] = replace(found[0], chosen=words)
    return found


def _moved(line: Diameter, corner: Point) -> Diameter:
    start, end = (
        (point[0] + corner[0], point[1] + corner[1]) for point in (line.start, line.end)
    )
    return replace(line, start=start, end=end)
