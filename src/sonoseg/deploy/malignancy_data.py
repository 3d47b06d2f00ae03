"""The lesions of data sets as a malignancy head sees them: features under the reference mask and the own outline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sonoseg.core.measure import drop_small, largest_part
from sonoseg.core.resize import enlarge, resize_image, unit_range
from sonoseg.data.busi import is_labelled
from sonoseg.data.case import Case
from sonoseg.deploy.fit_malignancy import Lesions
from sonoseg.describe.malignancy import Vector, pool_maps
from sonoseg.models.network import SegmentationNetwork

MAPS = (2, 3)
"""The encoder's maps that the head looks at: those at strides 8 and 16."""


class Look(NamedTuple):
    """What a network returns for one image: probability (h, w), and its maps at strides 8 and 16, each (C, h', w')."""

    probability: NDArray[np.float32]
    maps: list[NDArray[np.float32]]


class Seen(NamedTuple):
    """One outline of one image.

    Attributes:
        vector: see `pool_maps`.
        outline: mean probability of the outlined pixels.
        dice: of the outline and the reference mask.
    """

    vector: Vector
    outline: float
    dice: float


def looker(
    model: SegmentationNetwork, size: tuple[int, int], temperature: float = 1.0
) -> Callable[[NDArray[np.uint8]], Look]:
    """A function that runs the network on one gray image (H, W) uint8.

    Args:
        model: in evaluation mode.
        size: (h, w) of its input.
        temperature: of its calibration.
    """
    device = next(model.parameters()).device

    @torch.inference_mode()
    def look(image: NDArray[np.uint8]) -> Look:
        pixels = unit_range(resize_image(image, size))
        batch = torch.from_numpy(pixels)[None, None].to(device)
        features, maps = model.encode(batch)
        logits = model.decode(features, maps, size).logits
        probability = (logits / temperature).sigmoid()[0, 0].cpu().numpy()
        return Look(probability, [maps[at][0].cpu().numpy() for at in MAPS])

    return look


def see(
    truth: NDArray[np.bool_], look: Look, threshold: float = 0.5
) -> tuple[Seen, Seen | None]:
    """The lesion under its reference mask, and under the largest own outline.

    Args:
        truth: (H, W), the reference mask; not empty.
        look: at its image.
        threshold: a pixel is lesion from this probability on.

    Returns:
        the second is None if no lesion was outlined.
    """
    reference = Seen(pool_maps(look.maps, truth), 1.0, 1.0)
    probability = enlarge(look.probability, truth.shape)
    own = largest_lesion(probability >= threshold)
    if not own.any():
        return reference, None
    vector = pool_maps(look.maps, own)
    overlap = 2 * np.count_nonzero(own & truth) / (own.sum() + truth.sum())
    return reference, Seen(vector, float(probability[own].mean()), float(overlap))


def largest_lesion(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part of a mask (H, W); several if they are of one size."""
    return drop_small(mask, largest_part(mask))


def read_lesions(
    look: Callable[[NDArray[np.uint8]], Look],
    cases: Iterable[Case],
    threshold: float = 0.5,
) -> Lesions | None:
    """Two rows for each case whose lesion is labelled benign or malignant: reference mask and own outline.

    Args:
        look: see `looker`.
        cases: those whose label cannot be learned are passed over (see `is_labelled`).
        threshold: a pixel is lesion from this probability on.

    Returns:
        None if there is no such case.

    Raises:
        InputError: an image or a mask cannot be read.
    """
    rows: list[tuple[Seen, bool, str, bool]] = []
    for case in cases:
        if not is_labelled(case) or not case.has_truth:
            continue
        image, truth = case.read()
        if not truth.any():
            continue
        found = see(truth, look(image), threshold)
        group = f"{case.image.parent.parent}:{case.group}"  # data sets may share names
        for is_own, seen in enumerate(found):
            if seen is not None:
                rows.append((seen, case.label == "malignant", group, bool(is_own)))
    return _table(rows) if rows else None


def _table(rows: Sequence[tuple[Seen, bool, str, bool]]) -> Lesions:
    seen, malignant, groups, is_own = zip(*rows, strict=True)
    return Lesions(
        np.stack([each.vector for each in seen]),
        np.array(malignant),
        np.array(groups),
        np.array(is_own),
        np.array([each.outline for each in seen], np.float32),
        np.array([each.dice for each in seen], np.float32),
    )
