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
    """Gives `items` in their order, made in a second thread that is never more than `room` finished ones ahead.

    An error among them is raised in its place. Close what you do not read to the end (`contextlib.closing`): that
    waits for the item at hand, makes no other, and leaves no thread behind.
    """
    iterator, waiting = iter(items), deque[Future[T | Literal[_Mark.END]]]()
    with ThreadPoolExecutor(1) as thread:
        try:
            waiting.extend(thread.submit(next, iterator, _Mark.END) for _ in range(room))
            while (item := waiting.popleft().result()) is not _Mark.END:
                waiting.append(thread.submit(next, iterator, _Mark.END))
                yield item
        finally:
            for future in waiting:
                future.cancel()
