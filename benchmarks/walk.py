"""Counts the files of sonoseg that one image passes: segmented by the reader, and in training up to the metric.

    python benchmarks/walk.py            # both; the second needs the lab
    python benchmarks/walk.py --steps    # print each step of the reader's walk as well

How it is counted. `sys.setprofile` reports each call of a Python function. Calls of functions in sonoseg's own files
are written down in the order in which they happen; calls inside other packages are passed over. Returns are not
counted, and a generator that goes on is not a new call. A *module* is a file with at least one such call. A *change of
file* is a call whose function is in another file than the function called before it.

The reader: `sonoseg.segment(file)` and the drawn overlay, with the model already in memory, so that what is counted
happens for each image. Loading the model is counted apart. Imports happen before.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import sonoseg
from sonoseg.data.phantom import make_phantom
from sonoseg.reader.overlay import write_picture

PACKAGE = Path(sonoseg.__file__).parent


class Walk:
    """The calls in sonoseg's own files while the block runs, in all threads, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._generators: dict[int, FrameType] = {}

    def __enter__(self) -> Walk:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        path = Path(frame.f_code.co_filename)
        if PACKAGE not in path.parents:
            return
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            if id(frame) in self._generators:
                return
            self._generators[id(frame)] = frame  # keeps it, so that its id is not used again
        self.calls.append((path.relative_to(PACKAGE).as_posix(), frame.f_code.co_name))

    @property
    def modules(self) -> list[str]:
        """The files, in the order in which they are first entered."""
        return list(dict.fromkeys(file for file, _ in self.calls))

    @property
    def changes(self) -> int:
        """How often a call is in another file than the call before it."""
        files = [file for file, _ in self.calls]
        return sum(one != other for one, other in itertools.pairwise(files))

    def to_text(self, title: str) -> str:
        """Both numbers, and the files."""
        return (
            f"{title}: {len(self.modules)} modules, {self.changes} changes of file\n  "
            + "\n  ".join(self.modules)
        )


def walk(work: Callable[[], object]) -> Walk:
    """The walk of `work`, which has been done once before, so that nothing is imported in it."""
    work()
    with Walk() as found:
        work()
    return found


def walk_reader() -> Walk:
    """One image: read, segmented and measured, its overlay drawn and written."""
    with tempfile.TemporaryDirectory() as folder:
        write_picture(Path(folder) / "scan.png", make_phantom(0)[0])

        def work() -> None:
            result = sonoseg.segment(Path(folder) / "scan.png", spacing=0.1)
            assert result.lesions

        return walk(work)


def main() -> None:
    reader = walk_reader()
    print(reader.to_text("one image in the reader"))
    if "--steps" in sys.argv:
        before = ""
        for file, name in reader.calls:
            print(f"    {'' if file == before else file:28s} {name}")
            before = file


if __name__ == "__main__":
    main()
