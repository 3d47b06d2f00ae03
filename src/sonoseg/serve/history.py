"""The mask of one image and one reader, with all that was done and undone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonoseg.errors import InputError
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


def begin_history(events: Sequence[Event], own: Mask | None) -> History:
    """The history before its events: nothing if the first event has a start, or else the network's own mask.

    Args:
        events: all that there are.
        own: (H, W) bool, the network's; None if it is not known, then there must be events.

    Raises:
        InputError: the mask has another size than when the first event happened.
    """
    if not events:
        assert own is not None
        return History(own.copy())
    start = events[0].patch
    shape = None if start is None else (start.height, start.width)
    if shape is None or (own is not None and shape != own.shape):
        problem = "has another size than when it was annotated"
        raise InputError("image", problem, "give the new image another name")
    return History(np.zeros(shape, bool))
