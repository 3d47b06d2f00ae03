"""Means and covariances of the channels inside a network's blocks, measured on images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sonoseg.deploy.run_predictor import BATCH
from sonoseg.models.narrow import insides
from sonoseg.models.network import SegmentationNetwork
from sonoseg.progress import track

DAMPING = 1e-6
"""Share of the channels' mean variance that is added to each variance. Some channels are always 0, and a covariance
with a row of zeros has no inverse."""


@dataclass
class Moments:
    """Sums over all positions of all images, in float64: float32 would lose the last digits of such large sums.

    Attributes:
        places: number of positions.
        total: of each channel inside a block after its filter, (E,).
        products: of each pair of these channels, (E, E).
        leaving: of each channel of the block's output, (C,).
        leaving_squares: of their squares, (C,).
    """

    places: int = 0
    total: Tensor | float = 0.0
    products: Tensor | float = 0.0
    leaving: Tensor | float = 0.0
    leaving_squares: Tensor | float = 0.0

    def add_inside(self, _: Any, inputs: tuple[Tensor]) -> None:
        """A hook before `Inside.project`."""
        channels = inputs[0].transpose(0, 1).flatten(1)
        self.places += channels.shape[1]
        self.total = self.total + channels.double().sum(1)
        self.products = self.products + (channels @ channels.T).double()

    def add_leaving(self, _: Any, __: Any, output: Tensor) -> None:
        """A hook after `Inside.block`."""
        channels = output.transpose(0, 1).flatten(1).double()
        self.leaving = self.leaving + channels.sum(1)
        self.leaving_squares = self.leaving_squares + channels.square().sum(1)

    @property
    def mean(self) -> Tensor:
        """Of each channel inside, (E,)."""
        return torch.as_tensor(self.total / self.places)

    @property
    def covariance(self) -> Tensor:
        """Of the channels inside, (E, E), positive definite (see `DAMPING`)."""
        mean_products = torch.as_tensor(self.products / self.places)
        covariance = mean_products - torch.outer(self.mean, self.mean)
        covariance.diagonal().add_(DAMPING * covariance.diagonal().mean())
        return covariance

    @property
    def variance_leaving(self) -> float:
        """Of the block's output, all channels added up."""
        mean = torch.as_tensor(self.leaving / self.places)
        return float((self.leaving_squares / self.places - mean.square()).sum())


@torch.inference_mode()
def observe(model: SegmentationNetwork, images: Tensor) -> list[Moments]:
    """The `Moments` in each of `insides(model)` on images (N, 1, H, W) uint8."""
    seen, hooks = [], []
    for inside in insides(model):
        moments = Moments()
        seen.append(moments)
        hooks.append(inside.project.register_forward_pre_hook(moments.add_inside))
        hooks.append(inside.block.register_forward_hook(moments.add_leaving))
    batches = torch.split(images, BATCH)
    for batch in track(batches, "looking at images", len(batches), "batch"):
        pixels = batch.float() / 255
        model.encode(pixels.to(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()
    return seen
