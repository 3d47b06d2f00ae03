"""What the watcher needs of a server, whatever its interface."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Feed(Protocol):
    """The new instances of a server, and what was handled of them.

    Instances are named by strings that hold nothing of a patient. Every method raises
    `sonoseg.watch.transport.Unreachable` or `Refusal`, and InputError if the disk fails.
    """

    HINT: str
    """What to do if the server refuses to be asked."""
    POLL_SECONDS: float
    """How long to wait before it is asked again, when there was nothing new."""

    @property
    def url(self) -> str:
        """The server's address, without password."""

    @property
    def folder(self) -> Path:
        """Where files may lie for a moment."""

    def begin(self) -> str:
        """Called before the first question, and when a server is back; returns what to warn of, "" if nothing."""

    def next(self) -> list[str] | None:
        """Some instances that were not handled, perhaps none; None if there are no more for now."""

    def finish(self, instance: str) -> None:
        """Notes that an instance of the last answer of `next` was handled."""

    def kind(self, instance: str) -> str:
        """The SOP Class UID of an instance of the last answer of `next`; "" if the server does not tell it."""

    def download(self, instance: str, path: Path) -> None:
        """Writes the DICOM file of an instance to `path`."""

    def store(self, content: bytes) -> None:
        """Stores a DICOM file. One that is there already is left as it is."""
