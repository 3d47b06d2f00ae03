"""Grad-CAM for segmentation: which parts of a layer's map the predicted lesion rests on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
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
    """Checks that `layer` is one of the model's, or `fused`.

    Raises:
        InputError: it is not; lists those there are.
    """
    names = [*model.explain_layers(), FUSED]
    if layer not in names:
        raise InputError(layer, "no such layer in this model", f"choose one of {', '.join(names)}")


def grad_cam(model: Explainable, image: Tensor, layer: str = DEFAULT_LAYER) -> NDArray[np.float32]:
    """The heat map of one image: ReLU(Σ over channels of mean gradient × activation), largest value 1.

    Selvaraju et al. 2017 (Grad-CAM), with Seg-Grad-CAM's target (Vinogradova et al. 2020): the sum of the
    logits over the pixels predicted as lesion (logit above 0), or over all pixels where none is. The map is
    scaled to the image's size bilinearly.

    Args:
        model: in evaluation mode. Frozen parts and parts that run without gradient may lie before the layer.
        image: (1, 1 or 3, H, W) float32 in 0..1, on the model's device.
        layer: a name of `model.explain_layers()`, or `fused`: the maps of all decoder stages (every layer
            called `stage…`), each scaled to 0..1, averaged and scaled again.

    Returns:
        (H, W) in 0..1; zero everywhere where no part of the layer speaks for the prediction.

    Raises:
        InputError: there is no such layer.
    """
    check_layer(model, layer)
    layers = model.explain_layers()
    names = [name for name in layers if name.startswith("stage")] if layer == FUSED else [layer]
    with torch.enable_grad(), _activations([layers[name] for name in names]) as activations:
        logits = model(image)
        predicted = logits.detach() > 0
        target = logits[predicted].sum() if predicted.any() else logits.sum()
        gradients = torch.autograd.grad(target, activations)
    maps = [_map(*pair, logits.shape[2:]) for pair in zip(activations, gradients, strict=True)]
    return _to_unit(torch.stack(maps).mean(0)).cpu().numpy()


@contextlib.contextmanager
def _activations(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects, in the modules' order of running, what they return, as tensors that have gradients."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # Behind frozen parts the gradient would end: let it start here.
        seen.append(output if output.requires_grad else output.detach().requires_grad_())
        return seen[-1].clone()  # so that an in-place operation that follows leaves ours alone

    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _map(activation: Tensor, gradient: Tensor, size: Sequence[int]) -> Tensor:
    """(1, C, h, w) twice → (H, W), largest value 1."""
    weights = gradient.mean((2, 3), keepdim=True)
    heat = (weights * activation.detach()).sum(1, keepdim=True).relu()
    return _to_unit(F.interpolate(heat.float(), size=list(size), mode="bilinear", align_corners=False)[0, 0])


def _to_unit(heat: Tensor) -> Tensor:
    peak = heat.max()
    return heat / peak if peak > 0 else heat
