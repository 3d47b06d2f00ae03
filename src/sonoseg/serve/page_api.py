"""The addresses that the page uses: the list, an image with its map, edits, findings, accept, upload, login."""

from __future__ import annotations

import io
import unicodedata
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Query, Request, Response, UploadFile
from fastapi.responses import JSONResponse
from PIL import Image as Picture
from pydantic import Field

from sonoseg.errors import InputError
from sonoseg.serve.answer import describe_model
from sonoseg.serve.edits import Edit
from sonoseg.serve.guard import COOKIE, cookie_of, is_same
from sonoseg.serve.lexicon import BIRADS, DESCRIPTORS, LABELS
from sonoseg.serve.page_bodies import (
    AcceptBody,
    EditBody,
    FindingBody,
    LoginBody,
    describe_finding,
    describe_patch,
    describe_view,
)
from sonoseg.serve.patch import to_text
from sonoseg.serve.refusal import Refused, refused_input
from sonoseg.serve.scenes import PATTERN
from sonoseg.serve.service import Here
from sonoseg.serve.session import Session
from sonoseg.serve.versions import check_version, version_of

router = APIRouter(prefix="/api", include_in_schema=False)
Identifier = Annotated[str, Field(pattern=PATTERN)]
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
Seen = Annotated[str, Query(alias="version", max_length=80)]
"""The version of the file that the page has shown; "" changes whatever is there."""
Reader = Annotated[str, Depends(reader_of)]


@router.get("/images")
def images(here: Here, session: Open, reader: Reader) -> dict[str, Any]:
    """The list."""
    words = {"labels": LABELS, "birads": BIRADS, "descriptors": DESCRIPTORS}
    try:
        entries, gone = session.entries(reader), session.gone.entries(reader)
    except InputError as error:
        raise refused_input(error, "folder") from error
    about = {"notice": session.album.notice, "studies": here.archive is not None}
    return {"images": entries, "gone": gone, **about, **words}


@router.post("/images")
def upload(session: Open, image: Annotated[UploadFile, File()]) -> dict[str, str]:
    """Adds an image to the folder."""
    try:
        return {"id": session.album.add(image.filename or "", image.file.read())}
    except InputError as error:
        raise refused_input(error) from error


@router.get("/images/{identifier}")
def show(
    here: Here, session: Open, reader: Reader, identifier: Identifier
) -> JSONResponse:
    """All that the page needs to show an image, but its pixels and its map."""
    shot = session.album.shot(identifier)
    try:
        view = session.view(shot, reader)
        result = session.album.result(shot)
    except InputError as error:
        raise refused_input(error) from error
    height, width = view.mask.shape
    card = here.segmenter.card
    session.album.look_ahead(shot)
    scene = shot.scene
    answer = {
        "id": shot.identifier,
        "scene": scene.identifier,
        "name": scene.name,
        "place": scene.place,
        "frame": shot.frame,
        "frames": scene.frames,
        "frameTime": scene.frame_time,
        "width": width,
        "height": height,
        "model": describe_model(here.segmenter),
        "threshold": card.threshold,
        "smallest": card.min_lesion_fraction,
        "map": list(result.network_map.shape),
        "version": version_of(shot.path),
        "finding": describe_finding(view.finding),
        "mask": to_text(view.mask),
        **describe_view(view),
    }
    return JSONResponse(answer)


@router.get("/images/{identifier}/frames")
def frames(session: Open, reader: Reader, identifier: Identifier) -> JSONResponse:
    """Of each frame that was segmented so far the share that is lesion; and the states of those that were touched."""
    scene = session.album.shot(identifier).scene
    shares = session.album.loop(scene).shares(scene)
    states = session.frame_states(scene, reader)
    return JSONResponse({"shares": [round(one, 5) for one in shares], "states": states})


@router.get("/images/{identifier}/mask")
def mask(session: Open, reader: Reader, identifier: Identifier) -> JSONResponse:
    """The mask of a frame, as far as it is known without waiting: for playing a loop."""
    try:
        known = session.known_mask(session.album.shot(identifier), reader)
    except InputError as error:
        raise refused_input(error) from error
    return JSONResponse({"mask": None if known is None else to_text(known)})


@router.get("/images/{identifier}/pixels.bmp")
def pixels(session: Open, identifier: Identifier) -> Response:
    """The gray image, upright. As PNG it would be a little smaller, and take much longer."""
    shot = session.album.shot(identifier)
    version = version_of(shot.path)
    try:
        image = session.album.image(shot)
    except InputError as error:
        raise refused_input(error) from error
    file = io.BytesIO()
    Picture.fromarray(image.pixels).save(file, "BMP")
    headers = {"X-Version": version}
    return Response(file.getvalue(), media_type="image/bmp", headers=headers)


@router.get("/images/{identifier}/thumbnail.png")
def thumbnail(session: Open, identifier: Identifier) -> Response:
    """A small picture for the list."""
    try:
        return _png(session.album.thumbnail(session.album.shot(identifier).scene))
    except InputError as error:
        raise refused_input(error) from error


@router.get("/images/{identifier}/heat.png")
def heat(session: Open, identifier: Identifier) -> Response:
    """Where the network looked."""
    try:
        return _png(session.album.heat(session.album.shot(identifier)))
    except InputError as error:
        raise refused_input(error) from error


@router.get("/images/{identifier}/map")
def probability_map(session: Open, identifier: Identifier) -> Response:
    """The network's own map: float32, little-endian, row by row."""
    try:
        result = session.album.result(session.album.shot(identifier))
    except InputError as error:
        raise refused_input(error) from error
    values = result.network_map.astype("<f4")
    return Response(values.tobytes(), media_type="application/octet-stream")


@router.post("/images/{identifier}/edits")
def edit(
    session: Open,
    reader: Reader,
    identifier: Identifier,
    body: EditBody,
    seen: Seen = "",
) -> JSONResponse:
    """Changes mask or calipers; what is answered is on the disk."""
    shot = session.album.shot(identifier)
    check_version(shot.path, seen)
    try:
        patch = session.edit(shot, reader, Edit(**body.model_dump()))
        view = session.view(shot, reader)
    except InputError as error:
        raise refused_input(error, error.subject) from error
    return JSONResponse({"patch": describe_patch(patch), **describe_view(view)})


@router.put("/images/{identifier}/finding")
def write_finding(
    session: Open,
    reader: Reader,
    identifier: Identifier,
    body: FindingBody,
    seen: Seen = "",
) -> JSONResponse:
    """Keeps label, category, note and spacing; measurements follow."""
    shot = session.album.shot(identifier)
    check_version(shot.path, seen)
    try:
        session.write_finding(shot, reader, body.finding(), body.words)
        return JSONResponse(describe_view(session.view(shot, reader)))
    except InputError as error:
        raise refused_input(error, error.subject) from error


@router.post("/images/{identifier}/accept")
def accept(
    session: Open,
    reader: Reader,
    identifier: Identifier,
    body: AcceptBody,
    seen: Seen = "",
) -> JSONResponse:
    """Puts the mask into the reader's data set."""
    shot = session.album.shot(identifier)
    check_version(shot.path, seen)
    try:
        session.accept(shot, reader, body.after, body.words)
        return JSONResponse(describe_view(session.view(shot, reader)))
    except InputError as error:
        raise refused_input(error, _subject_of(error)) from error


@router.delete("/images/{identifier}/accept")
def withdraw(session: Open, reader: Reader, identifier: Identifier) -> JSONResponse:
    """Takes the image out of the reader's data set."""
    shot = session.album.shot(identifier)
    version_of(shot.path)  # what is gone is withdrawn as a whole, see below
    try:
        session.withdraw(shot, reader)
        return JSONResponse(describe_view(session.view(shot, reader)))
    except InputError as error:
        raise refused_input(error, _subject_of(error)) from error


@router.delete("/gone/{identifier}")
def withdraw_gone(
    session: Open, reader: Reader, identifier: Identifier
) -> dict[str, str]:
    """Takes all images of a file that is gone out of the reader's data set."""
    try:
        session.gone.withdraw(identifier, reader)
    except InputError as error:
        raise refused_input(error, "folder") from error
    return {"status": "withdrawn"}


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


def _subject_of(error: InputError) -> str:
    """The subject of an error, unless it is a path of the server."""
    return error.subject if error.subject in ("label", "image") else "folder"


def _png(content: bytes) -> Response:
    return Response(content, media_type="image/png")
