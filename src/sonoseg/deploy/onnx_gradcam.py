"""Grad-CAM as an ONNX graph: the gradient becomes ordinary operations.

ONNX has no automatic differentiation, and the reader has no PyTorch. So the gradient is traced here, once, at export.
The gradients of some PyTorch operations do not exist in ONNX. `WrittenOut` replaces these operations by others that
compute the same and whose gradients exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from sonoseg.core.resize import enlarge
from sonoseg.models.network import SegmentationNetwork


class GradCam(nn.Module):
    """Grad-CAM of the bottleneck, with the target of `explain.gradcam.grad_cam`.

    The target is the sum of the logits above 0, or of all logits where none is above 0.

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
            # No `if` here: a trace keeps only one branch, and each image of a batch may need another one.
            predicted = (logits > 0).to(logits.dtype)
            none_predicted = 1 - predicted.amax((1, 2, 3), keepdim=True)
            counted = torch.maximum(predicted, none_predicted)
            return (logits * counted).sum()

        gradient = torch.func.grad(target)(features)
        weights = gradient.mean((2, 3), keepdim=True)
        coarse = (weights * features).sum(1, keepdim=True).relu()
        heat = F.interpolate(coarse, self.size, mode="bilinear")
        return heat / heat.amax((2, 3), keepdim=True).clamp(min=1e-12)


def trace_gradcam(
    model: SegmentationNetwork,
    size: Sequence[int],
    features: Tensor,
    maps: Sequence[Tensor],
) -> fx.GraphModule:
    """`GradCam` as a graph of ordinary operations without any call of autograd, for any number of images.

    Args:
        model: in evaluation mode, its weights without gradient.
        size: (H, W) of its input.
        features: (N, C, h, w) of at least two images.
        maps: of the same images.
    """
    # These parts of PyTorch may change without notice. Imported here, a failing import counts as a failing export
    # (see `torch_version`).
    from torch._dispatch.python import enable_python_dispatcher
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import (
        DimDynamic,
        ShapeEnv,
        StatelessSymbolicContext,
    )

    table = {torch.ops.aten.convolution_backward.default: _convolution_backward}
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    # Only the number of images is variable. If the height were variable too, PyTorch would take a height of 2 and the
    # number of images, 2 as well, for the same variable.
    dimensions = [
        DimDynamic.DYNAMIC,
        DimDynamic.STATIC,
        DimDynamic.STATIC,
        DimDynamic.STATIC,
    ]
    context: Any = StatelessSymbolicContext(dimensions)
    images = [
        mode.from_tensor(each, symbolic_context=context) for each in (features, *maps)
    ]
    with mode, enable_python_dispatcher(), WrittenOut():
        graph: fx.GraphModule = make_fx(GradCam(model, size), table)(*images)
    return graph


class WrittenOut(TorchFunctionMode):
    """Inside its `with` block, operations are replaced by those of `REPLACEMENTS`, whose gradients ONNX has."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        replacement = REPLACEMENTS.get(function, function)
        return replacement(*arguments, **(keywords or {}))


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
    """The gradient of a convolution with respect to its input; Grad-CAM needs no gradient of the weights.

    ONNX has no operation for it. But for a convolution it is a transposed convolution, and for a transposed
    convolution it is a convolution.
    """
    convolution = torch.ops.aten.convolution.default
    if transposed:
        none = [0] * len(stride)
        result = convolution(
            gradient, weight, None, stride, padding, dilation, False, none, groups
        )
        return result, None, None
    # A convolution with a stride may not reach the last rows and columns. Output padding adds them to the gradient.
    missing = []
    for axis, (step, pad, gap) in enumerate(
        zip(stride, padding, dilation, strict=True), 2
    ):
        reach = gap * (weight.shape[axis] - 1) + 1
        covered = (gradient.shape[axis] - 1) * step - 2 * pad + reach
        missing.append(image.shape[axis] - covered)
    result = convolution(
        gradient, weight, None, stride, padding, dilation, True, missing, groups
    )
    return result, None, None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer. PyTorch's gradient of it would fix the number of images in the exported graph."""
    return x @ weight.T if bias is None else x @ weight.T + bias


def _attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """Softmax of the dot products. ONNX has no gradient of PyTorch's fused operation."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return (scale * query @ key.transpose(-2, -1)).softmax(-1) @ value


def _interpolate(
    image: Tensor,
    size: Sequence[int] | None = None,
    scale_factor: float | None = None,
    mode: str = "bilinear",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Bilinear interpolation as two matrix products; their gradient is two matrix products as well."""
    if mode != "bilinear" or align_corners or recompute_scale_factor or antialias:
        raise NotImplementedError(
            "a bundle can interpolate bilinearly between pixel centres alone"
        )
    height, width = image.shape[2:]
    if size is None:
        assert scale_factor is not None
        size = round(height * scale_factor), round(width * scale_factor)
    down = _resizing_matrix(height, size[0])
    across = _resizing_matrix(width, size[1])
    return torch.from_numpy(down) @ image @ torch.from_numpy(across.T)


def _pool(image: Tensor, size: int) -> Tensor:
    """Adaptive average pooling to `size` × `size`, as two matrix products."""
    down = _pooling_matrix(image.shape[2], size)
    across = _pooling_matrix(image.shape[3], size)
    return torch.from_numpy(down) @ image @ torch.from_numpy(across.T)


REPLACEMENTS: dict[Any, Callable[..., Tensor]] = {
    F.interpolate: _interpolate,
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
    F.adaptive_avg_pool2d: _pool,
}
"""Operation → a function that computes the same, whose gradient ONNX has."""


def _resizing_matrix(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): each row has the weights of linear interpolation between the centres of pixels.

    In NumPy, as `_pooling_matrix` is, so that the traced graph holds the finished matrix as a constant.
    """
    return enlarge(np.eye(old, dtype=np.float32), (new, old))


def _pooling_matrix(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): each row averages the pixels that its part of the axis touches."""
    bins = np.arange(new)[:, None]
    place = np.arange(old)
    inside = (place >= bins * old // new) & (place * new < (bins + 1) * old)
    weights: NDArray[np.float32] = (inside / inside.sum(1, keepdims=True)).astype(
        np.float32
    )
    return weights
