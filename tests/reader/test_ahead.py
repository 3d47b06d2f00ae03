"""What a second thread makes ahead comes in order, with its errors, and never too much of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from sonoseg.reader.ahead import ahead


def test_items_come_in_order_from_another_thread() -> None:
    names = [threading.current_thread().name]

    def items() -> Iterator[int]:
        for number in range(50):
            names.append(threading.current_thread().name)
            yield number

    assert list(ahead(items(), room=3)) == list(range(50))
    assert len(set(names[1:])) == 1
    assert names[0] not in names[1:]
    assert list(ahead([])) == []
    assert list(ahead([None, int, ...])) == [None, int, ...]


@pytest.mark.parametrize("room", [1, 2, 5])
def test_no_more_than_the_room_is_made_ahead(room: int) -> None:
    made = []
    items = ahead((made.append(number) or number for number in range(100)), room)  # type: ignore[func-returns-value]
    with closing(items):
        for number in range(3):
            assert next(items) == number
            time.sleep(0.05)
            assert len(made) <= number + 1 + room
    assert len(made) <= 3 + room


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        for item in ahead(items(), room=3):
            seen.append(item)
    assert seen == [1, 2]


def test_no_thread_is_left_when_reading_stops_early() -> None:
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), closing(ahead(ahead(iter(int, 1)))) as items:
        next(items)
        raise KeyboardInterrupt
    assert (
        threading.active_count() <= before + 1
    )  # the inner one ends with the outer one's items
    del items
    assert threading.active_count() == before
