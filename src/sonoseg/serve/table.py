"""The table of a data set whose images are served: of which patient each image is, and the size of its pixels.

It is labels.csv, or bus_data.csv of BUS-BRA, which has patients only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sonoseg.data.busbra import TABLE as BUSBRA_TABLE
from sonoseg.data.busbra import find_busbra, patients_of
from sonoseg.data.folder import TABLE, Known, read_labels
from sonoseg.data.scan import name_key
from sonoseg.errors import InputError, counted
from sonoseg.serve.scenes import Scene


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
        self._is_busbra = self._root is not None and find_busbra(self._root) is not None
        self._name = BUSBRA_TABLE if self._is_busbra else TABLE
        self._known = self._read()

    def of(self, path: Path) -> Known:
        """What is known of an image."""
        name = path.stem if self._is_busbra else path.name
        return self._known.get(unicodedata.normalize("NFC", name), Known())

    def patient(self, scene: Scene, scenes: Iterable[Scene]) -> str:
        """A code that images of one patient share, as far as that is known; "" if nothing is.

        Args:
            scene: whose patient is asked for.
            scenes: all of the folder. A DICOM file without a group gets that of another file of the same patient.
        """
        own = self.of(scene.path).group
        if own:
            return own
        if scene.patient:
            shared = list(self._shared(scenes).get(scene.patient, ()))
            # Of two groups none is the right one; the page says so.
            return shared[0] if len(shared) == 1 else scene.patient
        return scene.name if scene.frames > 1 else ""

    def notices(self, scenes: Sequence[Scene]) -> list[str]:
        """What the page should say of the table, given all that is shown."""
        words = []
        if any(known.group for known in self._known.values()):
            shared = self._shared(scenes)
            words = [*self._without(scenes, shared), *self._divided(shared)]
        return [*words, *self._changed()]

    def _shared(self, scenes: Iterable[Scene]) -> dict[str, dict[str, Scene]]:
        """Of each DICOM patient the groups in the table, each with the first image that has it."""
        shared: dict[str, dict[str, Scene]] = {}
        for scene in scenes:
            group = self.of(scene.path).group
            if scene.patient and group:
                shared.setdefault(scene.patient, {}).setdefault(group, scene)
        return shared

    def _without(
        self, scenes: Iterable[Scene], shared: Mapping[str, Mapping[str, Scene]]
    ) -> list[str]:
        without = {}
        for scene in scenes:
            is_known = len(shared.get(scene.patient, ())) == 1
            if not is_known and not self.of(scene.path).group:
                without[scene.path] = scene
        if not without:
            return []
        first = next(iter(without.values())).name
        number = f"{len(without)} images" if len(without) > 1 else "an image"
        about = f"{self._name} names no patient (group) for {number}: {first}"
        counts = "Each counts as a patient of its own"
        if any(scene.patient for scene in without.values()):
            counts += ", but DICOM of one patient as one"
        return [f"{about}. {counts}"]

    def _divided(self, shared: Mapping[str, Mapping[str, Scene]]) -> list[str]:
        pairs = [
            list(groups.values())[:2] for groups in shared.values() if len(groups) > 1
        ]
        if not pairs:
            return []
        first, second = pairs[0]
        others = len(pairs) - 1
        more = f" (and so of {counted(others, 'other patient')})" if others else ""
        about = f"{self._name} gives {first.name} and {second.name} different groups"
        return [f"{about}, but DICOM says that they are of one patient{more}"]

    def _changed(self) -> list[str]:
        try:
            is_same = self._read() == self._known
        except InputError:
            is_same = False
        words = (
            f"{self._name} has changed; it is read when sonoseg serve is started again"
        )
        return [] if is_same else [words]

    def _read(self) -> dict[str, Known]:
        if self._root is None:
            return {}
        if self._is_busbra:
            patients = patients_of(self._root)
            return {stem: Known(group=patient) for stem, patient in patients.items()}
        known, findings = read_labels(self._root)
        for finding in findings:
            hint = "name it group (of a patient) or spacing if it is one of these, or remove it"
            raise InputError(self._root / finding.files[0], finding.message, hint)
        return known
