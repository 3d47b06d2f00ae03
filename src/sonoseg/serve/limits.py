"""Limits on what one request may cost: bytes and seconds of its body, pixels, seconds of work, requests in line."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sonoseg.serve.refusal import Refused, error_answer


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        header_seconds: in which the headers of a request must have arrived.
        answer_seconds: for which a client may not read what is sent to it.
        body_bytes: of a request's body.
        body_seconds: in which the whole body must have arrived.
        pixels: of an image, found in its header before it is decoded.
        work_seconds: from the moment when a request is put in line until its result.
        waiting: requests that may wait in line; the next one is answered with status 429.
        threads: requests that are worked on at the same time.
        connections: open connections; the next one is answered with status 503.
    """

    header_seconds: float = 10.0
    answer_seconds: float = 60.0
    body_bytes: int = 32 << 20
    body_seconds: float = 30.0
    pixels: int = 25_000_000
    work_seconds: float = 60.0
    waiting: int = 64
    threads: int = 2
    connections: int = 200


class BodyLimit:
    """ASGI middleware: refuses bodies that are too large (413) or arrive too slowly (408)."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self._limits.body_bytes:
            await error_answer(self._too_large())(scope, receive, send)
            return
        counted = _CountedBody(receive, self._limits)
        await self._app(scope, counted.receive, send)

    def _too_large(self) -> Refused:
        return too_large(self._limits)


def too_large(limits: Limits) -> Refused:
    """The refusal of a body that is over the limit."""
    problem = f"is larger than {limits.body_bytes / 2**20:.0f} MB"
    return Refused(413, "body", problem, "send a smaller image")


class _CountedBody:
    """The messages of one request's body, counted as they arrive: a client need not announce a length."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._count = 0
        self._is_complete = False
        self._end = asyncio.get_running_loop().time() + limits.body_seconds

    async def receive(self) -> Message:
        """The next message.

        Raises:
            Refused: the body is too large or takes too long.
        """
        if self._is_complete:  # what follows is the news that the client has gone
            return await self._receive()
        left = self._end - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0))
        except TimeoutError:
            problem = f"did not arrive within {self._limits.body_seconds:g} s"
            raise Refused(408, "body", problem, "use a faster connection") from None
        self._count += len(message.get("body", b""))
        if self._count > self._limits.body_bytes:
            raise too_large(self._limits)
        self._is_complete = not message.get("more_body", False)
        return message
