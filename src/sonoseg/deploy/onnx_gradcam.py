"""Grad-CAM as a graph: the gradient written out as ordinary operations, which ONNX has, so that it needs no PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from sonoseg.core.resize import enlarge
from sonoseg.models.network import SegmentationNetwork


class Heat(nn.Module):
    """Grad-CAM of the bottleneck, of the sum of the logits above 0, or of all where none is (as `explain.grad_cam`).

    Args:
        model: in evaluation mode.
        size: (H, W) of its input.
    """

    def __init__(self, model: SegmentationNetwork, size: Sequence[int]) -> None:
        super().__init__()
        self.model, self.size = model, tuple(size)

    def forward(self, features: Tensor, *maps: Tensor) -> Tensor:
        """The encoders' deepest features (N, C, h, w) and their other maps → heat (N, 1, H, W) in 0..1."""

        def target(features: Tensor) -> Tensor:
            logits = self.model.decode(features, list(maps), self.size).logits
            predicted = (logits > 0).to(logits.dtype)
            none = 1 - predicted.amax((1, 2, 3), keepdim=True)
            return (logits * torch.maximum(predicted, none)).sum()

        weights = torch.func.grad(target)(features).mean((2, 3), keepdim=True)
        heat = F.interpolate(
            (weights * features).sum(1, keepdim=True).relu(), self.size, mode="bilinear"
        )
        return heat / heat.amax((2, 3), keepdim=True).clamp(min=1e-12)


def trace_heat(
    model: SegmentationNetwork, size: Sequence[int], features: Tensor, maps: Sequence[Tensor]
) -> fx.GraphModule:
    """`Heat` for maps of any number of images, without a call to autograd in it.

    Args:
        model: in evaluation mode, its weights without gradient.
        size: (H, W) of its input.
        features: of at least two images.
        maps: of the same images.
    """
    table = {torch.ops.aten.convolution_backward.default: _convolution_backward}
    written_out: dict[str, Any] = {
        "interpolate": _interpolate,
        "linear": _linear,
        "scaled_dot_product_attention": _attention,
        "adaptive_avg_pool2d": _pool,
    }
    # Only the number of images is a symbol: with free heights, too, a height of 2 would be taken for two images.
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    free: Any = StatelessSymbolicContext([DimDynamic.DYNAMIC, *[DimDynamic.STATIC] * 3])
    images = [mode.from_tensor(each, symbolic_context=free) for each in (features, *maps)]
    with mode, enable_python_dispatcher(), patch.multiple(F, **written_out):
        graph: fx.GraphModule = make_fx(Heat(model, size), table)(*images)
    return graph


def _convolution_backward(
    gradient: Tensor,
    image: Tensor,
    weight: Tensor,
    _bias: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    _output_padding: list[int],
    groups: int,
    _wanted: list[bool],
) -> tuple[Tensor, None, None]:
    """The input's gradient, for a convolution a transposed one and vice versa; nobody asks for the weights'."""
    none = [0] * len(stride)
    if transposed:
        return (
            torch.ops.aten.convolution.default(
                gradient, weight, None, stride, padding, dilation, False, none, groups
            ),
            None,
            None,
        )
    axes = zip(
        image.shape[2:],
        gradient.shape[2:],
        stride,
        padding,
        dilation,
        weight.shape[2:],
        strict=True,
    )
    rest = [
        whole - ((part - 1) * step - 2 * pad + gap * (k - 1) + 1)
        for whole, part, step, pad, gap, k in axes
    ]
    arguments = (stride, padding, dilation, True, rest, groups)
    return torch.ops.aten.convolution.default(gradient, weight, None, *arguments), None, None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Written out, since `torch.func`'s own takes the number of images for a constant."""
    return x @ weight.T if bias is None else x @ weight.T + bias


def _attention(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Softmax of the dot products, written out: PyTorch's fused one has a gradient that ONNX lacks."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return (scale * query @ key.transpose(-2, -1)).softmax(-1) @ value


def _interpolate(
    image: Tensor,
    size: Sequence[int] | None = None,
    scale_factor: float = 1,
    mode: str = "bilinear",
    align_corners: bool = False,
) -> Tensor:
    """Bilinear interpolation as two matrix products, of which the gradient is two more."""
    sizes = size or [round(length * scale_factor) for length in image.shape[2:]]
    down, across = map(_resizing_matrix, image.shape[2:], sizes)
    return torch.from_numpy(down) @ image @ torch.from_numpy(across.T)


def _pool(image: Tensor, size: int) -> Tensor:
    """Adaptive average pooling to `size` × `size`, as two matrix products too."""
    down, across = (_pooling_matrix(length, size) for length in image.shape[2:])
    return torch.from_numpy(down) @ image @ torch.from_numpy(across.T)


def _resizing_matrix(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): each row the weights of linear interpolation between pixels' middles.

    Like its neighbour in NumPy, so that the graph holds the result and not how it was come by.
    """
    return enlarge(np.eye(old, dtype=np.float32), (new, old))


def _pooling_matrix(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): each row an average of the pixels that its share of the length touches."""
    bins, place = np.arange(new)[:, None], np.arange(old)
    inside = (place >= bins * old // new) & (place * new < (bins + 1) * old)
    weights: NDArray[np.float32] = (inside / inside.sum(1, keepdims=True)).astype(np.float32)
    return weights
