"""The answer of the service about a DICOM file: as about a picture, with the objects to store beside the image."""

from __future__ import annotations

import base64
from dataclasses import replace
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
    from sonoseg.dicom.lesions import Outline
    from sonoseg.dicom.read import DicomFile
    from sonoseg.dicom.whole_frame import WholeFrameResult

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META_BYTES = 4096


def segment_dicom_upload(
    segmenter: Segmenter,
    limits: Limits,
    content: bytes,
    spacing: str | None,
    explain: bool,
    threshold: float | None,
    frame: int,
) -> dict[str, Any]:
    """The answer of POST /api/segment about one frame of a DICOM file; see `SegmentAnswer`.

    Raises:
        InputError: it is no ultrasound that can be read, too large, or has no such frame; or what reads DICOM is not
            installed.
    """
    file = read_dicom_upload(content, limits, spacing)
    if frame > file.frames:
        problem = f"frame {frame} is asked for, but the file has {file.frames}"
        raise InputError("image", problem, "send the number of a frame, from 1")
    from sonoseg.dicom.lesions import Tracker
    from sonoseg.dicom.whole_frame import in_whole_frame

    cut = segmenter.card.threshold if threshold is None else threshold
    tracker = Tracker()
    regions: list[WholeFrameResult] = []
    outlines: list[Outline] = []
    for view in file.views([frame]):
        result = segmenter.segment(view.image, explain=explain)
        mask = mask_at(result, cut, segmenter.card)
        regions.append(in_whole_frame(view, replace(result, mask=mask)))
        outlines += tracker.follow(view, mask)
    answer = _joined([describe(segmenter, region, cut) for region in regions])
    answer["mask"] = png_text(_union(regions).astype(np.uint8) * 255)
    heats = [region.heat for region in regions if region.heat is not None]
    if heats:
        heat = np.rint(np.max(heats, axis=0) * 255)
        answer["heat"] = png_text(heat.astype(np.uint8))
    answer |= {"frame": frame, "frames": file.frames}
    return answer | _objects(file, outlines, segmenter, answer["doubts"])


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


def _joined(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer for the regions of a frame; size of a pixel and unit are those of the first."""
    answer = answers[0]
    for other in answers[1:]:
        answer["lesions"] = answer["lesions"] + other["lesions"]
        for doubt in other["doubts"]:
            if doubt not in answer["doubts"]:
                answer["doubts"].append(doubt)
        if other["spacing"] != answer["spacing"]:
            doubt = "its regions have pixels of different sizes"
            answer["doubts"].append(doubt)
        if other["unfamiliarity"] is not None:
            known = answer["unfamiliarity"] or 0.0
            answer["unfamiliarity"] = max(known, other["unfamiliarity"])
    answer["lesions"].sort(key=lambda lesion: lesion["area"], reverse=True)
    return answer


def _union(regions: list[WholeFrameResult]) -> NDArray[np.bool_]:
    """The lesions of all regions in the whole frame, (H, W)."""
    union = np.zeros_like(regions[0].mask)
    for region in regions:
        union |= region.mask
    return union


def _objects(
    file: DicomFile, outlines: list[Outline], segmenter: Segmenter, doubts: list[str]
) -> dict[str, str | None]:
    """SEG and SR in base64; both None, and a doubt, where the image has nothing to refer to."""
    from sonoseg.dicom.objects import make_objects

    try:
        objects = make_objects(file, outlines, segmenter)
    except InputError as error:
        doubts.append(f"no SEG and no SR: it {error.problem}")
        return {"seg": None, "sr": None}
    seg = None if objects.seg is None else _text(objects.seg)
    return {"seg": seg, "sr": _text(objects.report)}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
