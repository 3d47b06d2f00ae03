"""Trained networks that another one learns from besides the masks (distillation, Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoseg.train.run_folder import load_run

SHARE = 0.5
"""Weight of the teachers' mean answer in the target of the pixels; the rest is the mask."""


class Teachers:
    """The networks of several runs. They do not learn.

    Args:
        runs: run folders, or "default", the bundled model. Without any, the target is the mask.

    Raises:
        InputError: one is not a run.
    """

    def __init__(self, runs: Sequence[Path] = ()) -> None:
        loaded = [load_run(run) for run in runs]
        self.models = [
            (model.requires_grad_(False), config.size) for model, config in loaded
        ]

    def to(self, device: torch.device) -> None:
        """Moves the networks."""
        for model, _ in self.models:
            model.to(device)

    @torch.no_grad()
    def truth(self, image: Tensor, mask: Tensor) -> Tensor:
        """The target of the pixel loss for a batch.

        Each teacher gets the image at its own training size. Its pixel logits are used without its presence head:
        whether there is a lesion is learned from the masks alone.

        Args:
            image: (N, 1, H, W) in 0..1, as the network in training gets it.
            mask: (N, 1, H, W) of 0 and 1.

        Returns:
            (N, 1, H, W) in 0..1: the mask itself if there are no teachers.
        """
        if not self.models:
            return mask
        answers = torch.zeros_like(mask)
        for model, size in self.models:
            logits = model.outputs(_resized(image, (size, size))).pixels
            answers += _resized(logits.float().sigmoid(), mask.shape[2:])
        return (1 - SHARE) * mask + SHARE / len(self.models) * answers


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    """(N, 1, H, W) → (N, 1, *size), bilinear."""
    if image.shape[2:] == torch.Size(size):
        return image
    return F.interpolate(
        image, size=tuple(size), mode="bilinear", align_corners=False, antialias=True
    )
