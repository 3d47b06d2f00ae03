"""Progress in a log file and on a terminal; an error always begins on a line of its own."""

from __future__ import annotations

import io
import sys

import pytest

from sonoseg import progress
from sonoseg.cli import main
from sonoseg.errors import InputError
from sonoseg.progress import Bar, close_bars, note, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_a_plain_line_every_half_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    with Bar("reading", 100, "image") as bar:
        for _ in range(100):
            clock[0] += 0.7
            shown.append(bar.update())
            bar.describe("reading", loss="0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["reading: 43 of 100 images, 30 s, loss 0.5", "reading: 86 of 100 images, 60 s, loss 0.5"]
    assert sum(shown) == 2


def test_short_or_hidden_work_writes_nothing_into_a_log_file(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(track(range(3), "reading", 3, "image")) == [0, 1, 2]
    for _ in track(range(3), "reading", 3, "image", shown=False):
        clock[0] += 40
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_and_a_note_stands_on_its_own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar("reading", 4, "image", leave=True)
    bar.update()
    note("note: hello")
    bar.close()
    bar.close()
    text = terminal.getvalue()
    assert "reading" in text and "\r" in text
    assert "note: hello" in text.replace("\r", "\n").splitlines()


def test_an_error_begins_on_a_new_line_though_the_bar_was_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def fails(*_: object) -> None:
        for number in track(range(5), "reading", 5, "image", leave=True):
            if number == 2:
                raise InputError("x.png", "is damaged", "copy it again")

    monkeypatch.setattr("sonoseg.evaluation.evaluate.evaluate_command", fails)
    assert main(["evaluate", "all-background", "--data", "d"]) == 2
    assert terminal.getvalue().endswith("\nsonoseg: x.png: is damaged; copy it again\n")
    close_bars()  # none is left
