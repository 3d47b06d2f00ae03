"""Frames of a segmented DICOM file: their regions together, as one map or one video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.dicom.read import USUAL_FRAME_TIME, DicomFile
from sonoseg.dicom.segment import Segmented
from sonoseg.files import atomic_path
from sonoseg.reader.video_writer import VideoWriter, video_writer

NONE = (False, 0.0)


def by_frame(results: Iterator[Segmented], regions: int) -> Iterator[list[Segmented]]:
    """The results of the regions of each frame together."""
    frame: list[Segmented] = []
    for one in results:
        frame.append(one)
        if len(frame) == regions:
            yield frame
            frame = []


def joined(
    shape: tuple[int, int], frame: Sequence[Segmented], name: str, dtype: Any
) -> NDArray[Any]:
    """A map of the regions, such as "mask", in the whole frame (H, W)."""
    whole = np.zeros(shape, dtype)
    for one in frame:
        whole[one.view.region.slices] = getattr(one.result, name)
    return whole


@contextmanager
def loop_writer(file: DicomFile, path: Path) -> Iterator[VideoWriter]:
    """A video that runs at the rate of the loop."""
    time = Fraction(file.frame_time or USUAL_FRAME_TIME)
    rate = (1000 / time).limit_denominator(1000)
    with (
        atomic_path(path) as temporary,
        video_writer(temporary, rate, 1 / rate) as video,
    ):
        yield video


def largest_lesion(frame: Sequence[Segmented]) -> tuple[bool, float]:
    """The largest lesion of a frame: whether it is measured in mm, and its area; `NONE` if there is none.

    Lesions in mm come before those in pixels, because their areas cannot be compared.
    """
    largest = NONE
    for one in frame:
        for outline in one.outlines:
            largest = max(largest, (outline.spacing is not None, outline.area))
    return largest
