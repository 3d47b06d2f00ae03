"""Progress on stderr: a bar on a terminal, and a plain line every half minute in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

EVERY = 30.0
"""Seconds from one plain line to the next."""
_open: list[Bar] = []


class Bar:
    """How far some work is.

    Args:
        title: what is being done.
        total: how many steps there are.
        unit: what a step is, in the singular.
        shown: False shows nothing.
        leave: leave the full bar on the terminal when it is closed.
        done: steps that were done before.
    """

    def __init__(
        self, title: str, total: int, unit: str, shown: bool = True, leave: bool = False, done: int = 0
    ) -> None:
        self.title, self.total, self.unit, self.done, self.facts = title, total, unit, done, ""
        self._shown, self._bar = shown, None
        self._began = self._told = time.monotonic()
        if shown and sys.stderr.isatty():
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
        if not self._shown or time.monotonic() - self._told < EVERY:
            return False
        self._told = time.monotonic()
        seconds = round(self._told - self._began)
        print(f"{self.title}: {self.done} of {self.total} {self.unit}s, {seconds} s{self.facts}", file=sys.stderr)
        return True

    def describe(self, title: str, **facts: str) -> None:
        """Changes the title, and what is told beside the count."""
        self.title = title
        self.facts = "".join(f", {name} {value}" for name, value in facts.items())
        if self._bar is not None:
            self._bar.set_description(title, refresh=False)
            self._bar.set_postfix(facts, refresh=False)

    def close(self) -> None:
        """Ends the bar's line, so that other text begins on a new one. May be called twice."""
        if self._bar is not None:
            self._bar.close()
        if self in _open:
            _open.remove(self)


def _terminal_bar(title: str, total: int, unit: str, leave: bool, done: int) -> Any:
    from tqdm import tqdm  # not needed in a log file

    return tqdm(desc=title, total=total, unit=unit, leave=leave, initial=done, dynamic_ncols=True)


def track(
    items: Iterable[T], title: str, total: int, unit: str, shown: bool = True, leave: bool = False
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


def note(text: str) -> None:
    """Prints a line on stderr; an open bar stays below it."""
    if any(bar._bar is not None for bar in _open):
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)
