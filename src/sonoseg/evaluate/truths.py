"""The reference masks of an evaluation, on its grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.resize import resize_mask
from sonoseg.data.case import Case
from sonoseg.progress import track

_logger = logging.getLogger(__name__)


def read_truths(
    cases: Sequence[Case], size: tuple[int, int], progress: bool
) -> list[NDArray[np.bool_]]:
    """Every reference mask on the grid, (h, w) bool. Warns of lesions that no pixel of the grid shows.

    Reading a mask also checks that the image can be read and has its size.

    Args:
        cases: of the evaluation.
        size: (h, w) of the grid in pixels.
        progress: show a progress bar on stderr.

    Raises:
        InputError: an image or mask cannot be read.
    """
    truths, lost = [], []
    for case in track(cases, "reading masks", len(cases), "image", progress):
        mask = case.read_mask()
        truths.append(resize_mask(mask, size))
        if mask.any() and not truths[-1].any():
            lost.append(case.name)
    if lost:
        images = f"{len(lost)} images" if len(lost) > 1 else "1 image"
        _logger.warning(
            "the lesion of %s is too small for the grid of %d × %d pixels, first %s: it counts as no lesion",
            images,
            *size,
            lost[0],
        )
    return truths
