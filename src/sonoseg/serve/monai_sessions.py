"""Pictures that MONAI Label's clients send once and name afterwards; 3D Slicer does so with a volume it has open."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Request, UploadFile

from sonoseg.serve.kept_files import Upload, Uploads
from sonoseg.serve.monai_images import picture_of
from sonoseg.serve.refusal import Refused
from sonoseg.serve.service import Here

router = APIRouter(tags=["MONAI Label"])


def uploads_of(request: Request) -> Uploads:
    """Files that were sent with PUT /session/."""
    state = request.app.state
    if not hasattr(state, "monai_uploads"):
        state.monai_uploads = Uploads()
    uploads: Uploads = state.monai_uploads
    return uploads


Kept = Annotated[Uploads, Depends(uploads_of)]


@router.put("/session/", summary="Keeps a picture for an hour")
async def add_session(
    here: Here, kept: Kept, files: Annotated[list[UploadFile], File()]
) -> dict[str, Any]:
    """One file with one picture; the answer names it."""
    if len(files) != 1:
        problem = f"are {len(files)}, which is no single picture"
        raise Refused(422, "files", problem, "send one file")
    content = await files[0].read()
    await here.pool.run(lambda: picture_of(content, here.limits))  # or it is refused
    identifier = kept.add(content)
    upload = kept.get(identifier)
    assert upload is not None
    return {"session_id": identifier, "session_info": _described(identifier, upload)}


@router.get("/session/{identifier}", summary="Whether a picture is kept")
def session(kept: Kept, identifier: str) -> dict[str, Any]:
    """When it was sent and used."""
    upload = kept.get(identifier)
    if upload is None:
        raise no_session()
    return _described(identifier, upload)


@router.delete("/session/{identifier}", summary="Forgets a picture")
def remove_session(kept: Kept, identifier: str) -> dict[str, Any]:
    """When it was sent and used."""
    upload = kept.remove(identifier)
    if upload is None:
        raise no_session()
    return _described(identifier, upload)


def no_session() -> Refused:
    """The refusal of an identifier under which nothing is kept."""
    return Refused(404, "session", "is not kept any more", "send the picture again")


def _described(identifier: str, upload: Upload) -> dict[str, Any]:
    created, used = int(upload.created), int(upload.used)
    times = {"create_ts": created, "last_access_ts": used, "expiry": 3600}
    return {"name": identifier, "path": "", "image": "", "meta": {}, **times}
