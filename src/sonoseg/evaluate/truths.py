"""The reference masks of an evaluation, on its grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.resize import resize_mask
from sonoseg.data.case import Case
from sonoseg.errors import counted
from sonoseg.progress import track

_logger = logging.getLogger(__name__)


def read_truths(
    cases: Sequence[Case], size: tuple[int, int], progress: bool
) -> list[NDArray[np.bool_]]:
    """Every reference mask on the grid, (h, w) bool.

    Warns of lesions that no pixel of the grid shows, and of labels that contradict their mask. Reading a mask also
    checks that the image can be read and has its size.

    Args:
        cases: of the evaluation.
        size: (h, w) of the grid in pixels.
        progress: show a progress bar on stderr.

    Raises:
        InputError: an image or mask cannot be read.
    """
    truths, lost, contradicted = [], [], []
    for case in track(cases, "reading masks", len(cases), "image", progress):
        mask = case.read_mask()
        truths.append(resize_mask(mask, size))
        if mask.any() and not truths[-1].any():
            lost.append(case.name)
        if case.label != "unknown" and (case.label == "normal") == bool(mask.any()):
            contradicted.append(case)
    if lost:
        _logger.warning(
            "the lesion of %s is too small for the grid of %d × %d pixels, first %s: it counts as no lesion",
            counted(len(lost), "image"),
            *size,
            lost[0],
        )
    if contradicted:
        first = contradicted[0]
        mask_is = "has a lesion" if first.label == "normal" else "is empty"
        _logger.warning(
            "the label of %s contradicts the mask, first %s: it is labelled %s, and its mask %s; the mask counts",
            counted(len(contradicted), "image"),
            first.name,
            first.label,
            mask_is,
        )
    return truths
