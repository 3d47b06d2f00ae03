"""The mask of one image and one reader, with all that was done and undone."""

from __future__ import annotations

import numpy as np

from sonoseg.serve.journal import Event
from sonoseg.serve.patch import Mask, Patch


class History:
    """A mask and the changes that led to it.

    Attributes:
        start: (H, W) bool, the network's own mask.
        mask: (H, W) bool, as it is now.
        number: of the last event; 0 if there is none.
    """

    def __init__(self, start: Mask) -> None:
        self.start = start
        self.mask = start.copy()
        self.number = 0
        self._done: list[Patch] = []
        self._undone: list[Patch] = []

    @property
    def undo_count(self) -> int:
        """How many changes can be undone."""
        return len(self._done)

    @property
    def redo_count(self) -> int:
        """How many changes can be redone."""
        return len(self._undone)

    def apply(self, event: Event) -> None:
        """Makes what an event says. An undo or redo of nothing changes nothing."""
        self.number = event.number
        if event.kind == "start" and event.patch is not None:
            event.patch.apply(self.start)
            self.mask = self.start.copy()
        elif event.kind == "patch" and event.patch is not None:
            event.patch.apply(self.mask)
            self._done.append(event.patch)
            self._undone.clear()
        elif event.kind == "undo" and self._done:
            patch = self._done.pop()
            patch.revert(self.mask)
            self._undone.append(patch)
        elif event.kind == "redo" and self._undone:
            patch = self._undone.pop()
            patch.apply(self.mask)
            self._done.append(patch)


def empty_history(shape: tuple[int, int]) -> History:
    """A history whose events begin with a start."""
    return History(np.zeros(shape, bool))
