"""`sonoseg serve`: checks the options, opens the page in a browser, and runs the server until it is stopped."""

from __future__ import annotations

import logging
import socket
import threading
import webbrowser
from pathlib import Path
from urllib.parse import quote

import python_multipart  # noqa: F401  # FastAPI needs it, and without it names no missing module
import uvicorn

from sonoseg.dicom.recognise import check_installed
from sonoseg.errors import InputError, MachineError
from sonoseg.reader.segmenter import load
from sonoseg.serve.app import build_app
from sonoseg.serve.connection import connection_class
from sonoseg.serve.guard import is_loopback, read_token
from sonoseg.serve.limits import Limits
from sonoseg.watch.address import parse_address

_logger = logging.getLogger(__name__)
_STOP_SECONDS = 5


def serve_command(
    folder: Path,
    model: str,
    host: str,
    port: int,
    token_file: Path | None,
    dicomweb: str | None,
    open_browser: bool,
    sensitivity: str | None = None,
) -> str:
    """Serves the page and the service until the process is stopped.

    Args:
        folder: with the images, made if need be.
        model: a shipped name or a bundle file.
        host: the address to listen on. Any but loopback demands a token.
        port: 0 chooses a free one.
        token_file: a file with the token that clients must know; None demands none.
        dicomweb: URL of a server whose studies are annotated; None annotates what lies in the folder.
        open_browser: show the page in the user's browser.
        sensitivity: an operating point of the model, see `sonoseg.reader.segmenter.Segmenter.at`.

    Returns:
        a line to print at the end.

    Raises:
        InputError: an option, the folder or the model cannot be used, or the port is taken.
    """
    if not is_loopback(host) and token_file is None:
        problem = "other machines could reach the server without a password"
        hint = "give --token-file FILE, and put a proxy with TLS in front"
        raise InputError(f"--host {host}", problem, hint)
    token = None if token_file is None else read_token(token_file)
    limits = Limits()
    archive = None
    if dicomweb is not None:
        check_installed()
        archive = parse_address(dicomweb)
    segmenter = load(model, sensitivity)
    app = build_app(segmenter, host, token, limits, folder, archive)
    listener = _listen(host, port)
    address = _address(host, listener.getsockname()[1])
    _logger.warning("sonoseg: %s is at %s; stop it with Ctrl+C", folder, address)
    segmenter.warn_of_heat()
    if archive is not None:
        words = "sonoseg: the studies of %s are at %sstudies"
        _logger.warning(words, archive.url, address)
    if not is_loopback(host):
        _logger.warning(
            "sonoseg: put a proxy with TLS in front: the token travels in plain text"
        )
    if open_browser:
        page = address if archive is None else f"{address}studies"
        if token is not None:  # the page of images asks for it
            page = f"{address}#token={quote(token)}"
        # The server must answer before the browser asks.
        threading.Timer(0.5, webbrowser.open, [page]).start()
    _run(app, listener, limits)
    return f"{folder}: all that was drawn is in {folder / 'annotations'}"


def server_of(app: object, limits: Limits) -> uvicorn.Server:
    """A server for an ASGI application, which does not run yet."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=connection_class(limits),
        access_log=False,  # addresses are not logged: they may hold names
        log_level="critical",  # our own handler logs errors, without names
        limit_concurrency=limits.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_STOP_SECONDS,
        server_header=False,
        proxy_headers=False,
        ws="none",
    )
    return uvicorn.Server(config)


def _run(app: object, listener: socket.socket, limits: Limits) -> None:
    try:
        server_of(app, limits).run(sockets=[listener])
    except (
        KeyboardInterrupt
    ):  # raised again by uvicorn after it has closed all connections
        pass
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        problem = f"cannot be used ({getattr(error, 'strerror', None) or error})"
        raise MachineError(
            f"{host}:{port}", problem, "give another --port or --host"
        ) from error
    return listener


def _address(host: str, port: int) -> str:
    name = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{name}:{port}/"
