"""Who may ask: the names of this server, pages of this server only, and a token where one is demanded."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sonoseg.errors import InputError
from sonoseg.inputs import read_text
from sonoseg.serve.refusal import Refused, error_answer

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "sonoseg"
SHORTEST_TOKEN = 16
_OPEN_PATHS = ("/", "/studies", "/healthz", "/docs", "/openapi.json", "/api/login")
"""Served without a token: they hold nothing of a user. So do the files of the page."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine alone."""
    return host.strip("[]").lower() in LOOPBACK


def read_token(path: Path) -> str:
    """The token in a file, without blanks at its ends.

    Raises:
        InputError: no such file, or the token is shorter than `SHORTEST_TOKEN` or not of printable ASCII characters.
    """
    token = read_text(path, 4096).strip()
    is_plain = token.isascii() and token.isprintable() and " " not in token
    if len(token) < SHORTEST_TOKEN or not is_plain:
        problem = f"holds no token of at least {SHORTEST_TOKEN} letters and digits"
        hint = f'write one: python3 -c "import secrets; print(secrets.token_urlsafe())" > {path}'
        raise InputError(path, problem, hint)
    return token


def cookie_of(token: str) -> str:
    """What the page's cookie holds: it proves that its browser knew the token, and does not contain it."""
    return hmac.new(token.encode(), b"sonoseg page", hashlib.sha256).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Compares two secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(
        one.encode("utf-8", "replace"), other.encode("utf-8", "replace")
    )


class Guard:
    """ASGI middleware: checks Host, Origin and token, and adds the security headers to every answer.

    Args:
        app: what it guards.
        host: the address on which the server listens. On loopback only loopback names are taken as Host, so that a
            foreign page cannot reach the server under a name of its own (DNS rebinding).
        token: demanded of every request for data; None demands none.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        self._app = app
        self._only_loopback = is_loopback(host)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # there are none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refusal(Headers(scope=scope), scope["path"])
        if refused is None:
            await self._app(scope, receive, send_guarded)
        else:
            await error_answer(refused)(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, path: str) -> Refused | None:
        host = headers.get("host", "")
        if self._only_loopback and not is_loopback(_name_of(host)):
            hint = "open the page as http://127.0.0.1 with its port"
            return Refused(421, "Host", "is not a name of this server", hint)
        if not _is_own_page(headers, host):
            return Refused(
                403, "Origin", "the request comes from another page", "use this page"
            )
        if self._token is None or _is_open(path) or self._knows_token(headers):
            return None
        hint = "send the header Authorization: Bearer TOKEN"
        wanted = {"WWW-Authenticate": "Bearer"}
        return Refused(401, "token", "is missing or wrong", hint, wanted)

    def _knows_token(self, headers: Headers) -> bool:
        assert self._token is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_same(given.strip(), self._token):
            return True
        # Other applications on this machine set cookies too, which http.cookies would not read past.
        given = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return is_same(given, cookie_of(self._token))


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith("/page/")


def _name_of(host: str) -> str:
    """The name in a Host header, without its port; "" if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_own_page(headers: Headers, host: str) -> bool:
    """Whether a request comes from a page of this server, or from a program that is no browser.

    A proxy that adds TLS changes the scheme, so the hosts alone are compared.
    """
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == host.lower()
