"""Swin-UNet (Cao et al. 2021): U-Net's shape from transformer blocks that attend within shifted windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMerging, SwinTransformerBlock

from sonoseg.models.encoders import Normalize, build_encoder
from sonoseg.models.network import Output, SegmentationNetwork

TIMM_NAME = "swin_tiny_patch4_window7_224"
EMBED = 96
"""Channels at the finest scale."""
DEPTH = 2
"""Blocks per scale."""
WINDOW = 7
"""Positions along each side of a window."""
DROP_PATH = 0.2
"""How often training skips the deepest block; the others in proportion to their depth."""
HEADS = (3, 6, 12, 24)
"""Of the attention at each scale, the finest first."""


@dataclass(frozen=True)
class SwinUNetConfig:
    """The published network has no options."""

    encoders: ClassVar[tuple[str, ...]] = (TIMM_NAME,)
    attention: ClassVar[str] = "windows"
    frozen: ClassVar[bool] = False

    def build(self, dropout: float = 0.0, pretrained: bool = False) -> SwinUNet:
        return SwinUNet(dropout, pretrained)


class SwinUNet(SegmentationNetwork):
    """Swin encoder → as many Swin blocks in the decoder, joined by skips → one logit per pixel; 27,168,132 parameters.

    Documented in full (arXiv 2105.05537 and its public code). Its windows are 7×7. Maps whose size is no multiple of 7
    are padded with zeros, as in Swin's detection version. At 224 × 224 nothing is padded.

    Args:
        dropout: share of the bottleneck's channels that training drops; the authors drop none.
        pretrained: start from timm's ImageNet weights of Swin-T. The decoder's blocks start from the encoder's of the
            same scale.
    """

    def __init__(self, dropout: float = 0.0, pretrained: bool = False) -> None:
        super().__init__()
        self.levels = tuple(reversed(range(len(HEADS) - 1)))  # of the decoder
        self.normalize = Normalize()
        self.encoders = SwinEncoder()
        self.bottleneck = nn.Identity()
        self.dropout = nn.Dropout2d(dropout)
        self.stages = nn.ModuleList(UpStage(level) for level in self.levels)
        self.norm = nn.LayerNorm(EMBED)
        self.expand = PatchExpand(EMBED, EMBED, 4)
        self.head = nn.Conv2d(EMBED, 1, 1, bias=False)
        self.apply(initialise)
        if pretrained:
            self.load_timm(build_encoder(TIMM_NAME, True).state_dict())

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → features (N, 768, H/32, W/32), and the maps at strides 4, 8 and 16."""
        features, maps = self.encoders(self.normalize(image))
        return features, maps

    def decode(
        self, features: Tensor, maps: list[Tensor], size: Sequence[int]
    ) -> Output:
        climbed = self.climb(features, maps)
        x = self.expand(self.norm(to_last(climbed)))
        return Output(self.head(to_first(x)))

    def load_timm(self, weights: Mapping[str, Tensor]) -> None:
        """Starts the encoder from timm's Swin-T, and the decoder's blocks too.

        Of timm's six blocks at stride 16, the first two are used, as the authors do.

        Args:
            weights: state dict of timm's `swin_tiny_patch4_window7_224`.
        """
        renamed = {}
        for name, tensor in weights.items():
            own_name = name.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")
            renamed[own_name] = tensor
        for name, own in self.encoders.named_parameters():
            own.data.copy_(renamed[name])
        for stage, level in zip(self.stages, self.levels, strict=True):
            blocks: nn.Module = self.encoders.layers[level]["blocks"]  # type: ignore[index]  # a ModuleDict
            stage.get_submodule("blocks").load_state_dict(blocks.state_dict())


class SwinEncoder(nn.Module):
    """Swin-T with two blocks at every scale (Liu et al. 2021). Its weights have timm's names, except in the MLPs."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, EMBED, 4, stride=4), "norm": nn.LayerNorm(EMBED)},
        )
        self.layers = nn.ModuleList()
        for level in range(len(HEADS)):
            layer = nn.ModuleDict()
            if level > 0:
                layer["downsample"] = PatchMerging(width_of(level - 1))
            layer["blocks"] = swin_blocks(level)
            self.layers.append(layer)
        self.norm = nn.LayerNorm(width_of(len(HEADS) - 1))

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) → (N, 768, H/32, W/32), and the maps of the skips: those that enter the other scales' blocks."""
        patches = self.patch_embed["proj"](image)
        x = self.patch_embed["norm"](to_last(patches))
        maps = []
        for layer in self.layers:
            if "downsample" in layer:  # type: ignore[operator]  # a ModuleDict
                x = layer["downsample"](x)  # type: ignore[index]
            maps.append(to_first(x))
            x = layer["blocks"](x)  # type: ignore[index]
        return to_first(self.norm(x)), maps[:-1]


class UpStage(nn.Module):
    """Doubles the resolution, joins the skip, attends: (N, 2C, h, w) and (N, C, 2h, 2w) → (N, C, 2h, 2w)."""

    def __init__(self, level: int) -> None:
        super().__init__()
        width = width_of(level)
        self.expand = PatchExpand(2 * width, width, 2)
        self.join = nn.Linear(2 * width, width)
        self.blocks = swin_blocks(level)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        x = torch.cat([self.expand(to_last(below)), to_last(skip)], -1)
        return to_first(self.blocks(self.join(x)))


class PatchExpand(nn.Module):
    """Each position becomes `scale` × `scale`: (N, H, W, `inputs`) → (N, scale·H, scale·W, `outputs`)."""

    def __init__(self, inputs: int, outputs: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.linear = nn.Linear(inputs, scale**2 * outputs, bias=False)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[1:3]
        squares = self.linear(x).unflatten(-1, (self.scale, self.scale, -1))
        squares = squares.permute(
            0, 1, 3, 2, 4, 5
        )  # each position's rows next to each other
        placed = squares.reshape(
            x.shape[0], rows * self.scale, columns * self.scale, -1
        )
        normalized: Tensor = self.norm(placed)
        return normalized


def width_of(level: int) -> int:
    """Channels at a scale, 0 the finest."""
    return EMBED << level


def swin_blocks(level: int) -> nn.Sequential:
    """The two blocks of a scale. The second one's windows are shifted by half a window."""
    blocks = nn.Sequential()
    last = DEPTH * len(HEADS) - 1
    for number in range(DEPTH):
        depth = DEPTH * level + number
        shift = WINDOW // 2 * number
        block = SwinTransformerBlock(
            width_of(level),
            HEADS[level],
            [WINDOW, WINDOW],
            [shift, shift],
            stochastic_depth_prob=DROP_PATH * depth / last,
        )
        blocks.append(block)
    return blocks


def initialise(module: nn.Module) -> None:
    """Swin's first weights: those of linear layers have a deviation of 0.02, their biases are 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def to_last(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def to_first(x: Tensor) -> Tensor:
    """(N, H, W, C) → (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)
