"""The files of the page. They are read once; an address is looked up among their names, and never opened."""

from __future__ import annotations

import functools
from importlib.resources import files

from fastapi import APIRouter, Response

from sonoseg.serve.refusal import plain_error

router = APIRouter(include_in_schema=False)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@functools.cache
def page_files() -> dict[str, tuple[bytes, str]]:
    """Content and type of each file in page/, by its name."""
    found = {}
    for file in (files("sonoseg.serve") / "page").iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in _TYPES:
            found[file.name] = file.read_bytes(), _TYPES[suffix]
    return found


@router.get("/")
def index() -> Response:
    """The page."""
    return page_file("index.html")


@router.get("/docs")
def docs() -> Response:
    """The service's addresses, drawn from /openapi.json without anything from elsewhere."""
    return page_file("docs.html")


@router.get("/page/{name}")
def page_file(name: str) -> Response:
    """A file of the page."""
    if name not in page_files():
        raise plain_error(404)
    content, kind = page_files()[name]
    # A new version of the program has new files under the same names.
    return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})
