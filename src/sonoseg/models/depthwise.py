"""Depthwise convolutions that train fast and correctly on a processor.

PyTorch computes on processors with oneDNN, which has no fast kernel for two gradients: that of the input where the
stride is 2, and that of the weights where the kernel is 5×5. Here, both are computed with kernels that are fast. A
third gradient is wrong: that of the weights of a dilated convolution in bfloat16.
"""

from __future__ import annotations

from typing import Any, TypeGuard

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


def input_gradient(
    gradient: Tensor, image: Tensor, weight: Tensor, stride: int
) -> Tensor:
    """The gradient of the input: zeros are put between the gradient's places, and the turned kernel is applied.

    Args:
        gradient: (N, C, h, w).
        image: the input, (N, C, H, W).
        weight: (C, 1, k, k).
        stride: of the convolution.
    """
    reach = weight.shape[2] - 1
    spread = torch.zeros_like(
        image[:, :, reach:, reach:], memory_format=torch.channels_last
    )
    spread[:, :, ::stride, ::stride] = gradient
    return F.conv2d(spread, weight.flip(2, 3), padding=reach, groups=len(weight))


def weight_gradient(
    gradient: Tensor, image: Tensor, weight: Tensor, stride: int
) -> Tensor:
    """The gradient of the weights: a 5×5 kernel as four 3×3 kernels that overlap in the middle row and column.

    Args: as of `input_gradient`.
    """
    size = weight.shape[2]
    rows = (gradient.shape[2] - 1) * stride + 3
    columns = (gradient.shape[3] - 1) * stride + 3
    result = torch.empty_like(weight)
    for top in range(0, size - 2, 2):
        for left in range(0, size - 2, 2):
            seen = image[:, :, top : top + rows, left : left + columns]
            seen = seen.contiguous(memory_format=torch.channels_last)
            corner = weight[:, :, top : top + 3, left : left + 3]
            result[:, :, top : top + 3, left : left + 3] = _small_weight_gradient(
                gradient, seen, corner, stride
            )
    return result


def _small_weight_gradient(
    gradient: Tensor, image: Tensor, weight: Tensor, stride: int
) -> Tensor:
    """PyTorch's own, for a 3×3 kernel."""
    _, found, _ = torch.ops.aten.convolution_backward(
        gradient,
        image,
        weight,
        bias_sizes=None,
        stride=[stride, stride],
        padding=[0, 0],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=len(weight),
        output_mask=[False, True, False],
    )
    result: Tensor = found
    return result


class DepthwiseConv2d(nn.Module):
    """Computes the same as `conv`, a depthwise convolution. Its weights are stored under the same name.

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
            channels,
            channels,
            3,
            padding=dilation,
            dilation=dilation,
            groups=channels,
            bias=False,
        )

    def forward(self, image: Tensor) -> Tensor:
        if image.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(image)
        with torch.autocast("cpu", enabled=False):
            return super().forward(image.float())


def is_same(conv: nn.Conv2d) -> bool:
    """Whether timm pads it as TensorFlow does: as much as size and stride need, and more at the end."""
    return type(conv).__name__ == "Conv2dSame"


def quicken(network: nn.Module) -> nn.Module:
    """Replaces the depthwise 3×3 and 5×5 convolutions of `network`, in place, by `DepthwiseConv2d`."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if is_replaceable(child):
                setattr(parent, name, DepthwiseConv2d(child))
    return network


def is_replaceable(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it is a depthwise convolution that `DepthwiseConv2d` can stand for."""
    if not isinstance(module, nn.Conv2d) or module.bias is not None:
        return False
    is_depthwise = (
        module.groups > 1 and module.groups == module.in_channels == module.out_channels
    )
    is_plain = module.dilation == (1, 1) and module.kernel_size in ((3, 3), (5, 5))
    return is_depthwise and is_plain
