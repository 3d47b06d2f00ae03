"""The data sets of the readers of a folder: what was accepted comes in, what was withdrawn goes out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, ValuesView
from dataclasses import replace
from pathlib import Path

from sonoseg.core.image import Image
from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, is_folder, output_folder
from sonoseg.serve import collect
from sonoseg.serve.journal import Journal
from sonoseg.serve.limits import Limits
from sonoseg.serve.objects import Part, objects_of, write_objects
from sonoseg.serve.patch import Mask
from sonoseg.serve.records import Accepted
from sonoseg.serve.scenes import (
    Scene,
    Shot,
    find_shot,
    name_of,
    parts_of,
    plain_stem,
    stem_in,
)

_logger = logging.getLogger(__name__)


class Collection:
    """The folders of the readers. The caller holds a lock.

    Args:
        folder: that holds them.
        journal: what was accepted.
        limits: on the images.
    """

    def __init__(self, folder: Path, journal: Journal, limits: Limits) -> None:
        self._folder, self._journal, self._limits = folder, journal, limits

    def check_name(self, shot: Shot, reader: str) -> None:
        """Refuses an image that would replace the mask, or SEG and SR, of another file in the data set.

        Raises:
            InputError: it has the name of a file of which images are accepted.
        """
        own = {shot.stem.casefold(), plain_stem(shot.path).casefold()}
        for key, one in self._journal.accepted(reader).items():
            name, _, _ = parts_of(key)
            others = (Path(one.file).stem.casefold(), stem_in(key, one.file).casefold())
            if name != name_of(shot.path) and not own.isdisjoint(others):
                problem = f"has the same name as {name}, which you have accepted"
                raise InputError("image", problem, f"rename it, or withdraw {name}")

    def write(self, shot: Shot, reader: str, image: Image, mask: Mask) -> None:
        """Writes one accepted image, and the tables of all that are on the disk.

        Args:
            shot: the image, which the journal has as accepted.
            reader: who accepted it.
            image: as it was read.
            mask: (H, W) bool, what was accepted.

        Raises:
            InputError: the disk fails.
        """
        accepted = self._journal.accepted(reader)
        own = accepted[shot.key]
        written = []
        for key, one in accepted.items():
            if one.is_written or key == shot.key:
                written.append(one)
        folder = self._of(reader)
        with atomic_files():
            collect.write_accepted(folder, shot, image, mask, written, reader)
            if is_dicom_file(shot.path):
                new = Part(shot.frame, shot.scene.region, mask, own)
                self._write_objects(shot.path, reader, new)
        self._journal.save_accepted(shot.key, reader, replace(own, is_written=True))

    def remove(self, key: str, reader: str, file: str, path: Path | None) -> None:
        """Takes an image that was withdrawn out of the data set.

        Args:
            key: of the image in the journal.
            reader: whose data set it is.
            file: the image's name there.
            path: of the file that is served; None if it is gone. Then no SEG and SR of it are left, because what is
                still accepted of it could not be written.

        Raises:
            InputError: the disk fails.
        """
        left = [
            one for one in self._journal.accepted(reader).values() if one.is_written
        ]
        collect.remove_accepted(self._of(reader), file, left, reader)
        if path is None:
            for old in objects_of(self._of(reader) / "dicom", stem_in(key, file)):
                collect.remove_file(old)
        elif is_dicom_file(path):
            self._write_objects(path, reader)
        self._journal.forget_accepted(key, reader)

    def finish_removing(self, scenes: ValuesView[Scene]) -> None:
        """Removes what was withdrawn before the server was killed, and did not get off the disk.

        Args:
            scenes: that are in the folder.
        """
        for key, reader, file in self._journal.leaving():
            shot = find_shot(scenes, key)
            path = None if shot is None else shot.path
            try:
                self.remove(key, reader, file, path)
            except InputError as error:
                words = "sonoseg: a withdrawn image was not removed: %s"
                _logger.warning(words, error.problem)

    def set_aside(
        self, reader: str, name: str, stem: str, former: list[Accepted]
    ) -> None:
        """Moves the results of a file that was replaced out of the data set, into one of their own.

        Args:
            reader: whose data set it is.
            name: of the new folder in replaced/.
            stem: of the file, see `plain_stem`.
            former: what was accepted of it.

        Raises:
            InputError: the disk fails.
        """
        folder = self._of(reader)
        if not is_folder(folder) or not former:
            return
        target = output_folder(self.aside(reader, name))
        collect.write_tables(target, former, reader)
        collect.move_accepted(folder, target, former)
        for path in objects_of(folder / "dicom", stem):
            collect.move_file(path, target / "dicom")
        left = self._journal.accepted(reader).values()
        collect.write_tables(folder, [one for one in left if one.is_written], reader)

    def aside(self, reader: str, name: str) -> Path:
        """Where results that were set aside under a name are, if there were any."""
        return self._of(reader) / "replaced" / name

    def _of(self, reader: str) -> Path:
        return self._folder / collect.folder_name(reader)

    def _write_objects(self, path: Path, reader: str, new: Part | None = None) -> None:
        folder, parts = self._of(reader) / "dicom", self._parts(path, reader, new)
        write_objects(folder, path, parts, reader, self._limits)

    def _parts(self, path: Path, reader: str, new: Part | None) -> Iterator[Part]:
        """What is accepted of a DICOM file, frame by frame, with what is being accepted now."""
        places: dict[tuple[int, int], Accepted] = {}
        for key, one in self._journal.accepted(reader).items():
            name, region, frame = parts_of(key)
            if name == name_of(path) and one.is_written:
                places[frame, region] = one
        if new is not None:
            places[new.frame, new.region] = new.accepted
        for place, one in sorted(places.items(), key=lambda item: item[0]):
            if new is not None and place == (new.frame, new.region):
                yield new
            else:
                mask = collect.read_mask(self._of(reader), one.file)
                yield Part(*place, mask, one)
