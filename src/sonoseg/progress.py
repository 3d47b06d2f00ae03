"""Shows how far work has come, and prints what the library logs.

Nothing is shown until the command line opens the block `on_stderr`. On a terminal, progress is one line that is
written over; in a log file it is a plain line every half minute.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

from sonoseg.errors import visible

T = TypeVar("T")

TERMINAL_PAUSE, LOG_PAUSE = 0.1, 30.0
"""Seconds between two lines."""
_open: list[Bar] = []
_bars_are_on = False


def show_bars(shown: bool = True) -> None:
    """Turns progress bars and lines on for this process, or off. They are off when the library is imported."""
    global _bars_are_on
    _bars_are_on = shown


@contextlib.contextmanager
def on_stderr() -> Iterator[None]:
    """Inside the block, progress is shown and messages of the logger "sonoseg" are printed, both on stderr.

    Messages of the level INFO and above are printed, one line for each; an open bar stays below them.
    """
    logger, handler = logging.getLogger("sonoseg"), _LinePrinter()
    before = _bars_are_on, logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    show_bars()
    try:
        yield
    finally:
        close_bars()
        logger.removeHandler(handler)
        show_bars(before[0])
        logger.setLevel(before[1])


class _LinePrinter(logging.Handler):
    """Prints each message as one line on stderr, above the open bars."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _print_line(visible(record.getMessage()))
        except Exception:  # as the handlers of the standard library do: work does not end for a message
            self.handleError(record)


class ProgressLine:
    """Use it in a `with` block: leaving it ends the line, so that what is printed next begins a new one.

    Args:
        out: where it is shown; by default stderr, and then only while bars are shown. If it cannot be written to,
            nothing is shown and the work goes on.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._is_shown = out is not None or _bars_are_on
        self._out = sys.stderr if out is None else out
        self._terminal = self._out.isatty()
        self._width = 0  # of the unfinished line
        self._next = time.monotonic() + (0 if self._terminal else LOG_PAUSE)

    def show(self, text: str, last: bool = False) -> bool:
        """Shows `text`, unless something was shown just before; the last one always on a terminal, never in a log.

        Returns:
            whether it was shown.
        """
        if not self._is_shown:
            return False
        now = time.monotonic()
        if (last and not self._terminal) or (now < self._next and not last):
            return False
        self._next = now + (TERMINAL_PAUSE if self._terminal else LOG_PAUSE)
        if self._terminal:
            self._write(f"\r{text:<{self._width}}")
            self._width = len(text)
        else:
            self._write(f"{text}\n")
        return True

    def close(self) -> None:
        """Ends the line."""
        if self._width:
            self._write("\n")
            self._width = 0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, text: str) -> None:
        with contextlib.suppress(
            OSError, ValueError
        ):  # a full disk, or a stream that was closed
            self._out.write(text)
            self._out.flush()


class Bar:
    """How far some work is, on stderr: a bar if stderr is a terminal and tqdm is installed, otherwise a line.

    It shows nothing unless bars are on, see `show_bars`.

    Args:
        title: what is being done.
        total: how many steps there are.
        unit: what a step is, in the singular.
        shown: False shows nothing.
        leave: leave the full bar on the terminal when it is closed.
        done: steps that were done before.
    """

    def __init__(
        self,
        title: str,
        total: int,
        unit: str,
        shown: bool = True,
        leave: bool = False,
        done: int = 0,
    ) -> None:
        self.title, self.total, self.unit, self.done, self.facts = (
            title,
            total,
            unit,
            done,
            "",
        )
        self._line, self._bar = ProgressLine(), None
        self._shown, self._began = shown and _bars_are_on, time.monotonic()
        if self._shown and sys.stderr.isatty() and importlib.util.find_spec("tqdm"):
            self._bar = _terminal_bar(title, total, unit, leave, done)
        _open.append(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, steps: int = 1) -> bool:
        """Counts `steps` more; returns whether it was shown anew, so that `describe` is worth its cost."""
        self.done += steps
        if self._bar is not None:
            return bool(self._bar.update(steps))
        if not self._shown:
            return False
        seconds = round(time.monotonic() - self._began)
        return self._line.show(
            f"{self.title}: {self.done} of {self.total} {self.unit}s, {seconds} s{self.facts}"
        )

    def describe(self, title: str, **facts: str) -> None:
        """Changes the title and the facts beside the count."""
        self.title = title
        self.facts = "".join(f", {name} {value}" for name, value in facts.items())
        if self._bar is not None:
            self._bar.set_description(title, refresh=False)
            self._bar.set_postfix(facts, refresh=False)

    def end_line(self) -> None:
        """Ends the line, unless tqdm shows it, which can do that itself."""
        self._line.close()

    def close(self) -> None:
        """Ends the bar's line, so that other text begins on a new one. May be called twice."""
        self.end_line()
        if self._bar is not None:
            self._bar.close()
        if self in _open:
            _open.remove(self)


def _terminal_bar(title: str, total: int, unit: str, leave: bool, done: int) -> Any:
    from tqdm import tqdm  # not needed in a log file

    return tqdm(
        desc=title,
        total=total,
        unit=unit,
        leave=leave,
        initial=done,
        dynamic_ncols=True,
    )


def track(
    items: Iterable[T],
    title: str,
    total: int,
    unit: str,
    shown: bool = True,
    leave: bool = False,
) -> Iterator[T]:
    """Yields `items` one by one and shows how far they are; see `Bar`."""
    with Bar(title, total, unit, shown, leave) as bar:
        for item in items:
            yield item
            bar.update()


def close_bars() -> None:
    """Closes all bars, so that an error begins on a new line."""
    for bar in [*_open]:
        bar.close()


def _print_line(text: str) -> None:
    """Prints a line on stderr; an open bar stays below it."""
    if any(bar._bar is not None for bar in _open):
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
        return
    for bar in _open:
        bar.end_line()
    print(text, file=sys.stderr)
