"""Progress is a line on a terminal and, in a log file, one plain line every half minute."""

from __future__ import annotations

import io

import pytest

from sonoseg.reader import progress
from sonoseg.reader.progress import ProgressLine


class Terminal(io.StringIO):
    """What a user sees."""

    def isatty(self) -> bool:
        return True


class Full(Terminal):
    """A disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def _show(out: io.StringIO, clock: list[float], seconds: int, step: float) -> None:
    with ProgressLine(out) as line:
        count = round(seconds / step)
        for number in range(1, count + 1):
            clock[0] += step
            line.show(f"{number}/{count} files", last=number == count)


def test_a_log_file_gets_a_plain_line_every_half_minute(clock: list[float]) -> None:
    out = io.StringIO()
    _show(out, clock, 90, 0.5)
    assert out.getvalue() == "60/180 files\n120/180 files\n"


def test_a_log_file_gets_nothing_from_short_work(clock: list[float]) -> None:
    out = io.StringIO()
    _show(out, clock, 29, 0.5)
    assert out.getvalue() == ""


def test_a_terminal_gets_one_line_that_is_written_over_and_ended(clock: list[float]) -> None:
    out = Terminal()
    _show(out, clock, 1, 0.25)
    assert out.getvalue() == "\r1/4 files\r2/4 files\r3/4 files\r4/4 files\n"


def test_a_shorter_line_leaves_nothing_of_the_longer_one(clock: list[float]) -> None:
    out = Terminal()
    with ProgressLine(out) as line:
        line.show("1/2 files, frame 9 of the next")
        clock[0] += 1
        line.show("2/2 files")
    assert out.getvalue().rstrip("\n").split("\r")[-1] == "2/2 files".ljust(30)


def test_a_terminal_is_not_flooded_but_sees_the_last_line(clock: list[float]) -> None:
    out = Terminal()
    _show(out, clock, 1, 0.001)
    lines = out.getvalue().rstrip().split("\r")
    assert len(lines) <= 13
    assert lines[-1] == "1000/1000 files"


def test_an_error_begins_on_a_new_line(clock: list[float]) -> None:
    out = Terminal()
    with pytest.raises(ValueError, match="stop"), ProgressLine(out) as line:
        line.show("1/4 files")
        raise ValueError("stop")
    assert out.getvalue() == "\r1/4 files\n"


def test_nothing_shown_leaves_no_empty_line() -> None:
    out = Terminal()
    with ProgressLine(out):
        pass
    assert out.getvalue() == ""


def test_work_goes_on_where_nothing_can_be_shown(clock: list[float]) -> None:
    _show(Full(), clock, 1, 0.25)
    closed = Terminal()
    with ProgressLine(closed) as line:
        closed.close()
        line.show("1/4 files")
