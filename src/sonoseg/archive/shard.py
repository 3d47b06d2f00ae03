"""A shard of an archive: some hundred files, segmented by one worker. Its part of the table appears when all are done.

An image may end the process that reads it, for example because memory runs out. So the shard notes which images it is
at. Whoever runs it again segments these images one at a time, and gives up one that has ended three processes.
"""

from __future__ import annotations

import functools
import io
import json
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.archive.table import Row, failed_row, row_of, write_part
from sonoseg.cluster import ATTEMPTS
from sonoseg.core.image import ImageSource
from sonoseg.core.measure import Spacing
from sonoseg.core.paths import IMAGE_SUFFIXES
from sonoseg.cores import asked_threads, usable_cores
from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.errors import InputError, is_out_of_memory, visible
from sonoseg.files import atomic_files, atomic_path, is_there, write_error
from sonoseg.inputs import read_json
from sonoseg.reader.bundle import Bundle
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter

PARTS, MASKS = "parts", "masks"
AHEAD = 8
"""Images that are begun before the first of them is written."""


@dataclass(frozen=True)
class ArchiveSettings:
    """What all shards share.

    Attributes:
        archive: the folder.
        out: the folder of the results.
        model: the bundle file.
        sha256: its checksum.
        spacing: mm per pixel (row, column), in place of that of the files.
        sensitivity: an operating point, see `sonoseg.reader.segmenter.Segmenter.at`.
    """

    archive: Path
    out: Path
    model: Path
    sha256: str
    spacing: Spacing | None = None
    sensitivity: str | None = None


class Answer(NamedTuple):
    """The rows of a file, and its masks as (name, PNG); no rows if it is no ultrasound."""

    rows: list[Row]
    masks: list[tuple[str, bytes]]


@dataclass(frozen=True)
class Shard:
    """A job.

    Attributes:
        number: from 0.
        names: of the files, relative to the archive.
        settings: of the archive.
    """

    number: int
    names: tuple[str, ...]
    settings: ArchiveSettings

    @property
    def name(self) -> str:
        """The number, in six digits."""
        return f"{self.number:06d}"

    @property
    def part(self) -> Path:
        """The rows of this shard. If the file is there, the shard is done."""
        return self.settings.out / PARTS / f"{self.name}.parquet"

    @property
    def place(self) -> Path:
        """Which images the running process is at, and how many processes each image has ended."""
        return self.settings.out / PARTS / f"{self.name}.json"

    def run(self) -> None:
        """Segments the files and writes masks and rows, all of them or none.

        Raises:
            InputError: the bundle is not there or is another one, or the results cannot be written.
        """
        if is_there(self.part):
            return
        settings = self.settings
        segmenter = open_segmenter(
            settings.model, settings.sha256, settings.sensitivity
        )
        rows: dict[int, list[Row]] = {}
        has_masks = False
        masks = self.settings.out / MASKS / f"{self.name}.zip"
        with atomic_files():
            with (
                atomic_path(masks) as temporary,
                ZipFile(temporary, "w", ZIP_STORED) as file,
            ):
                for index, answer in self._answers(segmenter):
                    rows[index] = answer.rows
                    for row in answer.rows:
                        if row.get("mask"):
                            row["mask"] = f"{masks.name}/{row['mask']}"
                    for name, png in answer.masks:
                        file.writestr(name, png)
                        has_masks = True
            with atomic_path(self.part) as temporary:
                in_order = [row for index in sorted(rows) for row in rows[index]]
                passed_over = sum(not found for found in rows.values())
                write_part(temporary, in_order, passed_over)
        if not has_masks:
            masks.unlink()
        self.place.unlink(missing_ok=True)

    def _answers(self, segmenter: Segmenter) -> Iterator[tuple[int, Answer]]:
        """Yields the answer of each file: first of those at which a process has ended, one at a time."""
        ended = self._ended()
        for index, count in ended.items():
            if count >= ATTEMPTS:
                reason = f"{count} processes ended while they segmented it"
                yield index, Answer([failed_row(self.names[index], reason)], [])
                continue
            self._note(ended, index, index + 1)
            yield index, segment_file(segmenter, self.names[index], self.settings)
        others = [index for index in range(len(self.names)) if index not in ended]
        yield from self._side_by_side(segmenter, others, ended)

    def _side_by_side(
        self, segmenter: Segmenter, indices: Sequence[int], ended: Counter[int]
    ) -> Iterator[tuple[int, Answer]]:
        """Segments in several threads, while this one writes. Few images are in memory at a time."""
        waiting: deque[tuple[int, Future[Answer]]] = deque()
        with ThreadPoolExecutor(threads()) as pool:
            room = AHEAD * threads()
            for number, index in enumerate(indices):
                if number % room == 0:
                    first = waiting[0][0] if waiting else index
                    self._note(
                        ended, first, indices[min(number + room, len(indices)) - 1] + 1
                    )
                name = self.names[index]
                future = pool.submit(segment_file, segmenter, name, self.settings)
                waiting.append((index, future))
                if len(waiting) >= room:
                    done, future = waiting.popleft()
                    yield done, future.result()
            for done, future in waiting:
                yield done, future.result()

    def _note(self, ended: Counter[int], first: int, stop: int) -> None:
        """Notes that the images from `first` to before `stop` are being segmented."""
        noted = {"ended": dict(ended), "first": first, "stop": stop}
        # `atomic_path` would wait for the end of the shard.
        temporary = self.place.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(noted))
            temporary.replace(self.place)
        except OSError as error:
            raise write_error(self.place, error) from error

    def _ended(self) -> Counter[int]:
        """Index of an image → how many processes ended while they segmented it, or images beside it."""
        if not is_there(self.place):
            return Counter()
        noted = read_json(self.place)
        ended = Counter({int(index): count for index, count in noted["ended"].items()})
        at_work = range(noted["first"], noted["stop"])
        is_alone = len(at_work) == 1
        ended.update(index for index in at_work if is_alone or index not in ended)
        return ended


def segment_file(segmenter: Segmenter, name: str, settings: ArchiveSettings) -> Answer:
    """Segments a file. What is wrong with it becomes a row."""
    path = settings.archive / name
    if path.suffix.lower() not in IMAGE_SUFFIXES and not is_dicom_file(path):
        return Answer([], [])
    rows: list[Row] = []
    masks: list[tuple[str, bytes]] = []
    try:
        for result in segmenter.segment_frames(path, settings.spacing):
            member = None
            if result.mask.any():
                member = mask_name(name, result)
                masks.append((member, as_png(result.mask)))
            rows.append(row_of(name, result, member))
    except InputError as error:
        # The class is in a module that needs pydicom, which may not be installed.
        if type(error).__name__ == "NotUltrasound":
            return Answer([], [])
        return Answer([failed_row(name, f"{error.problem}; {error.hint}")], [])
    except Exception as error:  # one image must not stop the other million
        words = "not enough memory" if is_out_of_memory(error) else repr(error)
        return Answer([failed_row(name, words)], [])
    return Answer(rows, masks)


def mask_name(name: str, result: SegmentationResult) -> str:
    """The name of a mask in the file of masks: that of the image, frame and region."""
    source = result.record.source
    frame = region = ""
    if isinstance(source, ImageSource):
        frame = "" if source.frame is None else f"_frame{source.frame:04d}"
        if source.region is not None:
            left, top, *_ = source.region
            region = f"_at_{left}_{top}"
    return f"{visible(name)}{frame}{region}_mask.png"


def as_png(mask: NDArray[np.bool_]) -> bytes:
    """A mask (H, W) as PNG of one bit per pixel."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def threads() -> int:
    """How many images are segmented at a time: what `OMP_NUM_THREADS` says, or one for each core."""
    return asked_threads() or usable_cores()


@functools.lru_cache(maxsize=1)
def open_segmenter(
    model: Path, sha256: str, sensitivity: str | None = None
) -> Segmenter:
    """The network with one thread for each image, which is faster than many threads for one.

    Raises:
        InputError: the bundle is not there, or not the one with which the work began.
    """
    bundle = Bundle.read(model, threads=1)
    if bundle.sha256 != sha256:
        problem = "is another bundle than that of the command"
        raise InputError(model, problem, "give all machines the same file")
    return Segmenter(bundle, sensitivity)
