"""Grad-CAM for segmentation: which parts of a layer's map support the predicted lesion."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sonoseg.errors import InputError

DEFAULT_LAYER = "bottleneck"
FUSED = "fused"


class Explainable(Protocol):
    """A segmentation network that names the layers it can be explained at."""

    def __call__(self, image: Tensor) -> Tensor:
        """(1, C, H, W) in 0..1 → logits (1, 1, H, W)."""

    def explain_layers(self) -> dict[str, nn.Module]:
        """The layers by name; each returns one map (1, channels, h, w)."""


def check_layer(model: Explainable, layer: str) -> None:
    """Checks that `layer` is a layer of the model, or `fused`.

    Raises:
        InputError: it is not; the message lists the layers.
    """
    names = [*model.explain_layers(), FUSED]
    if layer not in names:
        raise InputError(
            layer, "no such layer in this model", f"choose one of {', '.join(names)}"
        )


def grad_cam(
    model: Explainable, image: Tensor, layer: str = DEFAULT_LAYER
) -> NDArray[np.float32]:
    """Returns the heat map of one image: ReLU(Σ over channels of mean gradient × activation), largest value 1.

    Selvaraju et al. 2017 (Grad-CAM), with Seg-Grad-CAM's target (Vinogradova et al. 2020): the sum of the
    logits over the pixels predicted as lesion (logit above 0), or over all pixels where none is. The map is
    scaled to the image's size bilinearly.

    Args:
        model: in evaluation mode. Frozen parts and parts that run without gradient may lie before the layer.
        image: (1, 1 or 3, H, W) float32 in 0..1, on the model's device.
        layer: a name of `model.explain_layers()`, or `fused`: the maps of all decoder stages (every layer
            called `stage…`), each scaled to 0..1, averaged and scaled again.

    Returns:
        (H, W) in 0..1; zero everywhere if no part of the layer supports the prediction.

    Raises:
        InputError: there is no such layer.
    """
    return grad_cams(model, image, [layer])[layer]


def grad_cams(
    model: Explainable, image: Tensor, layers: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Computes `grad_cam` at several layers with one forward and one backward pass.

    Returns:
        Layer → its heat map, in the order of `layers`.

    Raises:
        InputError: there is no such layer.
    """
    return run_with_grad_cams(model, image, layers)[1]


def run_with_grad_cams(
    model: Explainable, image: Tensor, layers: Sequence[str]
) -> tuple[Tensor, dict[str, NDArray[np.float32]]]:
    """Returns the prediction and `grad_cams` of one image, from one forward pass.

    Returns:
        The logits (1, 1, H, W) without gradient, and layer → its heat map.

    Raises:
        InputError: there is no such layer.
    """
    for layer in layers:
        check_layer(model, layer)
    modules = model.explain_layers()
    stages = [name for name in modules if name.startswith("stage")]
    parts = {layer: stages if layer == FUSED else [layer] for layer in layers}
    needed: dict[str, nn.Module] = {}
    for part in parts.values():
        needed |= {name: modules[name] for name in part}
    names = list(needed)
    with torch.enable_grad(), _activations(needed) as activations:
        logits = model(image)
        predicted = logits.detach() > 0
        target = logits[predicted].sum() if predicted.any() else logits.sum()
        gradients = torch.autograd.grad(target, [activations[name] for name in names])
    size = logits.shape[2:]
    maps: dict[str, Tensor] = {}
    for name, gradient in zip(names, gradients, strict=True):
        maps[name] = _map(activations[name], gradient, size)
    heats: dict[str, NDArray[np.float32]] = {}
    for layer, part in parts.items():
        mean = torch.stack([maps[name] for name in part]).mean(0)
        heats[layer] = _to_unit(mean).cpu().numpy()
    return logits.detach(), heats


@contextlib.contextmanager
def _activations(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collects by name what the modules return, as tensors that have gradients."""
    seen: dict[str, Tensor] = {}

    def keep(
        name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> Tensor:
        # No gradient passes frozen parts. So the graph of gradients starts here.
        seen[name] = (
            output if output.requires_grad else output.detach().requires_grad_()
        )
        return seen[
            name
        ].clone()  # an in-place operation that follows must not change the kept tensor

    hooks = [
        module.register_forward_hook(partial(keep, name))
        for name, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _map(activation: Tensor, gradient: Tensor, size: Sequence[int]) -> Tensor:
    """(1, C, h, w) twice → (H, W), largest value 1."""
    weights = gradient.mean((2, 3), keepdim=True)
    heat = (weights * activation.detach()).sum(1, keepdim=True).relu()
    scaled = F.interpolate(
        heat.float(), size=list(size), mode="bilinear", align_corners=False
    )
    return _to_unit(scaled[0, 0])


def _to_unit(heat: Tensor) -> Tensor:
    peak = heat.max()
    return heat / peak if peak > 0 else heat
