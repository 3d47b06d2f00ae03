"""Finds images that are copies, or nearly copies, of each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.core.measure import join

THUMBNAIL = 64
NEAR_COPY = 0.93  # on BUSI: 211 pairs, all but 8 of them known from the literature (Pawłowska et al. 2023)
SAME_LOOK = 8
"""Bits of `fingerprint` in which copies of an image differ at most. Saved as JPEG of quality 30 or resized to 64 × 64
pixels, an image of BUSI differs in up to 6 from itself. From another image of BUSI, BUS-BRA or BrEaST it differs in
at least 11."""
_FINGERPRINT = 32
_ROWS = 1024  # images compared with all others at a time: keeps the matrix small in large data sets


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `near_copies` compares: 64×64 area means, zero mean, unit norm; zeros for an image of one value.

    Args:
        image: (H, W) gray.

    Returns:
        (4096,), so that the dot product of two is their normalised cross-correlation.
    """
    small = Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    values: NDArray[np.float32] = np.array(small, np.float32).ravel()
    values -= values.mean()
    values /= max(
        float(np.linalg.norm(values)), 1.0
    )  # only an image of one value is below 1
    return values


def fingerprint(image: NDArray[np.uint8]) -> int:
    """64 bits that resizing and saving again hardly change: the signs of low frequencies, without the mean.

    They are those of a discrete cosine transform (type II) of 32×32 area means, like the perceptual hash of
    Zauner 2010.

    Args:
        image: (H, W) gray.
    """
    shape = (_FINGERPRINT, _FINGERPRINT)
    small = Image.fromarray(image).resize(shape, Image.Resampling.BOX)
    places = np.arange(_FINGERPRINT) + 0.5
    waves = np.cos(np.pi * np.outer(np.arange(1, 9), places) / _FINGERPRINT)
    frequencies = waves @ np.asarray(small, np.float64) @ waves.T
    return int.from_bytes(np.packbits(frequencies > 0).tobytes(), "big")


def near_copies(thumbnails: Sequence[NDArray[np.float32]]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of images whose 64×64 normalised cross-correlation is above 0.93."""
    pairs: list[tuple[int, int]] = []
    table = np.array(thumbnails, np.float32).reshape(len(thumbnails), THUMBNAIL**2)
    for start in range(0, len(table), _ROWS):
        correlation = table[start : start + _ROWS] @ table[start:].T
        is_near = np.triu(correlation > NEAR_COPY, 1)
        rows, columns = np.nonzero(is_near)
        first, second = (rows + start).tolist(), (columns + start).tolist()
        pairs += zip(first, second, strict=True)
    return pairs


def most_alike(
    images: Sequence[NDArray[np.uint8]], others: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float32]:
    """The highest correlation of each image with one of `others`, as `near_copies` compares them; -1 if there are none.

    Args:
        images, others: (H, W) gray each.

    Returns:
        (N,), from -1 to 1.
    """
    found = np.full(len(images), -1, np.float32)
    if not others:
        return found
    table = np.array([thumbnail(other) for other in others])
    for start in range(0, len(images), _ROWS):
        rows = np.array([thumbnail(image) for image in images[start : start + _ROWS]])
        found[start : start + _ROWS] = (rows @ table.T).max(axis=1)
    return found


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The groups into which `pairs` join the numbers 0 to count - 1, singles included, in ascending order."""
    table = np.array(list(pairs), np.int64).reshape(-1, 2)
    group_of = join(count, table[:, 0], table[:, 1])
    groups: dict[int, list[int]] = {}
    for member, group in enumerate(group_of.tolist()):
        groups.setdefault(group, []).append(member)
    return list(groups.values())
