"""What is kept of an image when a reader accepts it: how it was outlined and measured, and by whom."""

from __future__ import annotations

import time

import numpy as np

from sonoseg.describe.malignancy import Malignancy
from sonoseg.reader.result import SegmentationResult
from sonoseg.serve import collect
from sonoseg.serve.calipers import diameters_text, measured, spacing_of
from sonoseg.serve.history import History
from sonoseg.serve.records import (
    CALIPERS,
    OUTLINE,
    PIXEL_SIZE,
    Accepted,
    Finding,
    Network,
)
from sonoseg.serve.scenes import Shot


def make_accepted(
    shot: Shot,
    history: History,
    finding: Finding,
    result: SegmentationResult,
    network: Network,
    earlier: Accepted | None,
) -> Accepted:
    """What is accepted of an image, but for the patient, the doubts and the remark.

    Args:
        shot: the image.
        history: with the mask.
        finding: what the reader wrote.
        result: what the network in use says of the image.
        network: the one in use.
        earlier: what the reader has accepted before.
    """
    lesions, is_by_hand = measured(
        history.mask, result, finding, history.calipers, is_judged=True
    )
    changed = []
    if not np.array_equal(history.mask, history.start):
        changed.append(OUTLINE)
    if any(is_by_hand):
        changed.append(CALIPERS)
    if spacing_of(finding, result.spacing) != result.spacing:
        changed.append(PIXEL_SIZE)
    judged: tuple[Malignancy | None, ...]
    if history.network == network:
        judged = tuple(lesion.malignancy for lesion in lesions)
    elif earlier is not None and earlier.number == history.number:
        judged = earlier.malignancies
    else:  # the network in use must not speak for the one that is named
        judged = (None,) * len(lesions)
    return Accepted(
        finding,
        history.number,
        collect.collected_name(shot),
        "",
        diameters_text(lesions),
        time.time(),
        history.network,
        history.calipers,
        tuple(changed),
        judged,
    )
