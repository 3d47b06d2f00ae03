"""The DICOM files and videos of a folder: which there are, and one region of one frame of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sonoseg.core.image import Image
from sonoseg.core.paths import CLIP_SUFFIXES, IMAGE_SUFFIXES, is_input
from sonoseg.core.source import check_dimensions
from sonoseg.data.case import NO_PATIENT
from sonoseg.data.dicom import patient_of
from sonoseg.dicom.recognise import check_installed, direct_files, is_dicom_file
from sonoseg.errors import InputError
from sonoseg.reader.video import Clip, check_av
from sonoseg.serve.limits import Limits
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scenes import Scene, Shot
from sonoseg.serve.versions import version_of

if TYPE_CHECKING:
    from sonoseg.dicom.read import DicomFile

_HINTS = {"DICOM files": "dicom", "videos": "video"}
"""What is passed over without an extra, and the extra."""


class Scans:
    """Finds what is no plain picture in a folder; remembers what each file is."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[Scene]] = {}
        self._passed_over = dict.fromkeys(_HINTS, 0)

    @property
    def notice(self) -> str:
        """What was passed over because an extra is not installed, in words; "" if nothing."""
        words = []
        for what, count in self._passed_over.items():
            extra = _HINTS[what]
            hint = f"to see them: pip install '.[{extra}]' in the source folder"
            if count:
                words.append(f"{count} {what} are passed over; {hint}")
        return ". ".join(words)

    def find(self, folder: Path) -> list[Scene]:
        """The DICOM ultrasound and the videos directly in a folder; not SEG, SR and other modalities.

        A damaged file is among them: reading it says so.
        """
        scans, clips = [], []
        for path in direct_files(folder):
            suffix = path.suffix.lower()
            if suffix not in IMAGE_SUFFIXES and is_dicom_file(path):
                scans.append(path)
            elif is_input(path, CLIP_SUFFIXES):
                clips.append(path)
        found = self._scenes("DICOM files", scans, _dicom_scenes, _check_dicom)
        return found + self._scenes("videos", clips, _clip_scenes, check_av)

    def _scenes(
        self,
        what: str,
        paths: list[Path],
        read: Callable[[Path], list[Scene]],
        check: Callable[[Path], None],
    ) -> list[Scene]:
        self._passed_over[what] = 0
        scenes: list[Scene] = []
        for path in paths:
            try:
                check(path)
                key = (path.name, version_of(path))
            except InputError:
                self._passed_over[what] += 1
                continue
            except Refused:  # it has just been removed
                continue
            if key not in self._known:
                self._known[key] = read(path)
            scenes += self._known[key]
        return scenes


def read_scan(shot: Shot, limits: Limits) -> Image:
    """One region of one frame of a DICOM file, with the size of its pixels.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    file = open_scan(shot.path, limits)
    views = list(file.views([shot.frame]))
    return views[shot.scene.region - 1].image


def scan_frames(scene: Scene, limits: Limits) -> Iterator[Image]:
    """One region of all frames of a DICOM file, one at a time.

    Raises:
        InputError: as `read_scan`, when the frame at fault is reached.
    """
    for view in open_scan(scene.path, limits).views():
        if view.number == scene.region:
            yield view.image


def open_scan(path: Path, limits: Limits) -> DicomFile:
    """A DICOM file, its header read.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    from sonoseg.dicom.read import read_dicom

    file = read_dicom(path)
    height, width = file.shape
    check_dimensions("image", width, height, limits.pixels)
    return file


def _check_dicom(_: Path) -> None:
    check_installed()


def _dicom_scenes(path: Path) -> list[Scene]:
    from sonoseg.dicom.header import NotUltrasound
    from sonoseg.dicom.read import read_dicom

    try:
        file = read_dicom(path)
    except NotUltrasound:
        return []
    except InputError:
        return [Scene(path)]
    count = len(file.layout.regions)
    about = (path, file.frames, file.frame_time)
    whole = Scene(*about, regions=count, patient=_patient(path, file))
    return [replace(whole, region=region) for region in range(1, count + 1)]


def _patient(path: Path, file: DicomFile) -> str:
    from sonoseg.dicom.damage import dicom_errors

    try:
        with dicom_errors(str(path)):
            return patient_of(file, path.name)
    except InputError:  # the image may be whole
        return f"{NO_PATIENT}{path.name}"


def _clip_scenes(path: Path) -> list[Scene]:
    try:
        with closing(Clip(path)) as clip:
            return [Scene(path, max(1, clip.count_frames()), 1000 / float(clip.rate))]
    except InputError:
        return [Scene(path)]


def clip_frames(path: Path) -> Iterator[Image]:
    """The frames of a video, one at a time.

    Raises:
        InputError: it cannot be read to its end.
    """
    with closing(Clip(path)) as clip:
        for frame in clip.frames():
            yield Image(frame.image, source=str(path))
