"""The attention blocks that may follow a decoder stage: CBAM, Non-Local and a transformer block."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CBAM(nn.Module):
    """Channel, then spatial attention (Woo et al. 2018): reduction 8, 7×7, no biases.

    (N, C, H, W) → (N, C, H, W); adds 2·C²/8 + 98 parameters.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // reduction, channels, 1, bias=False),
        )
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        of_mean = self.mlp(x.mean((2, 3), keepdim=True))
        of_maximum = self.mlp(x.amax((2, 3), keepdim=True))
        x = x * (of_mean + of_maximum).sigmoid()
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        attended: Tensor = x * self.spatial(summary).sigmoid()
        return attended


class NonLocal(nn.Module):
    """Non-local block, embedded Gaussian (Wang et al. 2018, eq. 2 to 6): every position attends to every other.

    (N, C, H, W) → (N, C, H, W); adds 2·C² + 2.5·C parameters. The (H·W)×(H·W) matrix of dot products is never built:
    `scaled_dot_product_attention` with a scale of 1 computes the same piece by piece.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // 2, 1)
        self.phi = nn.Conv2d(channels, channels // 2, 1)
        self.g = nn.Conv2d(channels, channels // 2, 1)
        self.out = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query = as_tokens(self.theta(x))
        key = as_tokens(self.phi(x))
        value = as_tokens(self.g(x))
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        height, width = x.shape[2:]
        attended = (
            attended.squeeze(1).transpose(1, 2).reshape(x.shape[0], -1, height, width)
        )
        joined: Tensor = x + self.out(attended)
        return joined


def as_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, 1, H·W, C): one token for each position, for one head.

    Contiguous, since PyTorch otherwise builds the whole matrix of dot products, and does not say so.
    """
    return x.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()


class Transformer(nn.Module):
    """A transformer block over all positions: self-attention and MLP, pre-norm, residual (Vaswani et al. 2017).

    (N, C, H, W) → (N, C, H, W), with a head for every 64 channels; adds 8·C² + 21·C parameters. A depthwise
    convolution encodes the positions, for images of any size (conditional positional encoding, Chu et al. 2021).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 64)
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels),
            nn.GELU(),
            nn.Linear(2 * channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        positioned = x + self.position(x)
        tokens: Tensor = positioned.flatten(2).transpose(1, 2)
        tokens = tokens + self._attend(self.norm1(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.transpose(1, 2).reshape(x.shape)

    def _attend(self, tokens: Tensor) -> Tensor:
        """(N, H·W, C) → (N, H·W, C)."""
        query, key, value = self.qkv(tokens).chunk(3, -1)
        attended = F.scaled_dot_product_attention(
            split_heads(query, self.heads),
            split_heads(key, self.heads),
            split_heads(value, self.heads),
        )
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(N, positions, C) → (N, heads, positions, C / heads)."""
    count, positions, channels = tokens.shape
    return tokens.reshape(count, positions, heads, channels // heads).transpose(1, 2)


ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "cbam": CBAM,
    "nonlocal": NonLocal,
    "transformer": Transformer,
}


def build_attention(name: str, channels: int) -> nn.Module:
    """The attention block `name` (a key of `ATTENTIONS`) for maps of `channels` channels."""
    return ATTENTIONS[name](channels)
