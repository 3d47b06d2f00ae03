"""Copies of a network with random weights, from the output down: the check of Adebayo et al. 2018.

If a heat map looks the same with random weights, it does not explain what the network has learned.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sonoseg.models.network import SegmentationNetwork

HEAD, DECODER, ALL = "head", "decoder", "all"


def randomised_copies(
    model: SegmentationNetwork, images: Tensor, seed: int
) -> dict[str, SegmentationNetwork]:
    """Returns copies of a network with more and more random weights, from the last modules to the first.

    The order in which the modules run decides which ones follow a layer. So this works for any network. Modules get new
    weights from their `reset_parameters`. If a module has no such method, the values of its parameters are shuffled.
    New batch normalisations take the statistics of `images`. Otherwise most signals would fade on their way.

    Args:
        model: in evaluation mode; it is not changed. The copies share the weights that they keep with the model, and
            the new ones with each other.
        images: (N, 1, H, W) in 0..1, on the model's device; a few of those that will be explained.
        seed: of the new weights.

    Returns:
        Level → copy, from the fewest random weights to the most: `head`, the stages from the last to the second (each
        with everything that follows it), `decoder` (everything that follows the bottleneck), `all`.
    """
    layers = list(model.explain_layers())
    starts, ends = _times(model, images[:1])
    owners = [
        name for name, module in model.named_modules() if _has_own_tensors(module)
    ]
    owners.sort(key=lambda name: -starts[name])
    names = [DECODER, *layers[2:], HEAD][: len(layers)]
    levels: dict[str, int] = {}
    for name, layer in reversed(list(zip(names, layers, strict=True))):
        levels[name] = ends[layer]
    levels[ALL] = -1
    copies: dict[str, SegmentationNetwork] = {}
    last = model
    done = 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for level, end in levels.items():
            behind = [name for name in owners if starts[name] > end]
            copies[level] = last = _randomised(last, behind, behind[done:], images)
            done = len(behind)
    return copies


def _has_own_tensors(module: nn.Module) -> bool:
    """Whether a module itself, without its children, has parameters or buffers."""
    parameters = list(module.parameters(False))
    buffers = list(module.buffers(False))
    return bool(parameters or buffers)


def _times(
    model: SegmentationNetwork, image: Tensor
) -> tuple[dict[str, int], dict[str, int]]:
    """When each module first starts, and when each layer that can be explained first ends; in ticks."""
    clock = itertools.count(1)
    starts: dict[str, int] = {"": 0}
    ends: dict[str, int] = {}

    def note_start(name: str, *_: object) -> None:
        starts.setdefault(name, next(clock))

    def note_end(name: str, *_: object) -> None:
        ends.setdefault(name, next(clock))

    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(partial(note_start, name)))
    for name, layer in model.explain_layers().items():
        hooks.append(layer.register_forward_hook(partial(note_end, name)))
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    for name, _ in model.named_modules():  # parents come before their children
        if name not in starts:  # the parent uses the weights without calling the module
            parent, _, _ = name.rpartition(".")
            starts[name] = starts[parent]
    return starts, ends


def _randomised(
    model: SegmentationNetwork,
    random: Sequence[str],
    anew: Sequence[str],
    images: Tensor,
) -> SegmentationNetwork:
    """A copy in which the modules called `anew` get new weights. It shares all other parameters with the model.

    The batch normalisations of all modules that are `random` get new statistics.
    """
    kept: dict[int, object] = {}  # what `deepcopy` does not copy
    for name, module in model.named_modules():
        if name not in anew:
            kept |= {id(parameter): parameter for parameter in module.parameters(False)}
    other = copy.deepcopy(model, kept)
    modules = dict(other.named_modules())
    with torch.no_grad():
        for name in anew:
            _reset(modules[name])
    _measure_statistics(other, [modules[name] for name in random], images)
    return other


def _reset(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for parameter in module.parameters(False):
        values = parameter.flatten()
        order = torch.randperm(len(values), device=values.device)
        parameter.copy_(values[order].view_as(parameter))


def _measure_statistics(
    model: nn.Module, modules: Sequence[nn.Module], images: Tensor
) -> None:
    """Sets the batch normalisations among `modules` to the statistics of `images`.

    A single image is joined by its mirror image, since statistics of one image can be undefined.
    """
    norms = [module for module in modules if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if len(images) == 1:
        images = torch.cat([images, images.flip(3)])
    with torch.no_grad():
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
