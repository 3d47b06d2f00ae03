"""The addresses for programs: segment, refine, the model's card, health and metrics."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse
from numpy.typing import NDArray

from sonoseg.core.mask import read_mask
from sonoseg.dicom.recognise import is_dicom
from sonoseg.errors import InputError
from sonoseg.reader.result import SegmentationResult
from sonoseg.serve import grow
from sonoseg.serve.answer import (
    check_shape,
    describe,
    describe_model,
    mask_at,
    read_upload,
    segment_upload,
)
from sonoseg.serve.dicom_answer import segment_dicom_upload
from sonoseg.serve.edits import check_box
from sonoseg.serve.schemas import Problem, SegmentAnswer
from sonoseg.serve.service import Here, Service

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
Threshold = Annotated[
    float | None,
    Form(gt=0, lt=1, description="probability from which a pixel is lesion"),
]


@router.post(
    "/api/segment", responses=_ANSWERS, summary="Outlines and measures the lesions"
)
async def segment(
    here: Here,
    image: ImageFile,
    spacing: Spacing = None,
    explain: Annotated[
        bool, Form(description="also return where the network looked")
    ] = False,
    threshold: Threshold = None,
    frame: Annotated[
        int, Form(ge=1, description="number of the frame of a DICOM loop, from 1")
    ] = 1,
) -> JSONResponse:
    """Segments one image. The mask is that of `sonoseg segment`, pixel by pixel.

    Of DICOM the mask is that of the whole frame, and the answer holds SEG and SR.
    """
    content = await image.read()
    settings = (here.segmenter, here.limits, content, spacing, explain, threshold)
    work = partial(segment_upload, *settings)
    if is_dicom(content):
        work = partial(segment_dicom_upload, *settings, frame)
    answer = await here.pool.run(work)
    here.metrics.add_image(len(answer["lesions"]))
    return JSONResponse(answer)


@router.post(
    "/api/refine", responses=_ANSWERS, summary="Corrects a mask by clicks and a box"
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
) -> JSONResponse:
    """Begins with the given mask, or with the network's own. Takes parts away, then adds lesions."""
    content = await image.read()
    begin = None if mask is None else await mask.read()
    work = partial(
        _refined, here, content, begin, (add, remove, box), spacing, threshold
    )
    return JSONResponse(await here.pool.run(work))


@router.get("/api/model", summary="The card of the network")
def model(here: Here) -> dict[str, Any]:
    """What the network is, for whom, and its limits."""
    return {**describe_model(here.segmenter), "card": asdict(here.segmenter.card)}


@router.get("/healthz", summary="Whether the server works")
async def health() -> dict[str, str]:
    """Answers as long as the server takes requests."""
    return {"status": "ok"}


@router.get("/metrics", response_class=PlainTextResponse, summary="For Prometheus")
def metrics(here: Here) -> PlainTextResponse:
    """Counts and times of requests, without any name."""
    text = here.metrics.to_text(here.pool.count)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


def _refined(
    here: Service,
    content: bytes,
    begin: bytes | None,
    corrections: tuple[str, str, str],
    spacing: str | None,
    threshold: float | None,
) -> dict[str, Any]:
    """The answer of POST /api/refine."""
    image = read_upload(content, here.limits, spacing)
    added, removed = _points("add", corrections[0]), _points("remove", corrections[1])
    result = here.segmenter.segment(image)
    cut = here.segmenter.card.threshold if threshold is None else threshold
    mask = mask_at(result, cut, here.segmenter.card).copy()
    if begin is not None:
        read_upload(begin, here.limits)
        mask = read_mask(begin).pixels
        check_shape(mask, image)
    for x, y in removed:
        _check_inside("remove", x, y, mask)
        mask &= ~grow.part_at(mask, y, x)
    for x, y in added:
        _check_inside("add", x, y, mask)
        mask |= grow.grow_at(image.pixels, result.probability, x, y)
    if corrections[2]:
        mask |= _grown_in_box(result, corrections[2])
    return describe(here.segmenter, replace(result, mask=mask), cut)


def _grown_in_box(result: SegmentationResult, text: str) -> NDArray[np.bool_]:
    numbers = re.fullmatch(r"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})", text)
    if numbers is None:
        raise InputError("box", "is not x,y,width,height", "send four whole numbers")
    left, top, width, height = map(int, numbers.groups())
    check_box(left, top, width, height, result.mask.shape)
    return grow.grow_in(result.image, result.probability, (left, top, width, height))


def _points(name: str, text: str) -> list[tuple[int, int]]:
    points = []
    for word in filter(None, text.split(";")):
        numbers = re.fullmatch(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*", word)
        if numbers is None:
            raise InputError(name, "is not a list of points", "send points as x,y;x,y")
        points.append((int(numbers[1]), int(numbers[2])))
    if len(points) > 50:
        raise InputError(name, f"holds {len(points)} points", "send at most 50")
    return points


def _check_inside(name: str, x: int, y: int, mask: NDArray[np.bool_]) -> None:
    if x >= mask.shape[1] or y >= mask.shape[0]:
        raise InputError(
            name, f"the point {x},{y} is outside of the image", "send a pixel of it"
        )
