"""What every segmentation network has: an encoder, a decoder, outputs with names, and layers that can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Output(NamedTuple):
    """What a network returns for N images.

    Attributes:
        pixels: (N, 1, H, W), a logit for each pixel: is it lesion?
        presence: logits of the presence head, (N, 1) for each image or (N, 1, h, w) for each place: is there a lesion
            at all? None if the network has no such head.
    """

    pixels: Tensor
    presence: Tensor | None = None

    @property
    def logits(self) -> Tensor:
        """(N, 1, H, W): the smaller one of the pixel's logit and of the presence's.

        No pixel is more probable than that there is a lesion in its image, or at its place.
        """
        if self.presence is None:
            return self.pixels
        if self.presence.ndim == 2:
            return torch.minimum(self.pixels, self.presence[:, :, None, None])
        size = tuple(self.pixels.shape[2:])
        there = F.interpolate(
            self.presence, size=size, mode="bilinear", align_corners=False
        )
        # The gradient is that of the pixels: an explanation shows why the outline was drawn, not why it was kept.
        return self.pixels + (torch.minimum(self.pixels, there) - self.pixels).detach()

    def divided_by(self, temperature: float) -> Output:
        """All logits divided by a temperature."""
        presence = None if self.presence is None else self.presence / temperature
        return Output(self.pixels / temperature, presence)

    def float(self) -> Output:
        """The same numbers in float32."""
        presence = None if self.presence is None else self.presence.float()
        return Output(self.pixels.float(), presence)


class SegmentationNetwork(nn.Module):
    """Image → features and maps → `Output`. Subclasses define `encode`, and `decode` where stages do not suffice.

    Attributes:
        bottleneck: an identity that `decode` passes the features through, so that Grad-CAM finds them by name.
        dropout: of the features, before the decoder.
        stages: of the decoder, the deepest first; each returns one map (N, C, h, w).
        head: the last stage's map → logits.
    """

    bottleneck: nn.Module
    dropout: nn.Dropout2d
    stages: nn.ModuleList
    head: nn.Module

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1 or 3, H, W) in 0..1, H and W multiples of 32 → `Output.logits` (N, 1, H, W)."""
        return self.outputs(image).logits

    def outputs(self, image: Tensor) -> Output:
        """(N, 1 or 3, H, W) in 0..1, H and W multiples of 32 → the logits of pixels and presence, each by its name."""
        features, maps = self.encode(image)
        return self.decode(features, maps, image.shape[2:])

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → the deepest features (N, C, h, w), and the other maps, the finest first."""
        raise NotImplementedError

    def decode(
        self, features: Tensor, maps: list[Tensor], size: Sequence[int]
    ) -> Output:
        """What `encode` returned for images of `size` (H, W) → their `Output`.

        Here the stages are run one after the other, each with one of the maps.
        """
        return Output(self.head(self.climb(features, maps)))

    def climb(self, features: Tensor, maps: list[Tensor]) -> Tensor:
        """The features through every stage, each with its map, the coarsest first: the last stage's (N, C, h, w)."""
        x: Tensor = self.dropout(self.bottleneck(features))
        for stage, skip in zip(self.stages, reversed(maps), strict=True):
            x = stage(x, skip)
        return x

    def explain_layers(self) -> dict[str, nn.Module]:
        """The layers that Grad-CAM can look at, by name, the deepest first."""
        layers = {"bottleneck": self.bottleneck}
        for number, stage in enumerate(self.stages, 1):
            layers[f"stage{number}"] = stage
        return layers


class NetworkConfig(Protocol):
    """What a network is made of: a frozen dataclass whose fields are its options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __hash__(self) -> int:
        """Of all fields."""

    @property
    def encoders(self) -> tuple[str, ...]:
        """timm's names of the encoders that can start from ImageNet weights; empty if there are none."""

    @property
    def attention(self) -> str:
        """The decoder's kind of attention, in a word."""

    @property
    def frozen(self) -> bool:
        """Whether the encoders keep the weights that they start with."""

    def build(self, dropout: float, pretrained: bool) -> SegmentationNetwork:
        """The network with fresh weights.

        Args:
            dropout: share of the features that training drops.
            pretrained: start the encoders from timm's ImageNet weights.
        """
