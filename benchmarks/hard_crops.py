"""Images without a lesion that a network takes for one: crops beside the lesions of its training images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from lever_scores import answers
from PIL import Image
from torch import Tensor

from sonoseg.data.case import Case
from sonoseg.models.network import SegmentationNetwork
from sonoseg.train.augment import lesion_free_crop
from sonoseg.train.dataset import InMemory

DRAWS = 4
"""Crops of each image that are tried."""


@torch.no_grad()
def hard_crops(
    network: SegmentationNetwork,
    cases: Sequence[Case],
    size: int,
    out: Path,
    count: int,
) -> list[Case]:
    """Writes the `count` crops in which the network is surest of a lesion, as PNG files into `out`.

    Args:
        network: trained on `cases`, with a presence head that judges parts.
        cases: images with lesions.
        size: of its input, and of the crops.
        out: this folder is made.
        count: at most one crop of each image is taken.

    Returns:
        The crops as normal cases.
    """
    out.mkdir(parents=True, exist_ok=True)
    images = InMemory(cases, size)
    inputs, masks = images.inputs.float() / 255, images.masks.float()
    surest = torch.full((len(cases),), -torch.inf)
    crops = torch.empty_like(inputs)
    for draw in range(DRAWS):
        torch.manual_seed(draw)
        crop, possible = beside_lesions(inputs, masks)
        pixels, presence = answers(network, crop)
        sure = torch.minimum(pixels, presence).amax((1, 2, 3))
        better = possible & (sure > surest)
        surest[better], crops[better] = sure[better], crop[better]
    found = []
    for row in surest.argsort(descending=True)[:count].tolist():
        case, file = cases[row], out / f"{row}.png"
        Image.fromarray((crops[row, 0] * 255).round().byte().numpy()).save(file)
        found.append(Case(f"{case.name} {row}", file, (), "normal", case.group))
    return found


def beside_lesions(inputs: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 1, H, W) twice → a crop of each image beside its lesion, and which of them are possible (N,)."""
    theta, possible = lesion_free_crop(masks)
    grid = F.affine_grid(theta, list(inputs.shape), align_corners=False)
    crop = F.grid_sample(inputs, grid, padding_mode="zeros", align_corners=False)
    lesion = F.grid_sample(masks, grid, padding_mode="zeros", align_corners=False)
    return crop.clamp(0, 1), possible & (lesion.amax((1, 2, 3)) == 0)
