"""The addresses for programs: segment, refine, the model's card, health and metrics."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse

from sonoseg.dicom.recognise import is_dicom
from sonoseg.serve.answer import describe_model, segment_upload
from sonoseg.serve.dicom_answer import segment_dicom_upload
from sonoseg.serve.refine import parse_corrections
from sonoseg.serve.refusal import Refused
from sonoseg.serve.schemas import Problem, SegmentAnswer
from sonoseg.serve.service import Here, only_fields

router = APIRouter()
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "The token is missing or wrong"},
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Problem, "description": "The image or an option cannot be used"},
    429: {"model": Problem, "description": "Too many requests are waiting"},
    503: {"model": Problem, "description": "The work took too long"},
}
_ANSWERS = {200: {"model": SegmentAnswer}, **_REFUSALS}
ImageFile = Annotated[
    UploadFile, File(description="a PNG, JPEG, TIFF, BMP or DICOM file")
]
Spacing = Annotated[
    str | None,
    Form(description="mm per pixel: one number, or row,column", max_length=40),
]
Frame = Annotated[
    int | None,
    Form(ge=1, description="number of the frame of a DICOM loop, from 1"),
]
Threshold = Annotated[
    float | None,
    Form(gt=0, lt=1, description="probability from which a pixel is lesion"),
]


def _check_frame(content: bytes, frame: int | None) -> None:
    if frame not in (None, 1) and not is_dicom(content):
        problem = f"frame {frame} is asked for, but a picture has 1"
        raise Refused(422, "frame", problem, "send DICOM, or leave it out")


@router.post(
    "/api/segment",
    responses=_ANSWERS,
    summary="Outlines and measures the lesions",
    dependencies=[only_fields("image", "spacing", "explain", "threshold", "frame")],
)
async def segment(
    here: Here,
    image: ImageFile,
    spacing: Spacing = None,
    explain: Annotated[
        bool, Form(description="also return where the network looked")
    ] = False,
    threshold: Threshold = None,
    frame: Frame = None,
) -> JSONResponse:
    """Segments one image. The mask is that of `sonoseg segment`, pixel by pixel.

    Of DICOM the mask is that of the whole frame, and the answer holds SEG and SR.
    """
    content = await image.read()
    _check_frame(content, frame)
    settings = (here.segmenter, here.limits, content, spacing, explain, threshold)
    work = partial(segment_upload, *settings)
    if is_dicom(content):
        work = partial(segment_dicom_upload, *settings, frame)
    answer = await here.pool.run(work)
    here.metrics.add_image(len(answer["lesions"]))
    return JSONResponse(answer)


@router.post(
    "/api/refine",
    responses=_ANSWERS,
    summary="Corrects a mask by clicks and a box",
    dependencies=[
        only_fields(
            *("image", "mask", "add", "remove", "box", "spacing", "threshold", "frame")
        )
    ],
)
async def refine(
    here: Here,
    image: ImageFile,
    mask: Annotated[
        UploadFile | None, File(description="a mask to begin with, white on black")
    ] = None,
    add: Annotated[
        str,
        Form(description="points x,y;x,y where a lesion is missing", max_length=2000),
    ] = "",
    remove: Annotated[
        str, Form(description="points x,y;x,y whose part is no lesion", max_length=2000)
    ] = "",
    box: Annotated[
        str, Form(description="x,y,width,height of a missing lesion", max_length=40)
    ] = "",
    spacing: Spacing = None,
    threshold: Threshold = None,
    frame: Frame = None,
) -> JSONResponse:
    """Begins with the given mask, or with the network's own. Takes parts away, then adds lesions.

    Of DICOM, places and mask are those of the whole frame, and the answer holds SEG and SR of what was corrected.
    """
    if mask is not None and threshold is not None:
        problem = "has no use, because a mask to begin with is sent"
        raise Refused(422, "threshold", problem, "send one of the two")
    content = await image.read()
    _check_frame(content, frame)
    begin = None if mask is None else await mask.read()

    def work() -> dict[str, Any]:
        corrections = parse_corrections(here.limits, begin, add, remove, box)
        settings = (here.segmenter, here.limits, content, spacing, False, threshold)
        if is_dicom(content):
            return segment_dicom_upload(*settings, frame, corrections)
        return segment_upload(*settings, corrections)

    answer = await here.pool.run(work)
    here.metrics.add_image(len(answer["lesions"]))
    return JSONResponse(answer)


@router.get("/api/model", summary="The card of the network")
def model(here: Here) -> dict[str, Any]:
    """What the network is, for whom, and its limits."""
    return {**describe_model(here.segmenter), "card": asdict(here.segmenter.card)}


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Whether the server works")
async def health() -> dict[str, str]:
    """Answers as long as the server takes requests."""
    return {"status": "ok"}


@router.get("/metrics", response_class=PlainTextResponse, summary="For Prometheus")
def metrics(here: Here) -> PlainTextResponse:
    """Counts and times of requests, without any name."""
    text = here.metrics.to_text(here.pool.count)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
