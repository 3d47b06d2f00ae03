"""Standard output and error for a command: no text is lost, ends the command, or is obeyed by the terminal."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from sonoseg.errors import visible

_PLAIN = str.maketrans(
    {
        "─": "-",
        "–": "-",
        "−": "-",
        "×": "x",
        "·": "-",
        "…": "...",
        "≥": ">=",
        "→": "->",
        "█": "#",
    }
)
_PROGRESS = re.compile("(\x1b\\[A)")
"""How a progress bar goes up a line."""


class Screen:
    """A stream that escapes control characters, and goes quiet when it can no longer be written to.

    Attributes:
        failure: why nothing more is written; None while it is.
        escapes: whether control characters are escaped: not while the command line's own parser writes in colours.
    """

    def __init__(self, stream: TextIO, keep: str) -> None:
        self._stream, self._keep = stream, keep
        self.failure: OSError | None = None
        self.escapes = False
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="sonoseg.visible")

    def write(self, text: str) -> int:
        """Writes `text`; says that it did even where it could not, so that no work is lost for want of a reader."""
        if self.failure is None:
            with self._noting():
                self._stream.write(self._shown(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Writes each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hands on what is waiting."""
        if self.failure is None:
            with self._noting():
                self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
        except ValueError:  # the stream is closed
            self.failure = OSError("it is closed")

    def _shown(self, text: str) -> str:
        if not self.escapes:
            return text
        parts = _PROGRESS.split(text) if "\r" in self._keep else [text]
        return "".join(
            part if _PROGRESS.fullmatch(part) else visible(part, self._keep)
            for part in parts
        )


@contextlib.contextmanager
def screens() -> Iterator[tuple[Screen, Screen]]:
    """Standard output and error as `Screen`s while the block runs."""
    for name in ("stdin", "stdout", "stderr"):
        if (
            getattr(sys, name) is None
        ):  # closed: the next file opened would take its place, and get what is printed
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115, PTH123
    out, err = Screen(sys.stdout, "\n\t"), Screen(sys.stderr, "\n\t\r")
    with (
        contextlib.redirect_stdout(cast(TextIO, out)),
        contextlib.redirect_stderr(cast(TextIO, err)),
    ):
        yield out, err


def finish(code: int, out: Screen) -> int:
    """The exit code of a command that has done its work, when what it printed is or is not to be read.

    Args:
        code: its own.
        out: where it printed to.

    Returns:
        `code`, or 141 if the reader has gone away, as in `sonoseg models | head`, or 1 if printing failed.
    """
    out.flush()
    if out.failure is None:
        return code
    with contextlib.suppress(
        OSError, ValueError
    ):  # so that Python does not try to write the rest when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    if isinstance(out.failure, BrokenPipeError):
        return code or 141
    reason = out.failure.strerror or out.failure
    print(
        f"sonoseg: standard output: cannot be written ({reason}); print to another file or disk",
        file=sys.stderr,
    )
    return code or 1


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Signs that an encoding lacks: a plain sign that looks alike, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end].translate(_PLAIN)
    return part.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error("sonoseg.visible", _replace)
