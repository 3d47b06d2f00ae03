"""The application: routes, and around them what is checked of every request."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import sonoseg
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve import (
    api,
    assets,
    monai_label,
    monai_sessions,
    page_api,
    remote_api,
)
from sonoseg.serve.guard import Guard
from sonoseg.serve.limits import BodyLimit, Limits
from sonoseg.serve.metrics import Measured, Metrics
from sonoseg.serve.outbox import Outbox
from sonoseg.serve.pool import Pool
from sonoseg.serve.refusal import Refused, error_answer, plain_error
from sonoseg.serve.remote import Remote
from sonoseg.serve.service import Archive, Service
from sonoseg.serve.session import Session
from sonoseg.watch.address import Address
from sonoseg.watch.dicomweb import DicomWeb
from sonoseg.watch.transport import Transport

_logger = logging.getLogger(__name__)
_ABOUT = "Outlines and measures lesions in breast ultrasound. Research use, not a medical device."


def build_app(
    segmenter: Segmenter,
    host: str = "127.0.0.1",
    token: str | None = None,
    limits: Limits | None = None,
    folder: Path | None = None,
    dicomweb: Address | None = None,
) -> FastAPI:
    """The application that a server runs.

    Args:
        segmenter: the network.
        host: the address on which the server listens; see `Guard`.
        token: that clients must know; None on loopback only.
        limits: on each request.
        folder: with the images that the page annotates; None serves programs only.
        dicomweb: a server whose studies are fetched into the folder, and to which results go back; None for none.

    Raises:
        InputError: the folder cannot be read or written to, or has images of another server.
    """
    limits = limits or Limits()
    pool, metrics = Pool(limits), Metrics()
    session, archive = None, None
    if folder is not None:
        session = Session(folder, segmenter, pool, limits)
        session.finish_writing()
    if session is not None and dicomweb is not None:
        archive = _archive(session, DicomWeb(Transport(dicomweb)))
    app = FastAPI(
        title="sonoseg",
        description=_ABOUT,
        version=sonoseg.__version__,
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
    )
    parts = (segmenter, limits, pool, metrics, token, session, archive)
    app.state.service = Service(*parts)
    app.include_router(api.router)
    app.include_router(page_api.router)
    app.include_router(monai_label.router)
    app.include_router(monai_sessions.router)
    app.include_router(remote_api.router)
    app.include_router(assets.router)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(Exception, _on_bug)
    # The one that is added last sees a request first.
    app.add_middleware(BodyLimit, limits=limits)
    app.add_middleware(Guard, host=host, token=token)
    app.add_middleware(Measured, metrics=metrics)
    return app


def _archive(session: Session, server: DicomWeb) -> Archive:
    remote = Remote(server, session.album.folder, session.folder)
    return Archive(remote, Outbox(server, remote.fetched, session.folder))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    if service.archive is not None:
        service.archive.outbox.start()
    if service.session is not None:
        service.session.album.begin()
    yield
    if service.archive is not None:
        service.archive.outbox.stop()
    if service.session is not None:
        service.session.close()  # before the pool, in which it still works
    service.pool.close()


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Refused):
        return error_answer(error)
    return error_answer(plain_error(error.status_code))


async def _on_invalid_request(_: Request, error: Exception) -> Response:
    """Names the first field that is wrong; does not repeat its value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    hint = "see /docs"
    return error_answer(Refused(422, field[:40], str(first["msg"]), hint))


async def _on_bug(_: Request, error: Exception) -> Response:
    """Logs where an unexpected error happened, without its words: they may hold the name of a file."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}"
    _logger.error("sonoseg: a request failed with %s (%s)", type(error).__name__, place)
    return error_answer(
        Refused(500, "server", "has failed", "look into its log, and report it")
    )
