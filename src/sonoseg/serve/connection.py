"""A connection that is closed when its client sends a request's headers, or reads an answer, too slowly.

uvicorn has no limit for either. Slow clients could take all connections (Slowloris).
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sonoseg.serve.limits import Limits


class _TimedConnection(H11Protocol):
    """One connection.

    The time for headers runs from the begin of the connection, or from the first byte after an answer: uvicorn itself
    closes a connection that is idle between requests. The time for an answer runs as long as the client does not take
    what was written.
    """

    LIMITS: Limits
    _headers_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._time_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._time_headers()
        else:
            _stop(self._headers_timer)
            self._headers_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._answer_timer is None:
            seconds = self.LIMITS.answer_seconds
            self._answer_timer = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _stop(self._answer_timer)
        self._answer_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        _stop(self._headers_timer)
        _stop(self._answer_timer)
        super().connection_lost(exc)

    def _time_headers(self) -> None:
        if self._headers_timer is None:
            seconds = self.LIMITS.header_seconds
            self._headers_timer = self.loop.call_later(seconds, self.transport.abort)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def connection_class(limits: Limits) -> type[H11Protocol]:
    """The class of connections with these limits, for `uvicorn.Config(http=...)`."""

    class Connection(_TimedConnection):
        LIMITS = limits

    return Connection
