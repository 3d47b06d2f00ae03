"""The data sets of the readers of a folder: what was accepted comes in, what was withdrawn goes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from sonoseg.data.dicom import patient_of
from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.files import atomic_files
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve import collect
from sonoseg.serve.journal import Accepted, Journal
from sonoseg.serve.limits import Limits
from sonoseg.serve.objects import Part, write_objects
from sonoseg.serve.patch import Mask
from sonoseg.serve.scans import open_scan
from sonoseg.serve.scenes import Shot, name_of, parts_of


class Collection:
    """The folders of the readers. The caller holds a lock.

    Args:
        folder: that holds them.
        journal: what was accepted.
        segmenter: the network.
        limits: on the images.
    """

    def __init__(
        self, folder: Path, journal: Journal, segmenter: Segmenter, limits: Limits
    ) -> None:
        self._folder, self._journal = folder, journal
        self._segmenter, self._limits = segmenter, limits

    def patient(self, shot: Shot) -> str:
        """A code that images of one patient share, as far as that is known; "" if nothing is."""
        if is_dicom_file(shot.path):
            return patient_of(open_scan(shot.path, self._limits), shot.path)
        return name_of(shot.path) if shot.scene.frames > 1 else ""

    def write(
        self, shot: Shot, reader: str, result: SegmentationResult, mask: Mask
    ) -> None:
        """Writes one accepted image, and the tables of all that are on the disk.

        Args:
            shot: the image, which the journal has as accepted.
            reader: who accepted it.
            result: what the network said.
            mask: (H, W) bool, what was accepted.

        Raises:
            InputError: the disk fails.
        """
        accepted = self._journal.accepted(reader)
        written = []
        for key, one in accepted.items():
            if one.is_written or key == shot.key:
                written.append(one)
        folder = self._of(reader)
        with atomic_files():
            collect.write_accepted(folder, shot, result.record, mask, written, reader)
            if is_dicom_file(shot.path):
                is_corrected = not np.array_equal(mask, result.mask)
                finding = accepted[shot.key].finding
                place = (shot.frame, shot.scene.region)
                new = Part(*place, mask, finding, is_corrected)
                parts = self._parts(shot.path, reader, new)
                self._write_objects(shot.path, reader, parts)
        done = replace(accepted[shot.key], is_written=True)
        self._journal.save_accepted(shot.key, reader, done)

    def remove(self, key: str, reader: str, file: str, path: Path | None) -> None:
        """Takes an image that was withdrawn out of the data set.

        Args:
            key: of the image in the journal.
            reader: whose data set it is.
            file: the image's name there.
            path: of the file that is served; None if it is gone.

        Raises:
            InputError: the disk fails.
        """
        left = [
            one for one in self._journal.accepted(reader).values() if one.is_written
        ]
        collect.remove_accepted(self._of(reader), file, left, reader)
        if path is not None and is_dicom_file(path):
            self._write_objects(path, reader, self._parts(path, reader))
        self._journal.forget_accepted(key, reader)

    def _of(self, reader: str) -> Path:
        return self._folder / collect.folder_name(reader)

    def _write_objects(self, path: Path, reader: str, parts: Iterator[Part]) -> None:
        folder = self._of(reader) / "dicom"
        write_objects(folder, path, parts, reader, self._segmenter, self._limits)

    def _parts(
        self, path: Path, reader: str, new: Part | None = None
    ) -> Iterator[Part]:
        """What is accepted of a DICOM file, frame by frame, with what is being accepted now."""
        places: dict[tuple[int, int], Accepted | None] = {}
        for key, one in self._journal.accepted(reader).items():
            name, region, frame = parts_of(key)
            if name == name_of(path) and one.is_written:
                places[frame, region] = one
        if new is not None:
            places[new.frame, new.region] = None
        for (frame, region), known in sorted(places.items(), key=lambda item: item[0]):
            if known is None:
                assert new is not None
                yield new
            else:
                mask = collect.read_mask(self._of(reader), known.file)
                yield Part(frame, region, mask, known.finding, known.number > 0)
