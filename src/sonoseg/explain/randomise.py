"""Networks whose trained weights are taken away, from the output down: the check of Adebayo et al. 2018.

A heat map that looks the same without what the network has learned explains nothing of what it has learned.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sonoseg.models.network import SegmentationNetwork

HEAD, DECODER, ALL = "head", "decoder", "all"


def randomised_copies(
    model: SegmentationNetwork, images: Tensor, seed: int
) -> dict[str, SegmentationNetwork]:
    """Copies of a network in which more and more of what runs last is as before training.

    What is behind a layer is told from the order in which the network's modules run, so any network will do. Modules
    start anew by their `reset_parameters`; the values of parameters whose module has none are shuffled. New batch
    normalisation takes the statistics of `images`, without which most signals would fade on their way.

    Args:
        model: in evaluation mode; left as it is. The copies share with it the weights that they keep, and the new
            ones with each other.
        images: (N, 1, H, W) in 0..1, on the model's device; a few of those that will be explained.
        seed: of the new weights.

    Returns:
        By what is random, from the least to the most: `head`, the stages from the last to the second (each with all
        that follows it), `decoder` (all that follows the bottleneck), `all`.
    """
    layers = list(model.explain_layers())
    starts, ends = _times(model, images[:1])
    owners = [
        name
        for name, module in model.named_modules()
        if [*module.parameters(False), *module.buffers(False)]
    ]
    owners.sort(key=lambda name: -starts[name])
    names = [DECODER, *layers[2:], HEAD][: len(layers)]
    levels = {
        name: ends[layer] for name, layer in reversed(list(zip(names, layers, strict=True)))
    } | {ALL: -1}
    copies: dict[str, SegmentationNetwork] = {}
    last, done = model, 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for level, end in levels.items():
            behind = [name for name in owners if starts[name] > end]
            copies[level] = last = _randomised(last, behind, behind[done:], images)
            done = len(behind)
    return copies


def _times(model: SegmentationNetwork, image: Tensor) -> tuple[dict[str, int], dict[str, int]]:
    """When each module first starts, and when each layer that can be explained first ends; in ticks."""
    clock = itertools.count(1)
    starts: dict[str, int] = {"": 0}
    ends: dict[str, int] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda module, inputs, name=name: _note(starts, name, next(clock))
        )
        for name, module in model.named_modules()
    ] + [
        layer.register_forward_hook(
            lambda module, inputs, output, name=name: _note(ends, name, next(clock))
        )
        for name, layer in model.explain_layers().items()
    ]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    for name, _ in model.named_modules():  # parents come before their children
        if name not in starts:  # its parent uses its weights without calling it
            starts[name] = starts[name.rpartition(".")[0]]
    return starts, ends


def _note(times: dict[str, int], name: str, now: int) -> None:
    times.setdefault(name, now)


def _randomised(
    model: SegmentationNetwork, random: Sequence[str], anew: Sequence[str], images: Tensor
) -> SegmentationNetwork:
    """A copy in which the modules called `anew` start anew; all other parameters are the model's own.

    The batch statistics are those of all that is `random` by then.
    """
    chosen = set(anew)
    kept = {
        id(parameter): parameter
        for name, module in model.named_modules()
        if name not in chosen
        for parameter in module.parameters(False)
    }
    other = copy.deepcopy(model, dict[int, object](kept))
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
        parameter.copy_(
            values[torch.randperm(len(values), device=values.device)].view_as(parameter)
        )


def _measure_statistics(model: nn.Module, modules: Sequence[nn.Module], images: Tensor) -> None:
    """Gives the batch normalisations among `modules` the statistics of `images`; a lone one is joined by its mirror."""
    norms = [module for module in modules if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        model(images if len(images) > 1 else torch.cat([images, images.flip(3)]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
