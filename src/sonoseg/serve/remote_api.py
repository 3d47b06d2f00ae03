"""The addresses of the list of studies, where `sonoseg serve --dicomweb` was started."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from sonoseg.errors import InputError
from sonoseg.serve.assets import page_file
from sonoseg.serve.refusal import Refused, refused_input
from sonoseg.serve.remote import Fetched
from sonoseg.serve.service import Archive, Here

router = APIRouter(include_in_schema=False)


def archive_of(here: Here) -> Archive:
    """The server whose studies are listed."""
    if here.archive is None:
        hint = "start sonoseg serve --dicomweb URL"
        raise Refused(404, "studies", "no server was given", hint)
    return here.archive


Remote = Annotated[Archive, Depends(archive_of)]


@router.get("/studies")
def page() -> Response:
    """The page with the list."""
    return page_file("studies.html")


@router.get("/api/studies")
def studies(
    archive: Remote,
    patient: Annotated[str, Query(max_length=64)] = "",
    days: Annotated[str, Query(pattern=r"^(\d{8}(-(\d{8})?)?|-\d{8})?$")] = "",
) -> dict[str, Any]:
    """The studies, and what waits to be stored."""
    found, is_cut = archive.remote.studies(patient, days)
    answer = {"server": archive.remote.url, "studies": found, "is_cut": is_cut}
    return {**answer, **archive.outbox.status}


@router.post("/api/studies/{study}")
def fetch(
    archive: Remote,
    study: Annotated[str, Path(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)],
) -> Fetched:
    """Fetches the ultrasound of a study into the folder."""
    try:
        return archive.remote.fetch(study)
    except InputError as error:
        raise refused_input(error, "folder") from error
