"""Holds back what Pillow warns of and what libtiff writes to stderr, between a program's own lines."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator

_LINE = re.compile(rb"[\w.]*: .*\.$")
"""As libtiff's error handler writes it: "Fax4Decode: Bad code word at line 57 of strip 0 (x 59)."."""
_lock = threading.RLock()
"""Warnings' filters and stderr belong to the whole process: one thread at a time changes them."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back Python's warnings."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def caught() -> Iterator[list[str]]:
    """Yields a list that, when the block has ended, holds libtiff's lines; other lines go where they should.

    Where stderr is closed, or no temporary file can be made, nothing is caught.
    """
    lines: list[str] = []
    with contextlib.ExitStack() as opened:
        opened.enter_context(_lock)
        try:
            file = opened.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:
            yield lines
            return
        opened.callback(os.close, stderr)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(stderr, 2)
            file.seek(0)
            written = file.read().splitlines(keepends=True)
            lines += [
                line.decode("utf-8", "replace").strip(" \n.:")
                for line in written
                if _LINE.match(line)
            ]
            if others := b"".join(line for line in written if not _LINE.match(line)):
                with contextlib.suppress(OSError):
                    os.write(stderr, others)
