"""From an image to its mask: resize, network, threshold."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.image import Image, pixel_spacing, read_image
from sonoseg.core.measure import drop_small
from sonoseg.core.resize import enlarge, reach, resize_image
from sonoseg.core.source import Source
from sonoseg.errors import InputError
from sonoseg.reader.answers import Answers
from sonoseg.reader.bundle import Bundle, Card, find_bundle
from sonoseg.reader.result import SegmentationResult

ImageLike = Source | Image
"""See `sonoseg.core.image.read_image`."""


class Segmenter:
    """A network, loaded once and used often; may be shared between threads, and sent to other processes.

    What is pickled is the bundle's path and checksum, not the network: the file must be there in the other process.

    Example:
        >>> segmenter = sonoseg.load()
        >>> segmenter.segment("scan.png").lesions
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    @property
    def card(self) -> Card:
        """What the network is, for whom, and its limits."""
        return self._bundle.card

    @property
    def path(self) -> Path:
        """The bundle's file."""
        return self._bundle.path

    @property
    def sha256(self) -> str:
        """The checksum of the bundle, 64 hex digits."""
        return self._bundle.sha256

    def segment(
        self, image: ImageLike, spacing: float | None = None, explain: bool = False
    ) -> SegmentationResult:
        """Segments one image.

        Args:
            image: a file, its bytes, an open file, an array, a PIL image or an `Image`; see
                `sonoseg.core.image.read_image`.
            spacing: mm per pixel, the same in both directions; None leaves measurements in pixels, or in mm if an
                `Image` has a spacing.
            explain: ask in the same run where the network looked, for the result's `heat`.

        Raises:
            InputError: the image or the spacing cannot be used, or the bundle cannot explain.
        """
        return self.segment_batch([image], spacing, explain)[0]

    def segment_batch(
        self, images: Sequence[ImageLike], spacing: float | None = None, explain: bool = False
    ) -> list[SegmentationResult]:
        """Segments several images of any sizes in one run of the network; see `segment`."""
        spacing = check_spacing(spacing)
        read = [read_image(image, spacing) for image in images]
        if not read:
            return []
        probabilities, unfamiliarity, heat = self._run([image.pixels for image in read], explain)
        distances = [None] * len(read) if unfamiliarity is None else map(float, unfamiliarity)
        results = [
            self._result(*answer) for answer in zip(read, probabilities, distances, strict=True)
        ]
        if heat is None:
            return results
        return [replace(result, heat_map=one) for result, one in zip(results, heat, strict=True)]

    def check_explains(self) -> None:
        """Raises InputError if the bundle holds no explanation."""
        self._bundle.check_explains()

    def explain(self, image: ImageLike) -> NDArray[np.float32]:
        """Where the network looked: Grad-CAM of its bottleneck (Selvaraju et al. 2017).

        The heat is of the sum of the logits over the pixels of probability above 0.5, or over all where there are
        none; it is coarse, and says where the network is sensitive, not whether it is right.

        Args:
            image: as in `segment`.

        Returns:
            (H, W) float32 in 0..1, of the image's size.

        Raises:
            InputError: the image cannot be used, or the bundle cannot explain.
        """
        heat = self.segment(image, explain=True).heat
        assert heat is not None
        return heat

    def probability(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """The network's own output for (H, W) uint8 images: (N, h, w) float32 in 0..1 at its input's size."""
        grays = list(images)
        return self._run(grays).probability if grays else np.empty((0, *self.card.size), np.float32)

    def _run(self, images: list[NDArray[np.uint8]], explain: bool = False) -> Answers:
        """The network's answers, their maps (N, h, w)."""
        resized = np.stack([resize_image(image, self.card.size) for image in images])
        answers = self._bundle.run(np.divide(resized[:, None], 255, dtype=np.float32), explain)
        heat = None if answers.heat is None else answers.heat[:, 0]
        return answers._replace(probability=answers.probability[:, 0], heat=heat)

    def _result(
        self, image: Image, small: NDArray[np.float32], unfamiliarity: float | None
    ) -> SegmentationResult:
        shape, threshold = image.pixels.shape, self.card.threshold
        mask = np.zeros(shape, bool)
        # Most of a frame is nowhere near a lesion: the rest of it need not be enlarged.
        region = reach(small >= threshold, shape)
        outlined = enlarge(small, shape, region) >= threshold
        mask[region] = drop_small(outlined, self.card.min_lesion_fraction * mask.size)
        spacing = check_spacing(image.spacing)
        name = self.card.name
        return SegmentationResult(
            image.pixels, small, mask, spacing, name, unfamiliarity, image.doubts
        )


def check_spacing(spacing: Any) -> float | None:
    """`spacing` as a number of mm, the same for rows and columns; None for None.

    Raises:
        InputError: not a length, or a pair of two different ones.
    """
    pair = pixel_spacing(spacing)
    if pair is None:
        return None
    if pair[0] != pair[1]:
        problem = (
            f"pixels of {pair[0]:g} × {pair[1]:g} mm are not square, so lengths would be wrong"
        )
        raise InputError("spacing", problem, "resize the image to square pixels")
    return pair[0]


def load(model: Path | str = "default") -> Segmenter:
    """Loads a network by its shipped name or from a bundle file; the last two are kept in memory.

    Raises:
        InputError: no such model, or not a bundle that can be used.
    """
    path = find_bundle(model).resolve()
    status = path.stat()
    return _load(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=2)
def _load(path: Path, _modified: int, _size: int) -> Segmenter:
    """A file that has changed has another key, and is read anew."""
    return Segmenter(Bundle.read(path))
