"""Reads the images of a batch, and says of one that cannot be used which it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from sonoseg.core.image import Image, read_image
from sonoseg.core.source import NAMELESS, name_of
from sonoseg.errors import InputError
from sonoseg.reader.file_kinds import kind_of


def read_batch(images: Iterable[Any], spacing: Any = None) -> list[Image]:
    """The images of a batch, read one by one.

    Args:
        images: sources of `read_image`, in a list or the like.
        spacing: of all of them, as `read_image` takes it.

    Raises:
        InputError: as `read_image`, with the place in the batch of what has no name; an image is DICOM; or `images` is
            one image, or no list.
    """
    _check_several(images)
    sources = list(images)
    read = []
    for number, source in enumerate(sources, 1):
        try:
            _refuse_dicom(source)
            read.append(read_image(source, spacing))
        except InputError as error:
            if error.subject != NAMELESS:
                raise
            place = f"image {number} of {len(sources)}"
            raise InputError(place, error.problem, error.hint) from error
    return read


def _refuse_dicom(source: Any) -> None:
    if kind_of(source) is not None:
        problem = "is a DICOM image, which a batch does not take"
        raise InputError(name_of(source), problem, "use segment or segment_frames")


def _check_several(images: object) -> None:
    """Refuses one image in place of several: a path would be taken for a list of its letters."""
    is_one = isinstance(images, (str, bytes, bytearray, memoryview))
    if isinstance(images, np.ndarray):  # others are many: (N,) paths, (N, H, W)
        is_one = images.ndim in (0, 2) or images.shape[2:] in ((3,), (4,))
    if is_one or hasattr(images, "read") or not isinstance(images, Iterable):
        problem = f"a {type(images).__name__} is not a list of images"
        hint = "use segment for one image, or give [image]"
        raise InputError("images", problem, hint)
