"""The mask and the calipers of one image and one reader, with all that was done and undone."""

from __future__ import annotations

from sonoseg.serve.patch import Mask, Patch, unsqueeze, whole_patch
from sonoseg.serve.records import Event, Network
from sonoseg.serve.refusal import SEE_AGAIN, Refused

START = "start"
"""Kind and key of the event with the mask that the reader began with."""
_ELSEWHERE = "was changed in another window"


class History:
    """A mask with its calipers, and the changes that led to them.

    Attributes:
        start: (H, W) bool, the network's own mask, with which the reader began.
        network: whose mask that is.
        mask: (H, W) bool, as it is now.
        calipers: as they are now, see `calipers.join_calipers`.
        number: of the last change; 0 if there is none.
        read: number of the last event; 0 if the journal has none.
        last_key: of the last change; "" if there is none.
    """

    def __init__(self, start: Mask, network: Network) -> None:
        self.number = self.read = 0
        self.last_key = self.calipers = ""
        self._begin(start, network)

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
        self.read = event.number
        if event.kind == START and event.patch is not None:
            self._begin(_start_in(event.patch), Network.from_text(event.tool))
            return
        self.number, self.last_key = event.number, event.key
        if event.kind == "patch" and event.patch is not None:
            event.patch.apply(self.mask)
            self._done.append((event.patch, self.calipers))
            self._undone.clear()
            self.calipers = event.calipers
        elif event.kind == "undo" and self._done:
            patch, calipers = self._done.pop()
            patch.revert(self.mask)
            self._undone.append((patch, self.calipers))
            self.calipers = calipers
        elif event.kind == "redo" and self._undone:
            patch, calipers = self._undone.pop()
            patch.apply(self.mask)
            self._done.append((patch, self.calipers))
            self.calipers = calipers

    def check_seen(self, after: int) -> None:
        """Refuses a client that has not seen the last change.

        Raises:
            Refused: status 409, `after` is not the number of the last change.
        """
        if after != self.number:
            raise Refused(409, "image", _ELSEWHERE, SEE_AGAIN)

    def check_last(self, key: str) -> None:
        """Refuses a client that sends a change again, if another one was made since.

        Raises:
            Refused: status 409, `key` is not that of the last change.
        """
        if key != self.last_key:
            raise Refused(409, "image", _ELSEWHERE, SEE_AGAIN)

    def start_event(self) -> Event:
        """The event that keeps the start and its network in the journal."""
        network = self.network.to_text()
        return Event(START, START, network, whole_patch(self.start))

    def _begin(self, start: Mask, network: Network) -> None:
        self.start, self.network = start, network
        self.mask = start.copy()
        # Each with the calipers before it, or, of what was undone, after it.
        self._done: list[tuple[Patch, str]] = []
        self._undone: list[tuple[Patch, str]] = []


def _start_in(patch: Patch) -> Mask:
    return unsqueeze(patch.after, patch.height, patch.width)
