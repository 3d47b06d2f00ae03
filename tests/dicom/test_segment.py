"""Loops: which outlines of different frames are one lesion."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset

from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.report import largest_outlines
from sonoseg.dicom.segment import segment_dicom


class BrightIsLesion:
    """In place of a network."""

    def segment_batch(self, images: Any, explain: bool) -> list[Any]:
        return [SimpleNamespace(mask=one.pixels > 200, judge=None) for one in images]


@pytest.mark.parametrize(
    ("milliseconds", "lesions"), [(None, 2), (40, 2), (100, 3), (10, 1)]
)
def test_a_lesion_that_was_long_not_seen_is_another_one(
    milliseconds: float | None, lesions: int
) -> None:
    """Seen on frames 1 to 5, from 11 on, and larger from 30 on: after 0.24 and 0.76 s, if a frame takes 40 ms."""
    pixels = np.full((40, 64, 80), 90, np.uint8)
    for frame in (*range(1, 6), 11, 12):
        pixels[frame - 1, 10:30, 10:30] = 255
    pixels[29:, 12:42, 28:68] = 255
    dataset = make_dataset(pixels)
    if milliseconds is None:
        del dataset.FrameTime
    else:
        dataset.FrameTime = milliseconds
    file = read_dicom(as_bytes(dataset))
    found = segment_dicom(BrightIsLesion(), file)  # type: ignore[arg-type]
    outlines = [outline for one in found for outline in one.outlines]
    assert len({outline.segment for outline in outlines}) == lesions
    assert [one.frame for one in outlines] == [*range(1, 6), 11, 12, *range(30, 41)]
    assert len(largest_outlines(outlines)) == lesions
