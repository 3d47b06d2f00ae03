"""Work ahead: makes the next things in a second thread while the caller is busy with this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from typing import Literal, TypeVar

T = TypeVar("T")


class _Mark(Enum):
    END = "after the last item"


def ahead(items: Iterable[T], room: int = 1) -> Generator[T]:
    """Yields `items` in their order; a second thread makes at most `room` of them before they are asked for.

    An error among them is raised in its place. Close what you do not read to the end (`contextlib.closing`): that
    waits for the item that is being made, makes no other, and leaves no thread behind.
    """
    iterator = iter(items)
    waiting = deque[Future[T | Literal[_Mark.END]]]()
    with ThreadPoolExecutor(1) as thread:
        try:
            for _ in range(room):
                waiting.append(thread.submit(next, iterator, _Mark.END))
            while (item := waiting.popleft().result()) is not _Mark.END:
                waiting.append(thread.submit(next, iterator, _Mark.END))
                yield item
        finally:
            for future in waiting:
                future.cancel()
