"""The addresses that MONAI Label's clients call (3D Slicer's and OHIF's plugins), as MONAI Label 0.8 answers them.

An adapter: pictures are segmented as by POST /api/segment. What sonoseg does not do is refused by name.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, File, Form, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response

import sonoseg
from sonoseg.errors import InputError
from sonoseg.serve.monai_folder import Folder
from sonoseg.serve.monai_images import (
    DTYPES,
    LABEL,
    check_upright,
    label_picture,
    multipart,
)
from sonoseg.serve.monai_sessions import Kept, no_session
from sonoseg.serve.page_api import reader_of
from sonoseg.serve.refusal import Refused, refused_input
from sonoseg.serve.service import Here, only_fields

router = APIRouter(tags=["MONAI Label"])
STRATEGY = "first"
_BINARY = "application/octet-stream"
_READER = "monai-label"
Output = Literal["image", "json", "all", "dicom_seg"]
ImageName = Annotated[str, Query(max_length=200)]
Parameters = Annotated[str, Form(max_length=20_000)]


def folder_of(request: Request, here: Here) -> Folder:
    """The served folder; the names that clients gave its images live as long as the server."""
    if here.session is None:
        hint = "start sonoseg serve FOLDER"
        raise Refused(404, "datastore", "no folder is served", hint)
    state = request.app.state
    if not hasattr(state, "monai_folder"):
        state.monai_folder = Folder(here.session, here.limits)
    folder: Folder = state.monai_folder
    return folder


Images = Annotated[Folder, Depends(folder_of)]


@router.get("/info/", summary="What the server can do")
def info(request: Request, here: Here) -> dict[str, Any]:
    """Its only model, and what is in its folder."""
    card = here.segmenter.card
    model = {
        "type": "segmentation",
        "labels": {LABEL: 1},
        "dimension": 2,
        "description": "Outlines lesions in a breast-ultrasound picture.",
        "config": {},
    }
    datastore = {"total": 0, "completed": 0, "label_tags": {}}
    if here.session is not None:
        datastore = folder_of(request, here).status(_READER)
    first = {"description": "The first image that is not accepted."}
    return {
        "name": "sonoseg",
        "description": "Breast ultrasound. Research use, not a medical device.",
        "version": sonoseg.__version__,
        "labels": [LABEL],
        "models": {card.name: model},
        "trainers": {},
        "strategies": {STRATEGY: first} if here.session is not None else {},
        "scoring": {},
        "train_stats": {},
        "datastore": datastore,
    }


@router.get("/auth/", summary="Whether users log in")
def auth() -> dict[str, bool]:
    """They do not: see the option --token-file."""
    return {"enabled": False}


@router.post(
    "/infer/{model}",
    summary="Outlines the lesions as a label",
    # The answer to a picture under another name would be of one in the folder.
    dependencies=[only_fields("params", "file", "label")],
)
async def infer(
    request: Request,
    here: Here,
    kept: Kept,
    model: str,
    image: ImageName = "",
    session_id: Annotated[str, Query(max_length=64)] = "",
    output: Output = "all",
    params: Parameters = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """The label of one picture, as NRRD: of the folder, of a session, or sent with the request."""
    if model != here.segmenter.card.name:
        hint = f"ask for {here.segmenter.card.name}"
        raise Refused(404, "model", "is not known", hint)
    if label is not None:
        hint = "use POST /api/refine"
        raise Refused(422, "label", "a label to begin with is not taken here", hint)
    dtype = _dtype_in(_parsed(params))
    if file is not None:
        content = await file.read()
    elif session_id:
        upload = kept.get(session_id)
        if upload is None:
            raise no_session()
        content = upload.content
    else:
        content = await here.pool.run(
            lambda: folder_of(request, here).path(image).read_bytes()
        )

    def work() -> Response:
        labelled = label_picture(here.segmenter, here.limits, content)
        here.metrics.add_image(len(labelled.answer["lesions"]))
        if output == "json":
            return JSONResponse(labelled.parameters())
        if output == "dicom_seg":
            return _file(labelled.dicom_seg(), "label.dcm", "application/dicom")
        if output == "image":
            return _file(labelled.nrrd(dtype), "label.nrrd", _BINARY)
        parts = multipart(labelled.parameters(), "label.nrrd", labelled.nrrd(dtype))
        return Response(parts[0], media_type=parts[1])

    return await here.pool.run(work)


@router.get("/datastore/", summary="The images of the folder")
def datastore(
    images: Images, output: Literal["stats", "all", "train"] = "stats"
) -> dict[str, Any]:
    """How many there are, or all of them."""
    if output == "train":
        raise _not_done("training over HTTP", "use sonoseg train")
    return images.listed() if output == "all" else images.status(_READER)


@router.put("/datastore/", summary="Adds an image to the folder")
def add_image(
    images: Images, file: Annotated[UploadFile, File()], image: ImageName = ""
) -> dict[str, str]:
    """A volume of one slice becomes PNG. Nothing is replaced: another picture of the same name is refused."""
    try:
        name = image or file.filename or "image"
        return {"image": images.add(name, file.file.read())}
    except InputError as error:
        raise refused_input(error) from error


@router.get("/datastore/image", summary="The file of an image")
def download(images: Images, image: ImageName) -> Response:
    """As it lies in the folder; one that EXIF turns is refused."""
    path = images.path(image)
    content = path.read_bytes()
    check_upright("image", content, images.limits)
    return _file(content, path.name, _BINARY)


@router.put("/datastore/label", summary="Makes a label the mask of a reader")
def save_label(
    images: Images,
    image: ImageName,
    label: Annotated[UploadFile, File()],
    params: Parameters = "{}",
    tag: Annotated[str, Query(max_length=40)] = "final",
) -> dict[str, str]:
    """The page shows it to the reader whom the client names as client_id; it is accepted there."""
    words = _parsed(params)
    reader = reader_of(str(words.get("client_id") or _READER))
    try:
        name = images.save_label(image, reader, label.file.read())
    except InputError as error:
        raise refused_input(error, "label") from error
    return {"image": image, "label": name, "tag": tag}


@router.post("/activelearning/{strategy}", summary="The next image to look at")
def next_image(
    images: Images,
    strategy: str,
    client_id: Annotated[str | None, Body(embed=True, max_length=200)] = None,
) -> dict[str, str]:
    """The first one that the reader has not accepted, and EXIF does not turn; an empty answer if there is none."""
    if strategy != STRATEGY:
        raise Refused(404, "strategy", "is not known", f"ask for {STRATEGY}")
    name = images.next_image(reader_of(client_id or _READER))
    return {} if name is None else {"id": name, "name": name}


@router.get("/train/", include_in_schema=False)
@router.post("/train/", include_in_schema=False)
@router.delete("/train/", include_in_schema=False)
@router.post("/train/{model}", include_in_schema=False)
def train() -> None:
    """Networks are trained by `sonoseg train`."""
    raise _not_done("training over HTTP", "use sonoseg train")


@router.post("/scoring/{method}", include_in_schema=False)
def score() -> None:
    """Networks are scored by `sonoseg evaluate`."""
    raise _not_done("scoring over HTTP", "use sonoseg evaluate")


@router.get("/logs/", include_in_schema=False)
def logs() -> None:
    """Logs stay on the server."""
    raise _not_done("reading logs over HTTP", "look at the server's stderr")


@router.get("/datastore/label", include_in_schema=False)
def download_label() -> None:
    """Masks lie on the disk."""
    raise _not_done("fetching labels", "take them from the folder annotations")


@router.delete("/datastore/", include_in_schema=False)
def remove_image() -> None:
    """Nothing is deleted over HTTP."""
    raise _not_done("deleting images", "delete the file in the folder")


def _not_done(what: str, hint: str) -> Refused:
    return Refused(404, "address", f"sonoseg does not do this: {what}", hint)


def _parsed(params: str) -> dict[str, Any]:
    try:
        words = json.loads(params)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        raise Refused(422, "params", "is no JSON object", "send {}")
    return words


def _dtype_in(words: dict[str, Any]) -> str:
    """The number type that the client wants; other file formats than NRRD are refused."""
    extension = words.get("result_extension", ".nrrd")
    if extension != ".nrrd":
        problem = "asks for another format than NRRD"
        raise Refused(422, "result_extension", problem, "send .nrrd")
    dtype = words.get("result_dtype", "uint8")
    if dtype not in DTYPES:
        hint = f"send {' or '.join(DTYPES)}"
        raise Refused(422, "result_dtype", "is not known", hint)
    return str(dtype)


def _file(content: bytes, name: str, kind: str) -> Response:
    plain = "".join(
        letter
        for letter in name
        if letter.isascii() and (letter.isalnum() or letter in "-_.")
    )
    headers = {"Content-Disposition": f'attachment; filename="{plain}"'}
    return Response(content, media_type=kind, headers=headers)
