"""The answer of the service about a DICOM file: as about a picture, with the objects to store beside the image."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.image import parse_spacing
from sonoseg.core.source import check_dimensions
from sonoseg.dicom.recognise import check_installed
from sonoseg.errors import InputError
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.answer import describe, mask_at, png_text
from sonoseg.serve.limits import Limits

if TYPE_CHECKING:
    from sonoseg.core.measure import Spacing
    from sonoseg.dicom.lesions import Outline
    from sonoseg.dicom.read import DicomFile
    from sonoseg.dicom.regions import Region
    from sonoseg.dicom.whole_frame import WholeFrameResult
    from sonoseg.serve.grow import Box
    from sonoseg.serve.refine import Corrections

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META_BYTES = 4096


def segment_dicom_upload(
    segmenter: Segmenter,
    limits: Limits,
    content: bytes,
    spacing: str | None,
    explain: bool,
    threshold: float | None,
    frame: int | None = None,
    corrections: Corrections | None = None,
) -> dict[str, Any]:
    """The answer of POST /api/segment and /api/refine about one frame of a DICOM file; see `SegmentAnswer`.

    Without `frame` it is about the first one, and a doubt says so of a loop.

    Raises:
        InputError: it is no ultrasound that can be read, too large, or has no such frame; or what reads DICOM is not
            installed; or the corrections do not fit the frame.
    """
    file = read_dicom_upload(content, limits, spacing)
    number = 1 if frame is None else frame
    if number > file.frames:
        problem = f"frame {number} is asked for, but the file has {file.frames}"
        raise InputError("image", problem, "send the number of a frame, from 1")
    if corrections is not None:
        _check_places(file, corrections)
    drawn = _draw(segmenter, file, number, (explain, threshold, corrections))
    cut = segmenter.card.threshold if threshold is None else threshold
    answers = [describe(segmenter, region, cut) for region in drawn.regions]
    answer = _joined(answers, [region.view.region for region in drawn.regions])
    if corrections is not None and drawn.has_outside:
        doubt = "the mask reached out of the ultrasound image; that part is left out"
        answer["doubts"].append(doubt)
    answer["mask"] = png_text(_union(drawn.regions).astype(np.uint8) * 255)
    heats = [region.heat for region in drawn.regions if region.heat is not None]
    if heats:
        heat = np.rint(np.max(heats, axis=0) * 255)
        answer["heat"] = png_text(heat.astype(np.uint8))
    if frame is None and file.frames > 1:
        doubt = f"only the first of {file.frames} frames was segmented; send frame"
        answer["doubts"].append(doubt)
    answer |= {"frame": number, "frames": file.frames}
    return answer | _objects(file, drawn, segmenter, answer["doubts"])


@dataclass(frozen=True)
class _Drawn:
    """The regions of a frame with their masks.

    Attributes:
        regions: the results, in the whole frame.
        outlines: of the lesions.
        is_corrected: whether a mask differs from the network's own.
        has_outside: whether the client's mask had lesion outside of all regions.
    """

    regions: list[WholeFrameResult]
    outlines: list[Outline]
    is_corrected: bool
    has_outside: bool


def _draw(
    segmenter: Segmenter,
    file: DicomFile,
    frame: int,
    options: tuple[bool, float | None, Corrections | None],
) -> _Drawn:
    """Segments the regions of a frame, and corrects their masks."""
    from sonoseg.dicom.lesions import Tracker
    from sonoseg.dicom.whole_frame import in_whole_frame

    explain, threshold, corrections = options
    cut = segmenter.card.threshold if threshold is None else threshold
    tracker = Tracker()
    regions: list[WholeFrameResult] = []
    outlines: list[Outline] = []
    is_corrected = False
    outside = None
    if corrections is not None and corrections.begin is not None:
        outside = corrections.begin.copy()
    for view in file.views([frame]):
        result = segmenter.segment(view.image, explain=explain)
        mask = mask_at(result, cut, segmenter.card)
        if corrections is not None:
            place = view.region
            own = corrections.cut(place.left, place.top, place.width, place.height)
            corrected = own.apply(result, mask)
            is_corrected |= not np.array_equal(corrected, mask)
            mask = corrected
        if outside is not None:
            outside[view.region.slices] = False
        drawn = replace(result, mask=mask)
        regions.append(in_whole_frame(view, drawn))
        followed = tracker.follow(view, mask)
        for outline, lesion in zip(followed, drawn.lesions, strict=True):
            outlines.append(replace(outline, malignancy=lesion.malignancy))
    has_outside = outside is not None and bool(outside.any())
    return _Drawn(regions, outlines, is_corrected, has_outside)


def _check_places(file: DicomFile, corrections: Corrections) -> None:
    """Raises InputError if corrections do not fit the frame, or a point or the box lies in no region."""
    corrections.check(file.shape)
    places = [("add", (x, y, 1, 1)) for x, y in corrections.added]
    places += [("remove", (x, y, 1, 1)) for x, y in corrections.removed]
    if corrections.box is not None:
        places.append(("box", corrections.box))
    for name, place in places:
        if not any(_holds(region, place) for region in file.layout.regions):
            problem = f"{place[0]},{place[1]} is outside of the ultrasound image"
            raise InputError(name, problem, "send a place inside of it")


def _holds(region: Region, box: Box) -> bool:
    """Whether a box (left, top, width, height) lies in a region of the frame."""
    left, top = box[0] - region.left, box[1] - region.top
    fits = left + box[2] <= region.width and top + box[3] <= region.height
    return left >= 0 and top >= 0 and fits


def read_dicom_upload(
    content: bytes, limits: Limits, spacing: str | None = None
) -> DicomFile:
    """The DICOM file in a request, its header read.

    Raises:
        InputError: as `segment_dicom_upload`.
    """
    check_installed()
    from sonoseg.dicom.read import read_dicom

    if _DEFLATED in content[:_META_BYTES]:  # some kilobytes may become a gigabyte
        problem = "is a deflated DICOM file, which the server does not read"
        raise InputError("image", problem, "send it without deflation")
    pair = parse_spacing(spacing) if spacing else None
    file = read_dicom(content)
    height, width = file.shape
    check_dimensions("image", width, height, limits.pixels)
    return file if pair is None else file.with_spacing(pair)


def dicom_spacing(content: bytes, limits: Limits) -> Spacing | None:
    """Pixel Spacing of a DICOM file, as `pixel_spacing_of`; that of its regions does not count."""
    from sonoseg.dicom.regions import pixel_spacing_of

    return pixel_spacing_of(read_dicom_upload(content, limits).dataset)


def _joined(answers: list[dict[str, Any]], regions: list[Region]) -> dict[str, Any]:
    """One answer for the regions of a frame; size of a pixel and unit are those of the first.

    Lesions in mm come before those in pixels, because their areas cannot be compared.
    """
    from sonoseg.dicom.regions import are_equal

    answer = answers[0]
    for other, region in zip(answers[1:], regions[1:], strict=True):
        answer["lesions"] = answer["lesions"] + other["lesions"]
        doubts = list(other["doubts"])
        if not are_equal(region, regions[0]):
            doubts.append("its regions have pixels of different sizes")
        for doubt in doubts:
            if doubt not in answer["doubts"]:
                answer["doubts"].append(doubt)
        if other["unfamiliarity"] is not None:
            known = answer["unfamiliarity"] or 0.0
            answer["unfamiliarity"] = max(known, other["unfamiliarity"])
    answer["lesions"].sort(
        key=lambda lesion: (lesion["unit"] == "mm", lesion["area"]), reverse=True
    )
    return answer


def _union(regions: list[WholeFrameResult]) -> NDArray[np.bool_]:
    """The lesions of all regions in the whole frame, (H, W)."""
    union = np.zeros_like(regions[0].mask)
    for region in regions:
        union |= region.mask
    return union


def _objects(
    file: DicomFile, drawn: _Drawn, segmenter: Segmenter, doubts: list[str]
) -> dict[str, str | None]:
    """SEG and SR in base64; both None, and a doubt, where the image has nothing to refer to."""
    from sonoseg.dicom.objects import make_objects
    from sonoseg.dicom.options import Options

    # Nobody says who sits at the client.
    options = Options(corrected_by="" if drawn.is_corrected else None)
    of_image = dict.fromkeys(doubt for one in drawn.regions for doubt in one.doubts)
    try:
        objects = make_objects(file, drawn.outlines, segmenter, options, list(of_image))
    except InputError as error:
        doubts.append(f"no SEG and no SR: it {error.problem}")
        return {"seg": None, "sr": None}
    seg = None if objects.seg is None else _text(objects.seg)
    return {"seg": seg, "sr": _text(objects.report)}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
