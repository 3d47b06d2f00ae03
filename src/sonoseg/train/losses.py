"""The losses that the paper names and their sums, and the loss of a whole network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoseg.models.network import Output


def bce(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over the pixels of the images that count."""
    per_image = F.binary_cross_entropy_with_logits(
        logits, truth, reduction="none"
    ).mean((1, 2, 3))
    return _mean(per_image, counted)


def batch_dice(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """1 − Dice of the batch as one large image.

    An image without lesion is background in it, and a small lesion counts for little.
    """
    overlap, both = _overlap(logits, truth)
    overlap, both = (overlap * counted).sum(), (both * counted).sum()
    return 1 - (2 * overlap + SMOOTH) / (both + SMOOTH)


def image_dice(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """The mean over the images that count of 1 − Dice."""
    overlap, both = _overlap(logits, truth)
    return _mean(1 - (2 * overlap + SMOOTH) / (both + SMOOTH), counted)


SMOOTH = 1.0
"""Added above and below in a Dice. Where there is no lesion, about so many pixels may be drawn at little cost."""


def bce_and_dice(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """The sum of both."""
    return bce(logits, truth, counted) + batch_dice(logits, truth, counted)


def weighted_bce_and_dice(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """The sum that Cao et al. 2021 trained Swin-Unet with."""
    return 0.4 * bce(logits, truth, counted) + 0.6 * batch_dice(logits, truth, counted)


def bce_and_image_dice(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """The sum of both; a small lesion counts as much as a large one."""
    return bce(logits, truth, counted) + image_dice(logits, truth, counted)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "bce": bce,
    "dice": batch_dice,
    "bce+dice": bce_and_dice,
    "0.4bce+0.6dice": weighted_bce_and_dice,
    "bce+image-dice": bce_and_image_dice,
}
"""Name → loss of logits (N, 1, H, W), truth (N, 1, H, W) in 0..1, and which images count, (N,) of 0 and 1.

The other images are multiplied by 0, not left out: to know how many are left, a GPU would have to be waited for.
"""


SMALLEST_LESION = 20
"""Pixels. Augmentation can move a lesion out of the picture; what is left of it below this size is no lesion."""
PRESENCE_SHARE = 0.3
"""Weight of the presence head's loss beside that of the pixels."""


class Terms(NamedTuple):
    """The terms of a loss. Their sum is the loss of a batch.

    Each is a mean over other images: over several batches, each is to be weighted by its own count. Only the Dice of a
    whole batch is no such mean, and depends on the batch.

    Attributes:
        means: (T,).
        counts: (T,), how many images, lesions or false parts each is the mean of.
    """

    means: Tensor
    counts: Tensor


def segmentation_loss(
    output: Output, loss: str, mask: Tensor, target: Tensor
) -> tuple[Tensor, Terms]:
    """The loss of what a network returned for a batch, a number, and its terms, without a gradient.

    In a network that judges presence, only the presence head learns from images without a lesion. Its pixels learn
    from the images that have one: pixels that also learn from normal images overlook faint lesions.

    Args:
        output: of the network, in float32.
        loss: a name of `LOSSES`.
        mask: (N, 1, H, W) of 0 and 1.
        target: what the pixels learn, (N, 1, H, W) in 0..1: the mask, or the mask mixed with teachers' answers.
    """
    has_lesion = (mask.sum((1, 2, 3)) > SMALLEST_LESION).float()
    if output.presence is None:
        every = torch.ones_like(has_lesion)
        pixel_loss = LOSSES[loss](output.pixels, target, every)
        return pixel_loss, Terms(pixel_loss.detach()[None], every.sum()[None])
    pixel_loss = LOSSES[loss](output.pixels, target, has_lesion)
    judged = presence_terms(output.presence, output.pixels, mask, has_lesion)
    means = torch.cat([pixel_loss[None], PRESENCE_SHARE * judged.means])
    counts = torch.cat([has_lesion.sum()[None], judged.counts])
    total = pixel_loss + PRESENCE_SHARE * judged.means.sum()
    return total, Terms(means.detach(), counts)


def presence_terms(
    presence: Tensor, pixels: Tensor, truth: Tensor, there: Tensor
) -> Terms:
    """How wrong the presence head judges: cross-entropy of each image, or of lesions and false parts.

    Of a head that judges parts, what is drawn inside the true lesion counts as one lesion, and what is drawn away from
    it as one false part. The pixels' logits get no gradient.

    Args:
        presence: the head's logits, (N, 1) or (N, 1, h, w).
        pixels: the pixels' logits, (N, 1, H, W).
        truth: (N, 1, H, W) of 0 and 1.
        there: which images have a lesion, (N,) of 0 and 1.

    Returns:
        The mean over the images; or the mean over the lesions and the mean over the false parts, each 0 where there are
        none. The loss is their sum.
    """
    if presence.ndim == 2:
        mean = F.binary_cross_entropy_with_logits(presence[:, 0], there)
        return Terms(mean[None], torch.ones_like(there).sum()[None])
    cell = truth.shape[2] // presence.shape[2]
    drawn = pixels.detach().float().sigmoid()
    near = F.max_pool2d(truth, 2 * BORDER + 1, 1, BORDER)
    right = F.avg_pool2d((drawn + OVERLOOKED) * truth, cell)
    wrong = F.avg_pool2d(drawn * (1 - near), cell)
    false = (wrong.sum((1, 2, 3)) > LEAST_FALSE).float()
    lesion = F.binary_cross_entropy_with_logits(
        _weighted(presence, right), there, reduction="none"
    )
    part = F.binary_cross_entropy_with_logits(
        _weighted(presence, wrong), torch.zeros_like(there), reduction="none"
    )
    means = torch.stack([_mean(lesion, there), _mean(part, false)])
    return Terms(means, torch.stack([there.sum(), false.sum()]))


BORDER = 4
"""Pixels around the true lesion that count neither as lesion nor as false part."""
OVERLOOKED = 0.05
"""Weight of true lesion that is not drawn: a lesion that is overlooked is still judged."""
LEAST_FALSE = 0.25
"""Cells that a false part must cover to be judged."""


def _weighted(values: Tensor, weight: Tensor) -> Tensor:
    """Of (N, 1, h, w), the mean by weight, (N,)."""
    return (values * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) + 1e-3)


def _overlap(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image, ∑ p·t and ∑ p + ∑ t, (N,): what Dice is made of (Milletari et al. 2016, without the squares)."""
    probability = logits.float().sigmoid()
    return (probability * truth).sum((1, 2, 3)), (probability + truth).sum((1, 2, 3))


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Of the values (N,) that count; 0 where none does."""
    return (values * counted).sum() / counted.sum().clamp(min=1)
