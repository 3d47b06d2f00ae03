"""The addresses that the page uses: the list, an image with its map, edits, findings, accept, upload, login."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Query, Request, Response, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from sonoseg.errors import InputError
from sonoseg.serve.album import name_of
from sonoseg.serve.answer import describe_model, png
from sonoseg.serve.edits import Edit, Tool
from sonoseg.serve.guard import COOKIE, cookie_of, is_same
from sonoseg.serve.journal import Finding
from sonoseg.serve.lexicon import (
    BIRADS,
    DESCRIPTORS,
    LABELS,
    join_descriptors,
    split_descriptors,
)
from sonoseg.serve.patch import Patch, to_text, unsqueeze
from sonoseg.serve.refusal import Refused, refused_input
from sonoseg.serve.service import Here
from sonoseg.serve.session import Session, View

router = APIRouter(prefix="/api", include_in_schema=False)
_Identifier = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
_LONGEST_NAME = 40


def session_of(here: Here) -> Session:
    """The folder that is served."""
    if here.session is None:
        raise Refused(
            404, "folder", "no folder is served", "start sonoseg serve FOLDER"
        )
    return here.session


def reader_of(reader: Annotated[str, Query(max_length=200)] = "reader") -> str:
    """The reader's name, as it is stored.

    Raises:
        Refused: it is empty, too long, or has characters that cannot be printed.
    """
    name = " ".join(unicodedata.normalize("NFC", reader).split())
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Refused(
            422, "reader", "is not a name", f"write 1 to {_LONGEST_NAME} letters"
        )
    return name


Open = Annotated[Session, Depends(session_of)]
Reader = Annotated[str, Depends(reader_of)]


class EditBody(BaseModel):
    """See `Edit`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    key: str = Field(min_length=8, max_length=64)
    after: int
    tool: Tool
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    bits: str = ""
    threshold: float = Field(0.5, gt=0, lt=1)


class FindingBody(BaseModel):
    """See `Finding`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    label: str = Field("", max_length=20)
    birads: str = Field("", max_length=4)
    note: str = Field("", max_length=4000)
    spacing: str = Field("", max_length=40)
    descriptors: dict[str, str] = Field(default_factory=dict, max_length=10)


class AcceptBody(BaseModel):
    """Number of the last event that the page has seen."""

    model_config = ConfigDict(extra="forbid", strict=True)
    after: int


class LoginBody(BaseModel):
    """The token that a user typed, or that stood in the address."""

    token: str = Field(max_length=4096)


@router.get("/images")
def images(session: Open, reader: Reader) -> dict[str, Any]:
    """The list."""
    words = {"labels": LABELS, "birads": BIRADS, "descriptors": DESCRIPTORS}
    entries = session.entries(reader)
    return {"images": entries, "notice": session.album.notice, **words}


@router.post("/images")
def upload(session: Open, image: Annotated[UploadFile, File()]) -> dict[str, str]:
    """Adds an image to the folder."""
    try:
        return {"id": session.album.add(image.filename or "", image.file.read())}
    except InputError as error:
        raise refused_input(error) from error


@router.get("/images/{identifier}")
def show(
    here: Here, session: Open, reader: Reader, identifier: _Identifier
) -> JSONResponse:
    """All that the page needs to show an image, but its pixels and its map."""
    try:
        view = session.view(identifier, reader)
        result = session.album.result(identifier)
    except InputError as error:
        raise refused_input(error) from error
    height, width = view.mask.shape
    card = here.segmenter.card
    session.album.look_ahead(identifier)
    answer = {
        "id": identifier,
        "name": name_of(session.album.path(identifier)),
        "width": width,
        "height": height,
        "model": describe_model(here.segmenter),
        "threshold": card.threshold,
        "smallest": card.min_lesion_fraction,
        "map": list(result.network_map.shape),
        "doubts": list(result.doubts),
        "finding": _written(view.finding),
        "mask": to_text(view.mask),
        **_described(view),
    }
    return JSONResponse(answer)


@router.get("/images/{identifier}/pixels.png")
def pixels(session: Open, identifier: _Identifier) -> Response:
    """The gray image, upright."""
    return _png(png(_result(session, identifier).image))


@router.get("/images/{identifier}/thumbnail.png")
def thumbnail(session: Open, identifier: _Identifier) -> Response:
    """A small picture for the list."""
    try:
        return _png(session.album.thumbnail(identifier))
    except InputError as error:
        raise refused_input(error) from error


@router.get("/images/{identifier}/heat.png")
def heat(session: Open, identifier: _Identifier) -> Response:
    """Where the network looked."""
    try:
        return _png(session.album.heat(identifier))
    except InputError as error:
        raise refused_input(error) from error


@router.get("/images/{identifier}/map")
def probability_map(session: Open, identifier: _Identifier) -> Response:
    """The network's own map: float32, little-endian, row by row."""
    values = _result(session, identifier).network_map.astype("<f4")
    return Response(values.tobytes(), media_type="application/octet-stream")


@router.post("/images/{identifier}/edits")
def edit(
    session: Open, reader: Reader, identifier: _Identifier, body: EditBody
) -> JSONResponse:
    """Changes the mask; what is answered is on the disk."""
    try:
        patch = session.edit(identifier, reader, Edit(**body.model_dump()))
        view = session.view(identifier, reader)
    except InputError as error:
        raise refused_input(error, error.subject) from error
    return JSONResponse({"patch": _patch(patch), **_described(view)})


@router.put("/images/{identifier}/finding")
def write_finding(
    session: Open, reader: Reader, identifier: _Identifier, body: FindingBody
) -> JSONResponse:
    """Keeps label, category, note and spacing; measurements follow the spacing."""
    try:
        words = (body.label, body.birads, body.note, body.spacing)
        finding = Finding(*words, join_descriptors(body.descriptors))
        session.write_finding(identifier, reader, finding)
        return JSONResponse(_described(session.view(identifier, reader)))
    except InputError as error:
        raise refused_input(error, error.subject) from error


@router.post("/images/{identifier}/accept")
def accept(
    session: Open, reader: Reader, identifier: _Identifier, body: AcceptBody
) -> JSONResponse:
    """Puts the mask into the reader's data set."""
    try:
        session.accept(identifier, reader, body.after)
        return JSONResponse(_described(session.view(identifier, reader)))
    except InputError as error:
        raise refused_input(error, _subject_of(error)) from error


@router.post("/login")
def login(request: Request, here: Here, body: LoginBody) -> Response:
    """Gives the browser a cookie in exchange for the token."""
    if here.token is None or not is_same(body.token, here.token):
        raise Refused(
            401, "token", "is wrong", "look into the token file of the server"
        )
    response = JSONResponse({"status": "ok"})
    is_secure = request.headers.get("x-forwarded-proto", "") == "https"
    response.set_cookie(
        COOKIE,
        cookie_of(here.token),
        httponly=True,
        samesite="strict",
        secure=is_secure,
    )
    return response


def _result(session: Session, identifier: str) -> Any:
    try:
        return session.album.result(identifier)
    except InputError as error:
        raise refused_input(error) from error


def _subject_of(error: InputError) -> str:
    """The subject of an error, unless it is a path of the server."""
    return error.subject if error.subject in ("label", "image") else "folder"


def _described(view: View) -> dict[str, Any]:
    """What changes with each edit."""
    has_spacing = bool(view.lesions) and view.lesions[0].spacing is not None
    return {
        "revision": view.revision,
        "undo": view.undo,
        "redo": view.redo,
        "state": view.state,
        "unit": "mm" if has_spacing else "px",
        "lesions": [lesion.to_dict() for lesion in view.lesions],
    }


def _written(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "descriptors": split_descriptors(finding.descriptors)}


def _patch(patch: Patch) -> dict[str, Any]:
    after = unsqueeze(patch.after, patch.height, patch.width)
    box = {"x": patch.x, "y": patch.y, "width": patch.width, "height": patch.height}
    return {**box, "bits": to_text(after)}


def _png(content: bytes) -> Response:
    return Response(content, media_type="image/png")
