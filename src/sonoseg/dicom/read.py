"""From a DICOM file to images: each B-mode region of each frame, gray, with the size of its pixels."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from sonoseg.core.image import Image, ImageSource
from sonoseg.core.measure import Spacing
from sonoseg.dicom.damage import dicom_errors
from sonoseg.dicom.damage import number as number_in
from sonoseg.dicom.decode import iter_frames
from sonoseg.dicom.header import Header, read_header
from sonoseg.dicom.pixels import (
    as_colour,
    as_gray,
    coloured_share,
    stored_range,
    used_range,
)
from sonoseg.dicom.regions import (
    CONTRADICTED,
    HUGE,
    MIXED,
    OBLONG,
    UNKNOWN_SIZE,
    Layout,
    Region,
    are_equal,
    find_layout,
)
from sonoseg.dicom.stream import DicomSource
from sonoseg.errors import InputError, counted, visible

UNUSED_BITS = "its values need fewer bits than it says, and it has no window: the brightness may be wrong"
_MOST_COLOURED = 0.02
"""Share of coloured pixels from which on an image is taken for colour Doppler."""
_ABOUT_SIZE = frozenset((MIXED, CONTRADICTED, OBLONG, HUGE))
"""Doubts that a size of a pixel given by the user removes."""
_WHOLE = 0.95
"""Share of the frame from which on the regions are as good as the whole frame: names may lie in them."""
_logger = logging.getLogger(__name__)
USUAL_FRAME_TIME = 40.0
"""Milliseconds from frame to frame of a loop that does not say its own."""
_FRAME_TIMES = 1.0, 10_000.0
"""Milliseconds from frame to frame that can be: 1000 to 0.1 frames a second."""


@dataclass(frozen=True)
class View:
    """One B-mode region of one frame.

    Attributes:
        image: its pixels, spacing and doubts; the source names frame and region.
        frame: number of the frame, from 1.
        number: number of the region in the frame, from 1, from left to right.
        region: where it lies in the frame.
        shape: (H, W) of the whole frame.
    """

    image: Image
    frame: int
    number: int
    region: Region
    shape: tuple[int, int]

    def whole(self, part: NDArray[Any]) -> NDArray[Any]:
        """A map (h, w) or (h, w, 3) of the region as one of the whole frame, 0 outside."""
        full = np.zeros((*self.shape, *part.shape[2:]), part.dtype)
        full[self.region.slices] = part
        return full


@dataclass(frozen=True)
class DicomFile:
    """An ultrasound file, its header read, its pixels not.

    Attributes:
        header: its elements before the pixel data.
        layout: its B-mode regions.
    """

    header: Header
    layout: Layout

    @property
    def dataset(self) -> Dataset:
        """All elements before the pixel data."""
        return self.header.dataset

    @property
    def frames(self) -> int:
        """How many frames there are; more than 1 is a loop, whatever the class says."""
        return self.header.frames

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of a frame."""
        return self.header.shape

    @property
    def frame_time(self) -> float | None:
        """Milliseconds from frame to frame, 1 to 10,000; None if the file does not say, or says what cannot be."""
        try:
            with dicom_errors(self.header.subject):
                value = number_in(self.dataset, "FrameTime", missing=0)
        except InputError:  # no number: the images are whole
            return None
        return value if _FRAME_TIMES[0] <= value <= _FRAME_TIMES[1] else None

    @property
    def is_compressed(self) -> bool:
        """Whether decoding a frame takes time."""
        syntax = self.dataset.file_meta.TransferSyntaxUID
        return bool(syntax.is_encapsulated)

    @property
    def is_whole_frame(self) -> bool:
        """Whether the B-mode regions cover (almost) the whole frame, so that they may hold names burnt into it."""
        height, width = self.shape
        covered = sum(one.width * one.height for one in self.layout.regions)
        return covered > _WHOLE * height * width

    def views(self, frames: Iterable[int] | None = None) -> Generator[View]:
        """Decodes the frames one by one and yields their regions; only one frame is in memory.

        Args:
            frames: numbers from 1; None for all.

        Raises:
            InputError: the pixel data is damaged or cut short.
        """
        numbers = list(range(1, self.frames + 1) if frames is None else frames)
        decoded = iter_frames(self.header, [number - 1 for number in numbers])
        for number, pixels in zip(numbers, decoded, strict=True):
            for place, region in enumerate(self.layout.regions, start=1):
                yield self._view(pixels, number, place, region)

    def with_spacing(self, spacing: Spacing) -> DicomFile:
        """The file with a size of a pixel that the user knows, for all regions; a doubt says where it differs."""
        regions = []
        doubts = [
            one.removesuffix(UNKNOWN_SIZE)
            for one in self.layout.doubts
            if one not in _ABOUT_SIZE
        ]
        source = "given by the user"
        for region in self.layout.regions:
            mine = replace(region, spacing=spacing)
            regions.append(mine)
            if region.spacing is None:
                continue
            source = "given by the user, in place of the file's own"
            if not are_equal(mine, region):
                row, column = region.spacing
                doubt = f"the file says that its pixels are {row:.4g} x {column:.4g} mm"
                doubts.append(f"{doubt}, the user says otherwise")
        unique = tuple(dict.fromkeys(doubts))
        return replace(self, layout=Layout(tuple(regions), unique, source))

    def picture(self, frame: int = 1) -> NDArray[np.uint8]:
        """A whole frame as it is shown: (H, W, 3) uint8 RGB."""
        (pixels,) = iter_frames(self.header, [frame - 1])
        with dicom_errors(self.header.subject):
            colours = as_colour(pixels, self.dataset)
            if colours.ndim == 2 or colours.dtype != np.uint8:
                values = used_range(pixels, self.dataset)
                gray = as_gray(colours, self.dataset, values)
                colours = np.repeat(gray[..., None], 3, axis=2)
        return colours

    def _view(
        self, pixels: NDArray[Any], frame: int, number: int, region: Region
    ) -> View:
        with dicom_errors(self.header.subject):
            part = as_colour(pixels[region.slices], self.dataset)
            values = used_range(pixels, self.dataset)
            gray = as_gray(part, self.dataset, values)
            doubts = self.layout.doubts
            only_sizes = _ABOUT_SIZE.issuperset(doubts)
            if only_sizes and coloured_share(part) > _MOST_COLOURED:
                doubts += ("it has colours, perhaps of colour Doppler",)
            if values != stored_range(self.dataset):
                doubts += (UNUSED_BITS,)
        source = ImageSource(
            self.header.subject,
            frame if self.frames > 1 else None,
            (region.left, region.top, region.width, region.height),
        )
        image = Image(
            gray,
            region.spacing,
            source,
            doubts,
            self.layout.spacing_source,
            region.stretch,
        )
        return View(image, frame, number, region, self.shape)


def read_dicom(source: DicomSource) -> DicomFile:
    """Reads the header of an ultrasound DICOM file; pixels are decoded by `DicomFile.views`.

    Args:
        source: a path, the content of a file, a file open in binary mode, or a pydicom data set with its pixels.

    Raises:
        InputError: not DICOM, not ultrasound (3D volumes and segmentations are refused by name), video, damaged, a
            number of frames or a size that cannot be, under 16 × 16 or over 50 megapixels.
    """
    header = read_header(source)
    with dicom_errors(header.subject):
        return DicomFile(header, find_layout(header.dataset))


def info_command(files: Iterable[Path]) -> tuple[str, int]:
    """What is read of each file, in a few lines without patient data; what cannot be read is logged.

    Returns:
        the text, and the exit code: 0; 1 if some files cannot be read; 2 if none can.
    """
    lines, failed = [], 0
    for path in files:
        try:
            file = read_dicom(path)
        except InputError as error:
            _logger.warning("sonoseg: %s", error)
            failed += 1
            continue
        height, width = file.shape
        count = counted(file.frames, "frame")
        lines.append(f"{visible(str(path))}: {count} of {width} × {height} pixels")
        for region in file.layout.regions:
            size = "size of a pixel not known"
            if region.spacing is not None:
                row, column = region.spacing
                size = f"pixels of {row:.4g} × {column:.4g} mm (height × width)"
            place = f"{region.width} × {region.height} at ({region.left}, {region.top})"
            lines.append(f"  region {place}, {size}")
        lines += [f"  doubt: {doubt}" for doubt in file.layout.doubts]
    code = 0 if not failed else 1 if lines else 2
    return "\n".join(lines), code
