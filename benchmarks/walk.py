"""Counts the files of sonoseg that one image passes: segmented by the reader, and in training up to the metric.

    python benchmarks/walk.py             # both; the second needs the lab
    python benchmarks/walk.py --reader    # the reader alone
    python benchmarks/walk.py --steps     # each call of the reader's walk as well

How it is counted. `sys.setprofile` reports each call of a Python function. Calls of functions in sonoseg's own files
are written down in the order in which they happen; calls inside other packages are passed over. Returns are not
counted, and a generator that goes on is not a new call. A *module* is a file with at least one such call. A *change of
file* is a call whose function is in another file than the function called before it.

The reader: `sonoseg.segment(file)` and the lesions of its result, from a gray PNG file. The model is in memory already,
so that only what happens for each image is counted.

Training: `sonoseg train` for one epoch on synthetic images, read from their files, up to the Dice of the validation
images. Counted are only the calls that touch an image: an argument or the returned value is an array or a tensor of at
least two dimensions (but no weight of the network) or a PIL image, or a tuple, list or record with such a one in it.
"""

from __future__ import annotations

import inspect
import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import sonoseg
from sonoseg.data.phantom import make_phantom, write_phantoms
from sonoseg.reader.overlay import write_picture

PACKAGE = f"{Path(sonoseg.__file__).parent}{os.sep}"


class Walk:
    """The calls in sonoseg's own files while the block runs, in all threads, in order."""

    def __init__(self, pictures_only: bool = False) -> None:
        self.calls: list[tuple[str, str]] = []
        self._pictures_only = pictures_only
        self._generators: dict[int, FrameType] = {}

    def __enter__(self) -> Walk:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, returned: Any) -> None:
        if event not in ("call", "return"):
            return
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if not file.startswith(PACKAGE) or name == "<module>":
            return
        step = file.removeprefix(PACKAGE), name
        if self._pictures_only:
            values = [returned] if event == "return" else list(frame.f_locals.values())
            if any(_has_picture(value) for value in values):
                self.calls.append(step)
            return
        if event == "call" and self._is_new(frame):
            self.calls.append(step)

    def _is_new(self, frame: FrameType) -> bool:
        """Whether a function begins, not a generator that goes on."""
        if not frame.f_code.co_flags & inspect.CO_GENERATOR:
            return True
        if id(frame) in self._generators:
            return False
        self._generators[id(frame)] = (
            frame  # keeps it, so that its id is not used again
        )
        return True

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
        """The numbers, and the files."""
        count = f"{len(self.modules)} modules"
        if not self._pictures_only:
            count += f", {self.changes} changes of file"
        return f"{title}: {count}\n  " + "\n  ".join(self.modules)

    def steps(self) -> str:
        """Each call on a line, its file where that changes."""
        lines, before = [], ""
        for file, name in self.calls:
            lines.append(f"    {'' if file == before else file:28s} {name}")
            before = file
        return "\n".join(lines)


def _has_picture(value: Any, depth: int = 2) -> bool:
    """Whether a value is an image, a mask or a batch of them, or has one in it."""
    kind = type(value)
    if kind.__name__ in ("ndarray", "Tensor"):  # by name: PyTorch need not be imported
        return bool(value.ndim >= 2)
    if kind.__module__.startswith("PIL."):
        return True
    if depth == 0:
        return False
    if isinstance(value, (tuple, list)):
        return any(_has_picture(part, depth - 1) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return any(_has_picture(part, depth - 1) for part in vars(value).values())
    return False


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


def walk_training() -> Walk:
    """One training of one epoch on six synthetic images, by the command line, up to the validation Dice."""
    from sonoseg.cli import main as command

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_phantoms(folder / "data", 6, size=(128, 128))
        names = sorted(path.name for path in (folder / "data" / "images").iterdir())
        subsets = ["train"] * 4 + ["validation"] * 2
        rows = [f"{name},{subset}" for name, subset in zip(names, subsets, strict=True)]
        split = folder / "split.csv"
        split.write_text("file,subset\n" + "\n".join(rows) + "\n")
        words = f"train sonoseg-1 --size 64 --epochs 1 --batch 2 --encoder-weights none --split {split}"
        words += f" --data {folder / 'data'} --out {folder / 'run'}"
        with Walk(pictures_only=True) as found:
            code = command(words.split())
        assert code == 0, "the training failed"
    return found


def main() -> None:
    arguments = sys.argv[1:]
    reader = walk_reader()
    print(reader.to_text("one image in the reader"))
    if "--steps" in arguments:
        print(reader.steps())
    if "--reader" not in arguments:
        print(
            walk_training().to_text(
                "one image in training, from disk to the validation Dice"
            )
        )


if __name__ == "__main__":
    main()
