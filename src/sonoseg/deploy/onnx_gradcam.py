"""Grad-CAM as an ONNX graph: the gradient is written out as ordinary operations.

ONNX has no automatic differentiation, and the reader has no PyTorch. So the gradient is traced here, once, at export.
Several of PyTorch's gradients have no ONNX form; `WrittenOut` computes those operations from ones whose gradient does.
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
            # Without an `if`: a traced graph has to hold both cases, and each image may be another case.
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
    """`GradCam` as a graph of ordinary operations, without a call of autograd in it, for any number of images.

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
    # Only the number of images is a symbol. Were the height one, too, a height of 2 would be taken for the 2 images.
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
    """While it is entered, operations whose gradient ONNX lacks are computed from other ones; see `REPLACEMENTS`."""

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
    """The gradient of the input alone; Grad-CAM needs none of the weights.

    That of a convolution is a transposed convolution, and that of a transposed one a convolution.
    """
    convolution = torch.ops.aten.convolution.default
    if transposed:
        none = [0] * len(stride)
        result = convolution(
            gradient, weight, None, stride, padding, dilation, False, none, groups
        )
        return result, None, None
    # A stride can drop the last rows and columns of the image. Output padding adds them to the gradient again.
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
    """Softmax of the dot products. PyTorch's fused operation has a gradient that ONNX lacks."""
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
    """Adaptive average pooling to `size` × `size`, as two matrix products too."""
    down = _pooling_matrix(image.shape[2], size)
    across = _pooling_matrix(image.shape[3], size)
    return torch.from_numpy(down) @ image @ torch.from_numpy(across.T)


REPLACEMENTS: dict[Any, Callable[..., Tensor]] = {
    F.interpolate: _interpolate,
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
    F.adaptive_avg_pool2d: _pool,
}
"""Operation → the same from operations that ONNX can differentiate."""


def _resizing_matrix(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): each row has the weights of linear interpolation between the centres of pixels.

    In NumPy, as `_pooling_matrix` is, so that the traced graph holds the finished matrix as a constant.
    """
    return enlarge(np.eye(old, dtype=np.float32), (new, old))


def _pooling_matrix(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): each row is an average of the pixels that its share of the length touches."""
    bins = np.arange(new)[:, None]
    place = np.arange(old)
    inside = (place >= bins * old // new) & (place * new < (bins + 1) * old)
    weights: NDArray[np.float32] = (inside / inside.sum(1, keepdims=True)).astype(
        np.float32
    )
    return weights
