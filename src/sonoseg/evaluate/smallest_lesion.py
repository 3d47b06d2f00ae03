"""How small a lesion may be in an image and still be described by the same words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.describe.descriptors import Descriptors, find_descriptors
from sonoseg.describe.features import measure_features
from sonoseg.describe.questions import Fitted
from sonoseg.evaluate.known_lesions import KnownLesion
from sonoseg.progress import track

RADII = (4, 6, 8, 12, 16, 24)
"""Radii in pixels to which images are shrunk."""
KEPT = 0.9
"""Share of the words that must stay the same."""


def find_smallest(lesions: Sequence[KnownLesion], known: Fitted) -> dict[str, Any]:
    """Shrinks each image until its lesion has each of `RADII`, and describes the reference mask again.

    Returns:
        For JSON: `same_words`, by radius the share of the five most probable words that are those of the image at its
        own size; `smallest_radius`, the smallest from which on at least `KEPT` are.
    """
    same: dict[int, list[float]] = {radius: [] for radius in RADII}
    for lesion in track(lesions, "shrinking", len(lesions), "image"):
        image, mask = lesion.case.read()
        own_radius = math.sqrt(np.count_nonzero(mask) / math.pi)
        features = lesion.features["reference"]
        words = _words(find_descriptors(features, known))
        for radius in RADII:
            if radius >= own_radius:
                continue
            small, small_mask = _shrunk(image, mask, radius / own_radius)
            if not small_mask.any():
                continue
            again = measure_features(small, small_mask, lesion.case.pixel_size)
            found = _words(find_descriptors(again.to_dict(), known))
            equal = [one == other for one, other in zip(words, found, strict=True)]
            same[radius].append(float(np.mean(equal)))
    shares = {radius: float(np.mean(own)) for radius, own in same.items() if own}
    smallest = max(RADII)
    for radius in sorted(shares, reverse=True):
        if shares[radius] < KEPT:
            break
        smallest = radius
    rounded = {str(radius): round(share, 4) for radius, share in shares.items()}
    return {"same_words": rounded, "smallest_radius": smallest}


def _shrunk(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], scale: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    height, width = image.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    share = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    small_mask = np.asarray(share.resize(size, Image.Resampling.BOX)) >= 128
    return np.asarray(small), small_mask


def _words(descriptors: Descriptors) -> list[str]:
    """The most probable word of each descriptor; empty where it cannot be judged."""
    words = []
    for _, one in descriptors.named():
        probabilities: Mapping[str, float] = one.probabilities
        words.append(max(probabilities, key=lambda w: probabilities[w], default=""))
    return words
