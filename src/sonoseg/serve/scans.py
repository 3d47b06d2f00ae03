"""The DICOM files of a folder as the page shows them: the first B-mode region of the first frame."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sonoseg.core.image import Image
from sonoseg.core.paths import IMAGE_SUFFIXES
from sonoseg.core.source import check_dimensions
from sonoseg.dicom.recognise import check_installed, direct_files, is_dicom_file
from sonoseg.errors import InputError, MachineError
from sonoseg.files import atomic_path, output_folder
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import Mask

if TYPE_CHECKING:
    from sonoseg.dicom.read import DicomFile, View

_logger = logging.getLogger(__name__)
_ENDINGS = (".dcm", ".dicom", ".ima")


def stem_of(path: Path) -> str:
    """The name of an image without its ending; dots in a name without a known ending belong to it, as in UIDs."""
    suffix = path.suffix.lower()
    return path.stem if suffix in IMAGE_SUFFIXES or suffix in _ENDINGS else path.name


class Scans:
    """Finds the DICOM ultrasound in a folder; remembers which files are of another kind."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], bool] = {}
        self.passed_over = 0
        """How many DICOM files were passed over, because what reads them is not installed."""

    def find(self, folder: Path) -> list[Path]:
        """The DICOM images directly in a folder, in the order of their names; not SEG, SR and other modalities.

        A damaged file is among them: reading it says so.
        """
        files = []
        for path in direct_files(folder):
            if path.suffix.lower() not in IMAGE_SUFFIXES and is_dicom_file(path):
                files.append(path)
        try:
            check_installed()
        except InputError:
            self.passed_over = len(files)
            return []
        self.passed_over = 0
        return [path for path in files if self._is_ultrasound(path)]

    def _is_ultrasound(self, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        key = (path.name, status.st_mtime_ns, status.st_size)
        if key not in self._known:
            self._known[key] = _can_be_shown(path)
        return self._known[key]


def read_scan(path: Path, limits: Limits) -> Image:
    """The first region of the first frame, with the size of its pixels; a doubt says what is not shown.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    file, view = _first_view(path, limits)
    hidden = []
    if file.frames > 1:
        hidden.append(f"only the first of {file.frames} frames is shown")
    if len(file.layout.regions) > 1:
        count = len(file.layout.regions)
        hidden.append(f"only the first of {count} images side by side is shown")
    return replace(view.image, doubts=(*view.image.doubts, *hidden))


def write_objects(
    folder: Path,
    path: Path,
    mask: Mask,
    segmenter: Segmenter,
    corrected_by: str | None,
    limits: Limits,
) -> None:
    """Writes STEM_seg.dcm, where there is a lesion, and STEM_sr.dcm of an accepted DICOM image.

    An image without the UIDs that such objects refer to gets none, which is logged.

    Args:
        folder: made if need be.
        path: of the image.
        mask: (h, w) bool, of the region that `read_scan` returns.
        segmenter: the network.
        corrected_by: the reader who changed the network's mask; None if it is the network's.
        limits: on the image.

    Raises:
        InputError: the image cannot be read, or the folder not be written to.
    """
    from sonoseg.dicom.lesions import Tracker
    from sonoseg.dicom.objects import make_objects
    from sonoseg.dicom.options import Options

    file, view = _first_view(path, limits)
    outlines = Tracker().follow(view, mask)
    try:
        options = Options(corrected_by=corrected_by)
        objects = make_objects(file, outlines, segmenter, options)
    except MachineError:
        raise
    except InputError as error:
        words = "sonoseg: an accepted DICOM image has no SEG and SR: it %s"
        _logger.warning(words, error.problem)
        return
    output_folder(folder)
    stem = stem_of(path)
    with atomic_path(folder / f"{stem}_sr.dcm") as temporary:
        temporary.write_bytes(objects.report)
    seg = folder / f"{stem}_seg.dcm"
    if objects.seg is None:
        seg.unlink(missing_ok=True)
        return
    with atomic_path(seg) as temporary:
        temporary.write_bytes(objects.seg)


def _can_be_shown(path: Path) -> bool:
    from sonoseg.dicom.header import NotUltrasound
    from sonoseg.dicom.read import read_dicom

    try:
        read_dicom(path)
    except NotUltrasound:
        return False
    except InputError:
        return True
    return True


def _first_view(path: Path, limits: Limits) -> tuple[DicomFile, View]:
    from sonoseg.dicom.read import read_dicom

    file = read_dicom(path)
    height, width = file.shape
    check_dimensions("image", width, height, limits.pixels)
    views = file.views([1])
    return file, next(views)
