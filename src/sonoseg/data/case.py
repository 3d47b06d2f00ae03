"""One ultrasound image of a data set, with its masks and what is known about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.image import read_image
from sonoseg.core.mask import read_reference
from sonoseg.core.measure import Spacing
from sonoseg.errors import InputError

_logger = logging.getLogger(__name__)

LABELS = ("benign", "malignant", "normal", "unknown")
NO_PATIENT = "no-patient-"
"""Begins the groups of images whose patient is not known: other groups may hold images of the same patient."""


@dataclass(frozen=True)
class Case:
    """One image of a data set. Nothing is read before `read_image` or `read_mask` is called.

    Attributes:
        name: the image's file name, unique in its data set.
        image: path of the image.
        masks: paths of its lesion masks; none for a normal image whose data set has no mask for it.
        label: one of `LABELS`.
        group: patient, or group of near-copies; the images of a group never part in a split.
        spacing: mm per pixel, one number, or (row, column) where pixels are not square; None where it is not known.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    label: str
    group: str
    spacing: float | Spacing | None = None

    def read_image(self) -> NDArray[np.uint8]:
        """The image, (H, W) uint8 gray. Doubts about its pixels are logged as warnings.

        Raises:
            InputError: the file is not an image that can be read.
        """
        image = read_image(self.image)
        for doubt in image.doubts:
            _logger.warning("%s: %s", self.image, doubt)
        return image.pixels

    def read_mask(self) -> NDArray[np.bool_]:
        """The reference mask, (H, W) bool: the union of all masks; all False without masks.

        Raises:
            InputError: a file cannot be read, or a mask has another size than the image, or is an outline.
        """
        return self.read()[1]

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """`read_image` and `read_mask` together, the image decoded once."""
        image = self.read_image()
        union = np.zeros(image.shape, np.bool_)
        for path in self.masks:
            mask = read_reference(path).pixels
            if mask.shape != image.shape:
                raise InputError(
                    path,
                    size_problem(mask.shape, image.shape),
                    "save the mask with the size of its image",
                )
            union |= mask
        return image, union

    @property
    def pixel_size(self) -> Spacing | None:
        """mm between neighbouring (rows, columns) of the image; None where it is not known."""
        if self.spacing is None or isinstance(self.spacing, tuple):
            return self.spacing
        return self.spacing, self.spacing

    @property
    def has_truth(self) -> bool:
        """Whether it is known what is lesion: there is a mask, or the image is labelled normal."""
        return bool(self.masks) or self.label == "normal"

    def full_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width of the image to which `spacing` belongs; `shape` is that of the image as it is read."""
        return shape

    def check_resizable(self, size: int, what: str, only: bool = True) -> None:
        """Refuses an image that cannot be resized to `size` × `size` pixels. Image files can be resized to any size.

        Args:
            size: in pixels.
            what: what needs this size, for the message, such as "training".
            only: whether no other size is needed, so that a pack of this size would do.

        Raises:
            InputError: as a subclass says.
        """


def size_problem(mask: tuple[int, ...], image: tuple[int, ...]) -> str:
    """Says that a mask of shape (H, W) `mask` does not fit an image of shape `image`."""
    return f"the mask is {mask[1]} × {mask[0]} pixels, its image is {image[1]} × {image[0]}"
