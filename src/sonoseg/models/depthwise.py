"""Depthwise convolutions that train at a bearable speed, and rightly, on a processor.

oneDNN, through which PyTorch computes on processors, has no quick kernel for two gradients: that of the input where
the stride is 2, and that of the weights where the kernel is 5×5. Both are written here with kernels that are quick.
And one of its gradients is wrong: that of the weights of a dilated one in bfloat16.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _DepthwiseConvolution(torch.autograd.Function):
    """Depthwise convolution without padding: (N, C, H, W) and (C, 1, k, k), k 3 or 5 → (N, C, h, w)."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.stride = stride
        return F.conv2d(image, weight, stride=stride, groups=len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        image, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return (
            input_gradient(gradient, image, weight, ctx.stride),
            weight_gradient(gradient, image, weight, ctx.stride),
            None,
        )


def input_gradient(gradient: Tensor, image: Tensor, weight: Tensor, stride: int) -> Tensor:
    """As a convolution of the gradient, spread out by the stride, with the kernel turned by 180°."""
    reach = weight.shape[2] - 1
    spread = torch.zeros_like(image[:, :, reach:, reach:], memory_format=torch.channels_last)
    spread[:, :, ::stride, ::stride] = gradient
    return F.conv2d(spread, weight.flip(2, 3), padding=reach, groups=len(weight))


def weight_gradient(gradient: Tensor, image: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Of a 5×5 kernel as that of four 3×3 kernels which overlap in the middle row and column."""
    size = weight.shape[2]
    rows, columns = ((length - 1) * stride + 3 for length in gradient.shape[2:])
    result = torch.empty_like(weight)
    for top in range(0, size - 2, 2):
        for left in range(0, size - 2, 2):
            part = image[:, :, top : top + rows, left : left + columns].contiguous(
                memory_format=torch.channels_last
            )
            corner = weight[:, :, top : top + 3, left : left + 3]
            result[:, :, top : top + 3, left : left + 3] = torch.ops.aten.convolution_backward(
                gradient, part, corner, None, [stride] * 2, [0, 0], [1, 1], False, [0, 0], len(weight),
                [False, True, False],
            )[1]  # fmt: skip
    return result


class DepthwiseConv2d(nn.Module):
    """Does what `conv`, a depthwise convolution, does, with its weights under the same name.

    (N, C, H, W) → (N, C, H / stride, W / stride), H and W multiples of the stride.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.stride, kernel = conv.stride[0], conv.kernel_size[0]
        before = (kernel - self.stride) // 2 if is_same(conv) else int(conv.padding[0])
        after = kernel - self.stride - before
        self.margins = (before, after, before, after)

    def forward(self, image: Tensor) -> Tensor:
        weight = self.weight
        if torch.is_autocast_enabled(image.device.type):
            dtype = torch.get_autocast_dtype(image.device.type)
            image, weight = image.to(dtype), weight.to(dtype)
        image = F.pad(image, self.margins)
        if self.training and image.device.type == "cpu":
            return _DepthwiseConvolution.apply(image, weight, self.stride)  # type: ignore[no-any-return]
        return F.conv2d(image, weight, stride=self.stride, groups=len(weight))


class DilatedDepthwiseConv2d(nn.Conv2d):
    """3×3, without bias, in 32 bits on a processor: (N, C, H, W) → (N, C, H, W).

    In bfloat16, oneDNN's gradient of the weights is wrong by more than its own size.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(
            channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False
        )

    def forward(self, image: Tensor) -> Tensor:
        if image.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(image)
        with torch.autocast("cpu", enabled=False):
            return super().forward(image.float())


def is_same(conv: nn.Conv2d) -> bool:
    """Whether timm pads it as TensorFlow does: by what the size and the stride need, more at the end."""
    return type(conv).__name__ == "Conv2dSame"


def quicken(network: nn.Module) -> nn.Module:
    """Exchanges the depthwise 3×3 and 5×5 convolutions of `network`, in place, where they gain from it."""
    for parent in list(network.modules()):
        for name, conv in list(parent.named_children()):
            if (
                not isinstance(conv, nn.Conv2d)
                or conv.bias is not None
                or not 1 < conv.groups == conv.out_channels
            ):
                continue
            if (
                conv.in_channels == conv.groups
                and conv.dilation == (1, 1)
                and conv.kernel_size in ((3, 3), (5, 5))
            ):
                setattr(parent, name, DepthwiseConv2d(conv))
    return network
