"""The address of a server: taken apart once, so that a password in it is never shown."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from sonoseg.errors import InputError

_HINT = "give it as http://HOST:8042"


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        url: without user, password and the last slash; may be shown and logged.
        authorization: the header of that name, "" if there is no user.
    """

    url: str
    authorization: str = field(default="", repr=False)


def parse_address(text: str) -> Address:
    """Takes the URL of a server apart.

    Args:
        text: http:// or https://, perhaps with user:password@ before the host, perhaps with a path after it.

    Raises:
        InputError: it is no such URL. The message does not repeat it: it may hold a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port that is no number, brackets that do not match
        raise InputError("URL", "cannot be read", _HINT) from None
    if parts.scheme not in ("http", "https"):
        raise InputError("URL", "does not begin with http:// or https://", _HINT)
    has_blank = any(not "!" <= letter <= "~" for letter in text)
    if not parts.hostname or has_blank:
        raise InputError("URL", "has no host, or letters that no URL has", _HINT)
    if parts.query or parts.fragment:
        raise InputError("URL", "has a part after ? or #", _HINT)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port is None else f"{host}:{port}"
    url = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
    return Address(url, _authorization(parts))


def _authorization(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")
