"""What a network draws on the images of a data set that it has not seen, for `levers.py`."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sonoseg.deploy.operating_points import MISSED
from sonoseg.evaluate.cross_table import SMALL
from sonoseg.models.network import Output, SegmentationNetwork
from sonoseg.train.dataset import InMemory
from sonoseg.train.step import as_input

FALSE = 0.37
"""Share of the normal images with a false lesion at which presence heads are compared."""
FEWEST_NORMALS = 20
"""A share of fewer says nothing."""


@torch.no_grad()
def scores(
    network: SegmentationNetwork, images: InMemory
) -> tuple[dict[str, float | None], NDArray[np.float64]]:
    """Dice and missed lesions of the pixels alone at 0.5, and with the presence head where `FALSE` of normals are.

    Args:
        network: the trained network.
        images: all images of the data set that is read, at the size of the training. Masks are compared at this size.

    Returns:
        lesions and normals are numbers of images; dice and missed (Dice under 0.1) are of the pixels alone, small of
        lesions that cover at most 2 % of the image. `judged` are those of the lesions when the head's limit leaves a
        false lesion on `FALSE` of the normal images; None with fewer than `FEWEST_NORMALS`. And Dice of the pixels
        alone for each image with a lesion.
    """
    logits, presence = answers(network, images.inputs)
    pixels = logits > 0
    truth = images.masks.bool()
    area = truth.float().mean((1, 2, 3))
    lesion = area > 0
    small = lesion & (area <= SMALL)
    highest = torch.where(pixels, presence, -torch.inf).amax((1, 2, 3))[~lesion]
    alone = dice(pixels, truth)
    of_lesions = alone[lesion].double().numpy()
    result: dict[str, float | None] = {
        "lesions": int(lesion.sum()),
        **mean_and_missed("", alone[lesion]),
        **mean_and_missed("_small", alone[small]),
        "normals": len(highest),
        "false": float((highest > -torch.inf).float().mean()) if len(highest) else None,
    }
    limit = (
        highest.quantile(1 - FALSE, interpolation="higher")
        if len(highest) >= FEWEST_NORMALS and highest.isfinite().any()
        else None
    )
    if limit is None or not torch.isfinite(presence).all():
        return {**result, "dice_judged": None, "missed_judged": None}, of_lesions
    kept = dice(pixels & (presence > limit), truth)
    return {**result, **mean_and_missed("_judged", kept[lesion])}, of_lesions


@torch.no_grad()
def answers(network: SegmentationNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the pixels, and of the presence head at each pixel.

    Args:
        network: the trained network.
        images: (N, 1, H, W), uint8 or 0..1.

    Returns:
        (N, 1, H, W) twice; the second is infinite without a presence head.
    """
    pixels, presence = [], []
    for rows in images.split(16):
        image = as_input(rows).to(memory_format=torch.channels_last)
        answer = network.eval().outputs(image)
        pixels.append(answer.pixels)
        presence.append(judgement(answer))
    return torch.cat(pixels), torch.cat(presence)


def judgement(answer: Output) -> Tensor:
    """The presence head's logit at each pixel, (N, 1, H, W); infinite without such a head."""
    there = answer.presence
    if there is None:
        return torch.full_like(answer.pixels, torch.inf)
    size = answer.pixels.shape[2:]
    if there.ndim == 2:
        return there[:, :, None, None].expand(-1, -1, *size)
    return F.interpolate(there, tuple(size), mode="bilinear", align_corners=False)


def dice(drawn: Tensor, truth: Tensor) -> Tensor:
    """(N, 1, H, W) bool twice → Dice of each image (N,)."""
    both = (drawn & truth).sum((1, 2, 3))
    return 2 * both / (drawn.sum((1, 2, 3)) + truth.sum((1, 2, 3))).clamp(min=1)


def mean_and_missed(which: str, dice: Tensor) -> dict[str, float]:
    """The mean, and the share of missed lesions."""
    return {
        f"dice{which}": float(dice.mean()),
        f"missed{which}": float((dice < MISSED).float().mean()),
    }
