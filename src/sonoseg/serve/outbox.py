"""Stores what readers accepted of a server's images on that server: SEG and SR, each once, also after a kill."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from sonoseg.errors import InputError
from sonoseg.serve.objects import stem_of_object
from sonoseg.watch.dicomweb import DicomWeb
from sonoseg.watch.handled import Handled
from sonoseg.watch.transport import TAKES_NOTHING, TOO_LARGE, Refusal, Unreachable

_logger = logging.getLogger(__name__)
SENT = "sent.txt"
_POLL_SECONDS = 1.0
_LONGEST_WAIT = 60.0
_MAY_CHANGE = (*TAKES_NOTHING, TOO_LARGE)
"""The statuses that are not the fault of an object, or that other settings of the server change."""

_Version = tuple[str, int, int]


class Outbox:
    """A thread that looks for new objects in the folders of the readers, and stores them.

    The objects lie on the disk before they are sent, and each is noted after it was stored: nothing is lost, and what
    was stored when the program was killed is stored again under the same UID.

    Args:
        server: the server.
        fetched: which images came from it, by the stems of their files.
        folder: the folder annotations/.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, server: DicomWeb, fetched: Handled, folder: Path) -> None:
        self._server, self._fetched, self._folder = server, fetched, folder
        hint = "give another folder for each server"
        self._sent = Handled(folder / SENT, server.url, hint)
        self._seen: set[_Version] = set()
        self._stopped = threading.Event()
        self._waiting, self._refused = 0, 0
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="sonoseg outbox")
        self._thread.daemon = True

    @property
    def status(self) -> dict[str, int | bool]:
        """How many objects wait to be stored, how many the server refused, and whether it is waited for."""
        counts = {"waiting": self._waiting, "refused": self._refused}
        return {**counts, "is_away": self._is_away}

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the object in hand; the others are sent at the next start."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def send(self) -> None:
        """Sends what is new.

        Raises:
            Unreachable: the server does not work now, or takes no results, or one is too large for it: what is not
                stored is sent by a later call.
            InputError: the list of what was sent cannot be written.
        """
        found = self._new_files()
        self._waiting = len(found)
        held: Refusal | None = None
        for version, path in found:
            if self._stopped.is_set():
                return
            try:
                self._send_one(version, path)
            except Refusal as error:
                if error.status != TOO_LARGE:
                    raise Unreachable(str(error)) from error
                held = error  # it does not hold up the others
                continue
            self._waiting -= 1
        if held is not None:
            raise Unreachable(f"a result is too large ({held})") from held

    def _run(self) -> None:
        wait = _POLL_SECONDS
        while not self._stopped.wait(wait):
            try:
                self.send()
            except Unreachable as error:
                if not self._is_away:
                    words = "sonoseg: %s: %s; results wait for it"
                    _logger.warning(words, self._server.url, error)
                self._is_away = True
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            except InputError as error:
                _logger.warning("sonoseg: results are not sent: %s", error.problem)
            if self._is_away:
                _logger.warning("sonoseg: %s: it works again", self._server.url)
            self._is_away = False
            wait = _POLL_SECONDS

    def _new_files(self) -> list[tuple[_Version, Path]]:
        """The objects of the server's images that were not looked at; an image's SEG comes before its SR."""
        found = []
        for path in sorted(self._folder.glob("*/dicom/*.dcm")):
            if stem_of_object(path.name) not in self._fetched:
                continue
            try:
                status = path.stat()
            except OSError:  # it was accepted anew, or withdrawn
                continue
            version = (str(path), status.st_mtime_ns, status.st_size)
            if version not in self._seen:
                found.append((version, path))
        return found

    def _send_one(self, version: _Version, path: Path) -> None:
        """Stores an object. One that the server refuses is not sent again, but after a restart.

        Raises:
            Unreachable: the server does not work now.
            Refusal: it is not about this object, or its size.
        """
        try:
            content = path.read_bytes()
        except OSError:
            return
        uid = _uid_of(content)
        if uid not in self._sent:
            try:
                self._server.store(content)
                self._sent.add(uid)
            except Refusal as error:
                if error.is_general or error.status in _MAY_CHANGE:
                    raise
                self._refused += 1
                _logger.warning("sonoseg: a result was not stored: %s", error)
        self._seen.add(version)


def _uid_of(content: bytes) -> str:
    from sonoseg.dicom.header import open_dicom

    return open_dicom(content).instance
