"""Small data sets made of noise, in every layout."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonoseg.data.case import Case
from sonoseg.data.copies import near_copies, thumbnail
from sonoseg.data.load import load_cases

Write = Callable[..., None]


@pytest.fixture(scope="session")
def busi_copies(real_data: Path) -> tuple[list[Case], list[tuple[int, int]]]:
    """The cases of BUSI and its pairs of near-copies: reading all images takes seconds."""
    cases = load_cases(real_data / "busi")
    return cases, near_copies([thumbnail(case.read_image()) for case in cases])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(name, pixels=None, seed=...): a file under tmp_path; by default an image of noise."""

    def write(
        name: str, pixels: np.ndarray | None = None, seed: int | None = None
    ) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if pixels is None:
            rng = np.random.default_rng(
                zlib.crc32(name.encode()) if seed is None else seed
            )
            pixels = rng.integers(0, 256, (24, 32), np.uint8)
        Image.fromarray(pixels).save(path)

    return write


@pytest.fixture
def write_mask(write: Write) -> Write:
    """write_mask(name, lesion=True): a mask of the size of the images that `write` makes."""

    def write_mask(name: str, lesion: bool = True) -> None:
        pixels = np.zeros((24, 32), np.uint8)
        pixels[4:9, 5:12] = 255 * lesion
        write(name, pixels)

    return write_mask
