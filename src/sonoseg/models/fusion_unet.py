"""The paper's network, fused encoders and a separable decoder with attention, and what we add to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoseg.models.blocks import DecoderStage
from sonoseg.models.encoders import Encoders
from sonoseg.models.narrow import narrow
from sonoseg.models.network import Output, SegmentationNetwork
from sonoseg.models.presence import PRESENCE


@dataclass(frozen=True)
class FusionUNetConfig:
    """What a `FusionUNet` is made of. The defaults are the paper's Model 7."""

    encoders: tuple[str, ...] = ("resnet18", "densenet121", "efficientnet_b0")
    """Names of `encoders.ENCODERS`, run side by side on the same image."""
    attention: str = "none"
    """After every decoder stage: none, cbam, nonlocal or transformer."""
    frozen: bool = False
    """Keep the encoders as they start."""
    skips: bool = False
    """Join the encoders' maps at strides 16, 8, 4 and 2 to the decoder. The paper's counts leave no room for it."""
    widths: tuple[int, int, int, int] = (512, 256, 128, 64)
    """Output channels of the four decoder stages, the deepest first."""
    convolution: str = "separable"
    """In every decoder stage: separable (the paper's), or double (two 3×3 convolutions)."""
    presence: str = "none"
    """A head that can lower the logits of the pixels (a name of `presence.PRESENCE`): none, image (it judges the whole
    image) or parts (it judges each connected part of the mask by itself)."""
    inner: tuple[int, ...] = ()
    """Channels inside each block of the encoders (see `sonoseg slim`), the first block first; empty: as designed. Those
    of the first member, then those of the next."""
    members: int = 1
    """More than one: so many networks side by side, whose logits are averaged (see `sonoseg ensemble`)."""

    def build(self, dropout: float = 0.3, pretrained: bool = False) -> FusionUNet:
        if self.members == 1:
            return FusionUNet(self, dropout, pretrained)
        one = replace(self, members=1, inner=())
        ensemble = Ensemble(
            [one.build(dropout, pretrained) for _ in range(self.members)]
        )
        if self.inner:
            narrow(ensemble, self.inner)
        return ensemble


class FusionUNet(SegmentationNetwork):
    """Encoders → bottleneck → four decoder stages → one logit a pixel.

    With the defaults, its parameter counts are those of the paper's Table 1 (see `catalog`).

    Args:
        config: encoders, decoder and heads.
        dropout: share of the bottleneck's channels that training drops.
        pretrained: start the encoders from timm's ImageNet weights.
    """

    def __init__(
        self, config: FusionUNetConfig, dropout: float = 0.3, pretrained: bool = False
    ) -> None:
        super().__init__()
        encoders = Encoders(config.encoders, config.frozen, pretrained)
        if config.inner:
            narrow(encoders, config.inner)
        self.encoders: nn.Module = encoders
        self.skips = config.skips
        *maps, bottleneck = encoders.channels
        skips = maps if config.skips else [0] * len(maps)
        self.bottleneck = nn.Identity()  # a place with a name, for Grad-CAM
        self.dropout = nn.Dropout2d(dropout)
        self.stages = nn.ModuleList()
        inputs = bottleneck
        for skip, outputs in zip(reversed(skips), config.widths, strict=True):
            stage = DecoderStage(
                inputs, skip, outputs, config.attention, config.convolution
            )
            self.stages.append(stage)
            inputs = outputs
        self.head = nn.Conv2d(inputs, 1, 1)
        presence_head = PRESENCE[config.presence]
        self.presence = None
        if presence_head is not None:
            self.presence = presence_head(
                bottleneck + skips[-1], config.widths[0], dropout
            )

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → the bottleneck (N, C, H/32, W/32) and the maps at strides 2, 4, 8, 16."""
        features, maps = self.encoders(image)
        return features, maps

    def decode(
        self, features: Tensor, maps: list[Tensor], size: Sequence[int]
    ) -> Output:
        features = self.bottleneck(features)
        x = self.dropout(features)
        skips = maps[::-1] if self.skips else [None] * len(self.stages)
        stages = []
        for stage, skip in zip(self.stages, skips, strict=True):
            x = stage(x, skip)
            stages.append(x)
        coarse = self.head(x)
        pixels = F.interpolate(
            coarse, size=tuple(size), mode="bilinear", align_corners=False
        )
        if self.presence is None:
            return Output(pixels)
        skip = maps[-1] if self.skips else None
        return Output(pixels, self.presence(coarse, features, skip, stages[0]))


class Ensemble(FusionUNet):
    """Networks of one architecture side by side: the mean of their logits, for pixels and presence.

    Their maps are joined at every layer. So all that looks into a network (Grad-CAM, the familiarity, the head for
    malignancy) looks into all members at once. The presence heads judge the joint outline; each gets the maps of its
    own network.

    Args:
        members: at least two; their parts become those of this network.
    """

    def __init__(self, members: Sequence[FusionUNet]) -> None:
        nn.Module.__init__(self)
        self.encoders = JoinedEncoders([member.encoders for member in members])
        self.skips = members[0].skips
        self.bottleneck = nn.Identity()
        self.dropout = members[0].dropout
        self.stages = nn.ModuleList()
        for stages in zip(*(member.stages for member in members), strict=True):
            self.stages.append(Joined(stages))
        self.head = Mean([member.head for member in members])
        heads = [member.presence for member in members if member.presence is not None]
        self.presence = MeanPresence(heads) if heads else None


class Joined(nn.Module):
    """The same layer of several networks: each gets the channels of its own network. The results are joined."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def each(self, maps: Sequence[Tensor | None], *shared: Tensor) -> list[Tensor]:
        """What each part returns for `shared`, followed by its own share of each of the maps (N, members · C, h, w)."""
        results = []
        for number, part in enumerate(self.parts):
            own = [
                None if joined is None else joined.chunk(len(self.parts), 1)[number]
                for joined in maps
            ]
            results.append(part(*shared, *own))
        return results

    def forward(self, *maps: Tensor | None) -> Tensor:
        return torch.cat(self.each(maps), 1)


class Mean(Joined):
    """`Joined`, but returns the mean of the results."""

    def forward(self, *maps: Tensor | None) -> Tensor:
        return torch.stack(self.each(maps)).mean(0)


class MeanPresence(Joined):
    """The mean of several presence heads, which are called as one of them is (see `presence`)."""

    def forward(self, coarse: Tensor, *maps: Tensor | None) -> Tensor:  # type: ignore[override]
        return torch.stack(self.each(maps, coarse)).mean(0)


class JoinedEncoders(Joined):
    """The encoders of several networks on the same image."""

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]
        """(N, 1 or 3, H, W) in 0..1 → the joined bottlenecks, and the joined maps at strides 2, 4, 8, 16."""
        encoded = [encoders(image) for encoders in self.parts]
        features = torch.cat([features for features, _ in encoded], 1)
        scales = zip(*(maps for _, maps in encoded), strict=True)
        return features, [torch.cat(maps, 1) for maps in scales]
