"""The line of work: a few threads round one network, and a bounded number of requests that wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sonoseg.errors import InputError
from sonoseg.serve.limits import Limits
from sonoseg.serve.refusal import Refused, refused_input

T = TypeVar("T")


class Pool:
    """Runs work in `limits.threads` threads; at most `limits.waiting` more may wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._executor = ThreadPoolExecutor(
            limits.threads, thread_name_prefix="sonoseg"
        )
        self._lock = threading.Lock()
        self._count = 0

    @property
    def count(self) -> int:
        """Work that is being done or waits."""
        return self._count

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Puts work in line.

        Raises:
            Refused: status 429, the line is full.
        """
        with self._lock:
            if self._count >= self._limits.threads + self._limits.waiting:
                problem, hint = (
                    "too many requests are waiting",
                    "try again in a few seconds",
                )
                raise Refused(429, "server", problem, hint, {"Retry-After": "2"})
            self._count += 1
        try:
            future = self._executor.submit(work)
        except RuntimeError:  # the server is being stopped
            self._leave()
            raise Refused(503, "server", "is stopping", "start it again") from None
        future.add_done_callback(self._leave)
        return future

    async def run(self, work: Callable[[], T]) -> T:
        """Does the work and returns its result.

        Raises:
            Refused: the line is full (429), the work takes too long (503), or its input cannot be used (422).
        """
        future = asyncio.wrap_future(self.submit(work))
        try:
            return await asyncio.wait_for(future, self._limits.work_seconds)
        except TimeoutError:
            raise self._too_slow() from None
        except InputError as error:
            raise refused_input(error) from error
        except MemoryError as error:
            hint = "send a smaller image"
            raise Refused(
                503, "server", "has not enough memory for it", hint
            ) from error

    def wait(self, future: Future[T]) -> T:
        """The result of work, for a caller that is no coroutine.

        Raises:
            Refused: status 503, it takes too long.
        """
        try:
            return future.result(self._limits.work_seconds)
        except TimeoutError:
            raise self._too_slow() from None

    def close(self) -> None:
        """Ends the threads; what waits is not done any more."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _too_slow(self) -> Refused:
        problem = f"the work took over {self._limits.work_seconds:g} s"
        hint = "try again later or send a smaller image"
        return Refused(503, "server", problem, hint, {"Retry-After": "10"})

    def _leave(self, _: object = None) -> None:
        with self._lock:
            self._count -= 1
