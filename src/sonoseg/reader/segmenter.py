"""From an image to its mask: resize, network, threshold."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.image import Image, read_image
from sonoseg.core.measure import Spacing, drop_small
from sonoseg.core.resize import enlarge, reach, resize_image, unit_range
from sonoseg.core.source import Source
from sonoseg.describe.malignancy_head import Judge, MalignancyHead
from sonoseg.errors import visible
from sonoseg.reader.answers import Answers
from sonoseg.reader.batch import read_batch
from sonoseg.reader.bundle import Bundle, find_bundle
from sonoseg.reader.card import Card
from sonoseg.reader.file_kinds import kind_of
from sonoseg.reader.result import SegmentationResult

_logger = logging.getLogger(__name__)
ImageLike = Source | Image
"""See `sonoseg.core.image.read_image`."""
PixelSize = float | Spacing
"""mm per pixel: one number for square pixels, or (row, column)."""
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II", b"MM")
"""How PNG, JPEG, BMP and TIFF files begin."""


class Segmenter:
    """A network, loaded once and used often; may be shared between threads, and sent to other processes.

    What is pickled is the bundle's path and checksum, not the network: the file must be there in the other process.

    Example:
        >>> segmenter = sonoseg.load()
        >>> segmenter.segment("scan.png").lesions
    """

    def __init__(self, bundle: Bundle, sensitivity: str | None = None) -> None:
        self._bundle = bundle
        self._size = bundle.card.size
        self._presence_shift = 0.0
        if sensitivity is not None:
            self._presence_shift = bundle.presence_shift(sensitivity)
        self.sensitivity = sensitivity
        """Name of the operating point; None: as the network was trained."""
        self.card: Card = bundle.card
        """What the network is, for whom, and its limits."""

    @property
    def path(self) -> Path:
        """The bundle's file."""
        return self._bundle.path

    @property
    def sha256(self) -> str:
        """The checksum of the bundle, 64 hex digits."""
        return self._bundle.sha256

    def at(self, sensitivity: str) -> Segmenter:
        """The same network at another operating point. Only the choice which lesions are kept changes.

        Args:
            sensitivity: high (few lesions are missed), balanced, or specific (few false lesions). The card's
                `sensitivity` has the cuts; docs/model-card.md has what was measured at each.

        Raises:
            InputError: there is no such operating point, or the bundle has none.
        """
        return Segmenter(self._bundle, sensitivity)

    @property
    def head(self) -> MalignancyHead | None:
        """Judges the malignancy of lesions (see `DescribedLesion.malignancy`); None if the bundle has none."""
        return self._bundle.head

    def segment(
        self, image: ImageLike, spacing: PixelSize | None = None, explain: bool = False
    ) -> SegmentationResult:
        """Segments one image.

        Args:
            image: a file, its bytes, an open file, an array, a PIL image or an `Image`; see
                `sonoseg.core.image.read_image`. Also a DICOM file or a pydicom data set, of one frame with one
                B-mode region: the result then has the size of the whole frame.
            spacing: mm per pixel: one number, or (row, column), which are the distances between neighbouring rows
                and between neighbouring columns. None leaves measurements in pixels, or in mm if an `Image` has a
                spacing.
            explain: ask in the same run where the network looked, for the result's `heat`.

        Raises:
            InputError: the image or the spacing cannot be used, or the bundle cannot explain.
        """
        kind = None if _is_picture(image) else kind_of(image)
        if kind is not None:
            return kind.segment_still(self, image, spacing, explain)
        return self._segment([read_image(image, spacing)], explain)[0]

    def segment_frames(
        self, source: ImageLike, spacing: PixelSize | None = None, explain: bool = False
    ) -> Iterator[SegmentationResult]:
        """Segments a DICOM file, one result for each B-mode region of each frame; a picture has one result.

        Args:
            source: a DICOM file, still or loop, in any form that `segment` takes; or a picture.
            spacing: mm per pixel as in `segment`; replaces that of the file.
            explain: as in `segment`.

        Yields:
            the results frame by frame, regions from left to right, whose maps have the size of the whole frame.
            `result.record.source` names frame and region.

        Raises:
            InputError: as `segment`; raised when the frame at fault is reached.

        Example:
            >>> for result in segmenter.segment_frames("loop.dcm"):
            ...     result.lesions
        """
        kind = kind_of(source)
        if kind is None:
            yield self.segment(source, spacing, explain)
        else:
            yield from kind.segment_frames(self, source, spacing, explain)

    def segment_batch(
        self,
        images: Sequence[ImageLike],
        spacing: PixelSize | None = None,
        explain: bool = False,
    ) -> list[SegmentationResult]:
        """Segments several pictures or arrays of any sizes in one run of the network; see `segment`.

        Raises:
            InputError: as `segment`, with the place in the batch of what has no name; an image is DICOM; or `images`
                is one image, or no list.
        """
        read = read_batch(images, spacing)
        return self._segment(read, explain) if read else []

    def _segment(self, read: list[Image], explain: bool) -> list[SegmentationResult]:
        """The results for at least one image, from one run of the network."""
        answers = self._run([image.pixels for image in read], explain)
        return [self._result(image, answers, row) for row, image in enumerate(read)]

    def check_explains(self) -> None:
        """Raises InputError if the bundle contains no Grad-CAM."""
        self._bundle.check_explains()

    def warn_of_heat(self) -> None:
        """Logs a warning if the heat explains another mask than the one that is drawn (see `explain`)."""
        if self._presence_shift or self.card.threshold != 0.5:
            _logger.warning(
                "sonoseg: a heat map is that of the network without operating point: of the pixels of at least 0.5, "
                "not of the mask that is drawn"
            )

    def explain(self, image: ImageLike) -> NDArray[np.float32]:
        """Where the network looked: Grad-CAM of its bottleneck (Selvaraju et al. 2017).

        The heat is of the sum of the logits over the pixels of probability above 0.5, or over all where there are
        none; it is coarse, and says where the network is sensitive, not whether it is right. It is that of the network
        without operating point: at another `sensitivity`, or with a bundle's own threshold other than 0.5, it explains
        another mask than the one that is drawn.

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
        if not grays:
            return np.empty((0, *self._size), np.float32)
        return self._run(grays).probability

    def _run(self, images: list[NDArray[np.uint8]], explain: bool = False) -> Answers:
        """The network's answers, their maps (N, h, w)."""
        resized = [resize_image(image, self._size) for image in images]
        batch = unit_range(np.stack(resized)[:, None])
        answers = self._bundle.run(batch, explain, self._presence_shift)
        heat = None if answers.heat is None else answers.heat[:, 0]
        return answers._replace(probability=answers.probability[:, 0], heat=heat)

    def _result(self, image: Image, answers: Answers, row: int) -> SegmentationResult:
        """What the network's answers to the image in this row of the batch mean."""
        card, shape = self.card, image.pixels.shape
        probability = answers.probability[row]
        distances, heats = answers.unfamiliarity, answers.heat
        distance = None if distances is None else float(distances[row])
        judge = None
        if self.head is not None:
            own_maps = tuple(maps[row] for maps in answers.maps)
            judge = Judge(self.head, own_maps, distance)
        mask = np.zeros(shape, bool)
        # Most of a frame is nowhere near a lesion: the rest of it need not be enlarged.
        region = reach(probability >= card.threshold, shape)
        outlined = enlarge(probability, shape, region) >= card.threshold
        mask[region] = drop_small(outlined, card.min_lesion_fraction * mask.size)
        return SegmentationResult(
            image,
            probability,
            mask,
            card.name,
            distance,
            None if heats is None else heats[row],
            judge,
        )


def load(model: Path | str = "default", sensitivity: str | None = None) -> Segmenter:
    """Loads a network by its shipped name or from a bundle file; the last two are kept in memory.

    An operating point that is the same as "balanced", because nothing better was found for it, is logged as a warning.

    Args:
        model: a shipped name or a bundle file.
        sensitivity: an operating point, see `Segmenter.at`; None: as the network was trained.

    Raises:
        InputError: no such model, not a bundle that can be used, or it has no such operating point.
    """
    path = find_bundle(model).resolve()
    status = path.stat()
    segmenter = _load(path, status.st_mtime_ns, status.st_size)
    if sensitivity is None:
        return segmenter
    chosen = segmenter.at(sensitivity)
    cuts = segmenter.card.sensitivity
    if sensitivity != "balanced" and cuts[sensitivity] == cuts.get("balanced"):
        name = visible(segmenter.card.name)
        _logger.warning(
            "sonoseg: the operating point %s of %s is the same as balanced (%g)",
            sensitivity,
            name,
            cuts[sensitivity],
        )
    return chosen


@functools.lru_cache(maxsize=2)
def _load(path: Path, _modified: int, _size: int) -> Segmenter:
    """A file that has changed has another key, and is read anew."""
    return Segmenter(Bundle.read(path))


def _is_picture(image: ImageLike) -> bool:
    """Whether an image certainly is of no other kind, so that most images are opened once only.

    A DICOM file may begin like a TIFF file (PS3.10 section 7.1), but has its mark after 128 bytes.
    """
    if isinstance(image, (Image, np.ndarray)):
        return True
    head = b""
    if isinstance(image, bytes):
        head = image[:132]
    elif isinstance(image, (str, os.PathLike)) and os.path.isfile(image):  # noqa: PTH113 - never raises
        try:
            with Path(os.fsdecode(image)).open("rb") as file:
                head = file.read(132)
        except OSError:
            return True  # the picture's reader says why
    return head.startswith(_PICTURES) and head[128:] != b"DICM"
