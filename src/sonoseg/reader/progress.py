"""How far work has come: one line on a terminal, written over; in a log file a plain line every half minute."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import TextIO

TERMINAL_PAUSE, LOG_PAUSE = 0.1, 30.0
"""Seconds between two lines."""


class ProgressLine:
    """Use it in a `with` block: leaving it ends the line, so that what is printed next begins a new one.

    Args:
        out: where it is shown. If that cannot be written to, nothing is shown and the work goes on.
    """

    def __init__(self, out: TextIO) -> None:
        self._out, self._terminal = out, out.isatty()
        self._width = 0  # of the unfinished line
        self._next = time.monotonic() + (0 if self._terminal else LOG_PAUSE)

    def show(self, text: str, last: bool = False) -> None:
        """Shows `text`, unless something was shown just before; the last one always on a terminal, never in a log."""
        now = time.monotonic()
        if (last and not self._terminal) or (now < self._next and not last):
            return
        self._next = now + (TERMINAL_PAUSE if self._terminal else LOG_PAUSE)
        if self._terminal:
            self._write(f"\r{text:<{self._width}}")
            self._width = len(text)
        else:
            self._write(f"{text}\n")

    def close(self) -> None:
        """Ends the line."""
        if self._width:
            self._write("\n")
            self._width = 0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk, or a stream that was closed
            self._out.write(text)
            self._out.flush()
