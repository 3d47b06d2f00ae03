"""Encoders whose blocks have fewer channels inside than they were designed with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from timm.models import EfficientNet
from torch import Tensor, nn


@dataclass(frozen=True)
class Inside:
    """The channels inside one block: `expand` makes them, `depthwise` filters each alone, `project` mixes them.

    Nothing outside the block sees them, so that some may go without anything else changing its shape. Inside the
    first block are those that the encoder's very first convolution makes.

    Attributes:
        expand, depthwise, project: the convolutions.
        expanded, filtered, projected: the normalisation after each.
        block: what `projected` leaves, and with a shortcut what came in, leaves the block.
    """

    expand: nn.Conv2d
    expanded: nn.BatchNorm2d
    depthwise: nn.Module
    filtered: nn.BatchNorm2d
    project: nn.Conv2d
    projected: nn.BatchNorm2d
    block: nn.Module

    @property
    def width(self) -> int:
        """How many channels there are."""
        return self.project.in_channels

    def keep(self, channels: Tensor) -> None:
        """Leaves only those of the numbers `channels` (K,)."""
        for conv in (self.expand, self.depthwise):
            conv.weight = _parameter(conv.weight, conv.weight[channels])  # type: ignore[index]  # Tensor or Module
        self.project.weight = _parameter(self.project.weight, self.project.weight[:, channels])
        for norm in (self.expanded, self.filtered):
            norm.weight = _parameter(norm.weight, norm.weight[channels])
            norm.bias = _parameter(norm.bias, norm.bias[channels])
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean = norm.running_mean[channels]
            norm.running_var = norm.running_var[channels]
            norm.num_features = len(channels)
        self.expand.out_channels = self.project.in_channels = len(channels)


def _parameter(old: Any, new: Tensor) -> nn.Parameter:
    return nn.Parameter(new.detach().clone(), requires_grad=old.requires_grad)


def insides(network: nn.Module) -> list[Inside]:
    """Those of the EfficientNets in `network`, from the first block on.

    None of a block with squeeze-and-excite, whose channels see each other.
    """
    return [
        inside
        for encoder in network.modules()
        if isinstance(encoder, EfficientNet)
        for inside in _of(encoder)
    ]


def _of(encoder: Any) -> Iterator[Inside]:  # timm is untyped
    (first,), *stages = encoder.blocks
    if not isinstance(first.se, nn.Identity):
        return
    yield Inside(
        encoder.conv_stem, encoder.bn1, first.conv_dw, first.bn1, first.conv_pw, first.bn2, first
    )
    for block in chain(*stages):
        yield Inside(
            block.conv_pw, block.bn1, block.conv_dw, block.bn2, block.conv_pwl, block.bn3, block
        )


def narrow(network: nn.Module, widths: Sequence[int]) -> None:
    """Leaves so many channels inside each block, the first of them: the shape for weights that are to be loaded."""
    for inside, width in zip(insides(network), widths, strict=True):
        inside.keep(torch.arange(width))
