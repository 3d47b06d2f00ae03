"""Encoders whose blocks have fewer channels inside than they were designed with (see `deploy.slim`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models import EfficientNet
from torch import Tensor, nn


@dataclass(frozen=True)
class Inside:
    """The channels inside one block: `expand` makes them, `depthwise` filters each alone, `project` mixes them.

    Nothing outside the block uses them, so some can be removed without a change of any other shape. In the first block,
    they are the channels that the encoder's first convolution makes.

    Attributes:
        expand, depthwise, project: the convolutions.
        expanded, filtered, projected: the normalisation after each.
        block: its output is that of `projected`, plus its input where the block has a shortcut.
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
        """Removes all channels but those with the numbers `channels` (K,), in place."""
        for conv in (self.expand, self.depthwise):
            weight: Any = conv.weight  # mypy sees a Tensor or a Module
            conv.weight = _parameter(weight, weight[channels])
        mixing = self.project.weight
        self.project.weight = _parameter(mixing, mixing[:, channels])
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
    """The `Inside` of every block of the EfficientNets in `network`, the first block first.

    Networks with squeeze-and-excite have none: it mixes the channels inside a block.
    """
    found: list[Inside] = []
    for module in network.modules():
        if isinstance(module, EfficientNet):
            found.extend(_insides_of(module))
    return found


def _insides_of(encoder: Any) -> Iterator[Inside]:  # timm is untyped
    first_stage, *stages = encoder.blocks
    (first,) = first_stage
    if not isinstance(first.se, nn.Identity):
        return
    # timm's first block does not expand: the encoder's first convolution does that for it.
    yield Inside(
        expand=encoder.conv_stem,
        expanded=encoder.bn1,
        depthwise=first.conv_dw,
        filtered=first.bn1,
        project=first.conv_pw,
        projected=first.bn2,
        block=first,
    )
    for stage in stages:
        for block in stage:
            yield Inside(
                expand=block.conv_pw,
                expanded=block.bn1,
                depthwise=block.conv_dw,
                filtered=block.bn2,
                project=block.conv_pwl,
                projected=block.bn3,
                block=block,
            )


def narrow(network: nn.Module, widths: Sequence[int]) -> None:
    """Keeps the first `widths[i]` channels inside block i, in place: the shapes of a slim run's weights."""
    for inside, width in zip(insides(network), widths, strict=True):
        inside.keep(torch.arange(width))
