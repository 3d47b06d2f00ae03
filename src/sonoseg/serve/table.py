"""labels.csv of a data set whose images are served: of which patient each image is, and the size of its pixels."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from sonoseg.data.folder import TABLE, Known, read_labels
from sonoseg.data.scan import name_key
from sonoseg.errors import InputError
from sonoseg.serve.scenes import name_of


class Table:
    """What the table says, as it was at the start. Its labels are not shown: each reader chooses her own.

    Args:
        images: the folder that is served. If it is called images, as in a data set, the table lies beside it.

    Raises:
        InputError: the table could not be used for training either.
    """

    def __init__(self, images: Path) -> None:
        images = images.absolute()
        self._root = images.parent if name_key(images.name) == "images" else None
        self._known = self._read()

    def of(self, path: Path) -> Known:
        """What is known of an image."""
        return self._known.get(unicodedata.normalize("NFC", path.name), Known())

    def notices(self, pictures: Sequence[Path]) -> list[str]:
        """What the page should say of the table, given the pictures that are shown."""
        words = []
        if any(known.group for known in self._known.values()):
            without = [path for path in pictures if not self.of(path).group]
            if without:
                first = name_of(without[0])
                number = f"{len(without)} images" if len(without) > 1 else "an image"
                about = f"{TABLE} names no patient (group) for {number}: {first}"
                words.append(f"{about}. Each counts as a patient of its own")
        return [*words, *self._changed()]

    def _changed(self) -> list[str]:
        try:
            is_same = self._read() == self._known
        except InputError:
            is_same = False
        words = f"{TABLE} has changed; it is read when sonoseg serve is started again"
        return [] if is_same else [words]

    def _read(self) -> dict[str, Known]:
        if self._root is None:
            return {}
        known, findings = read_labels(self._root)
        for finding in findings:
            hint = "name it group (of a patient) or spacing if it is one of these, or remove it"
            raise InputError(self._root / finding.files[0], finding.message, hint)
        return known
