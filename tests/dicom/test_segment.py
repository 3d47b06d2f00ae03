"""Loops: which outlines of different frames are one lesion."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset

import sonoseg
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.report import largest_outlines
from sonoseg.dicom.segment import segment_dicom
from sonoseg.errors import InputError


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


def test_a_batch_says_that_it_takes_no_dicom_and_which_image_it_is(
    tmp_path: Path,
) -> None:
    picture = np.zeros((40, 40), np.uint8)
    dataset = make_dataset(np.full((1, 64, 80), 90, np.uint8))
    content = as_bytes(dataset)
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    for image in (path, str(path), content, bytearray(content), dataset):
        name = str(path) if isinstance(image, (str, Path)) else "image 2 of 2"
        with pytest.raises(InputError) as error:
            sonoseg.load().segment_batch([picture, image])
        assert error.value.subject == name
        assert error.value.problem.startswith("is a DICOM image")
