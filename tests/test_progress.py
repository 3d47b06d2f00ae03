"""Progress in a log file and on a terminal; an error always begins on a line of its own."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from sonoseg import progress
from sonoseg.cli import main
from sonoseg.errors import InputError
from sonoseg.progress import Bar, ProgressLine, close_bars, on_stderr, show_bars, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Full(Terminal):
    """A disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def bars() -> Iterator[None]:
    """Bars are on, as in a command."""
    show_bars()
    yield
    show_bars(False)


def test_the_library_shows_no_progress_until_bars_are_turned_on(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def work() -> None:
        for _ in track(range(3), "reading", 3, "image", leave=True):
            clock[0] += 40
        with ProgressLine() as line:
            line.show("1/3 files")

    work()
    assert terminal.getvalue() == ""
    with on_stderr():
        work()
    assert "reading" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r1/3 files\n")
    shown = terminal.getvalue()
    work()
    assert terminal.getvalue() == shown


def test_a_command_prints_what_the_library_logs_as_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def logs(*_: object, **__: object) -> None:
        logger = logging.getLogger("sonoseg.evaluate")
        logger.debug("is not shown")
        logger.info("read %d images", 3)
        logger.warning("a name with\na line end")

    monkeypatch.setattr("sonoseg.evaluate.evaluate.evaluate_command", logs)
    before = logging.getLogger("sonoseg").handlers[:]
    main(["evaluate", "all-background", "--data", "d"])
    assert capsys.readouterr().err == "read 3 images\na name with\\na line end\n"
    assert logging.getLogger("sonoseg").handlers == before


@pytest.mark.usefixtures("bars")
def test_a_log_file_gets_a_plain_line_every_half_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    with Bar("reading", 100, "image") as bar:
        for _ in range(100):
            clock[0] += 0.7
            shown.append(bar.update())
            bar.describe("reading", loss="0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "reading: 43 of 100 images, 30 s, loss 0.5",
        "reading: 86 of 100 images, 60 s, loss 0.5",
    ]
    assert sum(shown) == 2


@pytest.mark.usefixtures("bars")
def test_short_or_hidden_work_writes_nothing_into_a_log_file(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(track(range(3), "reading", 3, "image")) == [0, 1, 2]
    for _ in track(range(3), "reading", 3, "image", shown=False):
        clock[0] += 40
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_and_a_message_stands_on_its_own_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with on_stderr():
        bar = Bar("reading", 4, "image", leave=True)
        bar.update()
        logging.getLogger("sonoseg.data").warning("note: hello")
        bar.close()
        bar.close()
    text = terminal.getvalue()
    assert "reading" in text and "\r" in text
    assert "note: hello" in text.replace("\r", "\n").splitlines()


def test_an_error_begins_on_a_new_line_though_the_bar_was_left_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def fails(*_: object, **__: object) -> None:
        for number in track(range(5), "reading", 5, "image", leave=True):
            if number == 2:
                raise InputError("x.png", "is damaged", "copy it again")

    monkeypatch.setattr("sonoseg.evaluate.evaluate.evaluate_command", fails)
    assert main(["evaluate", "all-background", "--data", "d"]) == 2
    assert terminal.getvalue().endswith("\nsonoseg: x.png: is damaged; copy it again\n")
    close_bars()  # none is left


def test_without_tqdm_a_terminal_gets_a_line_and_a_message_begins_on_a_new_one(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda _: None)
    with on_stderr(), Bar("reading", 4, "image") as bar:
        assert bar.update()
        logging.getLogger("sonoseg.data").warning("note: hello")
    assert terminal.getvalue() == "\rreading: 1 of 4 images, 0 s\nnote: hello\n"


def _show(out: io.StringIO, clock: list[float], seconds: int, step: float) -> None:
    with ProgressLine(out) as line:
        count = round(seconds / step)
        for number in range(1, count + 1):
            clock[0] += step
            line.show(f"{number}/{count} files", last=number == count)


def test_a_log_file_gets_a_line_every_half_minute(clock: list[float]) -> None:
    out = io.StringIO()
    _show(out, clock, 90, 0.5)
    assert out.getvalue() == "60/180 files\n120/180 files\n"


def test_a_log_file_gets_nothing_from_short_work(clock: list[float]) -> None:
    out = io.StringIO()
    _show(out, clock, 29, 0.5)
    assert out.getvalue() == ""


def test_a_terminal_gets_one_line_that_is_written_over_and_ended(
    clock: list[float],
) -> None:
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
