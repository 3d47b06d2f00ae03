"""Blocks that several networks share: convolutions, a decoder stage, and U-Net's own encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoseg.models.attention import build_attention


class SeparableConv(nn.Sequential):
    """Depthwise 3×3 – BN – ReLU6 – pointwise 1×1 – BN – ReLU6, both without bias (PAPER: the decoder).

    (N, `inputs`, H, W) → (N, `outputs`, H, W); 9·Cin + 2·Cin + Cin·Cout + 2·Cout parameters.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU6(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(),
        )


class DoubleConv(nn.Sequential):
    """Twice 3×3 convolution – BN – ReLU, as in U-Net (Ronneberger et al. 2015) with batch normalisation.

    (N, `inputs`, H, W) → (N, `outputs`, H, W).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class ConvBlock(nn.Sequential):
    """Convolution – BN – ReLU, without bias: (N, `inputs`, H, W) → (N, `outputs`, H, W)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, dilation: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(
                inputs,
                outputs,
                kernel,
                padding=kernel // 2 * dilation,
                dilation=dilation,
                bias=False,
            ),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class PlainEncoder(nn.Module):
    """U-Net's encoder: a double convolution at each level, and 2×2 max-pooling between levels.

    Args:
        inputs: channels of the image.
        widths: channels of the levels, the finest first.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList([DoubleConv(inputs, widths[0])])
        self.levels.extend(
            DoubleConv(above, below) for above, below in pairwise(widths)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, inputs, H, W) → the deepest map, and the others, at strides 1, 2, 4, …"""
        maps = [self.levels[0](image)]
        for level in self.levels[1:]:
            maps.append(level(F.max_pool2d(maps[-1], 2)))
        return maps[-1], maps[:-1]


CONVOLUTIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "separable": SeparableConv,
    "double": DoubleConv,
}
"""Name → block of a decoder stage, made of its numbers of input and output channels."""


class DecoderStage(nn.Module):
    """Doubles the resolution, joins the skip connection if there is one, convolves and attends.

    Args:
        inputs: channels of the map from the stage below.
        skip: channels of the skip connection; 0 for none (the paper's network has none).
        outputs: channels of the result.
        attention: a name of `attention.ATTENTIONS`.
        convolution: a name of `CONVOLUTIONS`.
    """

    def __init__(
        self,
        inputs: int,
        skip: int,
        outputs: int,
        attention: str = "none",
        convolution: str = "separable",
    ) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[convolution](inputs + skip, outputs)
        self.attention = build_attention(attention, outputs)

    def forward(self, below: Tensor, skip: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) and (N, skip, 2H, 2W) → (N, outputs, 2H, 2W)."""
        up = F.interpolate(
            below, scale_factor=2.0, mode="bilinear", align_corners=False
        )
        if skip is not None:
            up = torch.cat([up, skip], 1)
        out: Tensor = self.attention(self.conv(up))
        return out
