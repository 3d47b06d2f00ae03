"""Files that have left the folder after a reader accepted images of them: they can only be withdrawn."""

from __future__ import annotations

import threading
from typing import Any

from sonoseg.data.scan import entries
from sonoseg.files import is_there
from sonoseg.serve.album import Album
from sonoseg.serve.collection import Collection
from sonoseg.serve.journal import Journal
from sonoseg.serve.records import Accepted
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scenes import identifier_of, name_of, parts_of


class Gone:
    """What is accepted of files that are gone; may be used from several threads.

    Args:
        album: the images that are served.
        journal: knows what was accepted.
        collection: the data sets of the readers.
        lock: of the session.
    """

    def __init__(
        self,
        album: Album,
        journal: Journal,
        collection: Collection,
        lock: threading.RLock,
    ) -> None:
        self._folder, self._lock = album.folder, lock
        self._journal, self._collection = journal, collection

    def entries(self, reader: str) -> list[dict[str, Any]]:
        """For each file its identifier, its name, and how many images of it the reader has accepted.

        Raises:
            InputError: the folder cannot be listed.
        """
        found = sorted(self._files(reader).items())
        return [
            {"id": identifier_of(name), "name": name, "accepted": len(images)}
            for name, images in found
        ]

    def withdraw(self, identifier: str, reader: str) -> None:
        """Takes all images of a file out of the reader's data set, and SEG and SR; drawings and findings stay.

        It takes all of them: without the file, SEG and SR of some could not be written.

        Raises:
            Refused: status 404, there is no such file; it may be back.
            InputError: the disk fails.
        """
        with self._lock:
            for name, images in self._files(reader).items():
                if identifier_of(name) != identifier:
                    continue
                for key in images:
                    self._journal.withdraw(key, reader)
                for key, accepted in images.items():
                    self._collection.remove(key, reader, accepted.file, None)
                return
        problem = "is in the folder again, or was withdrawn"
        raise Refused(404, "image", problem, "reload the page")

    def _files(self, reader: str) -> dict[str, dict[str, Accepted]]:
        """By the name of each file, its accepted images by their keys."""
        # Whatever lies in the folder, also what is not shown, such as DICOM where the extra is not installed.
        there = {name_of(path): path for path in entries(self._folder)}
        gone: dict[str, dict[str, Accepted]] = {}
        for key, accepted in self._journal.accepted(reader).items():
            name, _, _ = parts_of(key)
            # A link may have lost its file.
            if name not in there or not is_there(there[name]):
                gone.setdefault(name, {})[key] = accepted
        return gone
