"""`sonoseg slim`: a run's network with fewer channels inside its encoders' blocks, and nearly the same answers.

In each block the channels go whose going changes least of what leaves the block, one after the other, as the optimal
brain surgeon takes weights (Hassibi and Stork 1993); what the block makes of those that stay is fitted anew by least
squares (channel pruning, He et al. 2017). Both need only the channels' means and covariances over training images.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sonoseg.data.case import Case
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, is_there, write_json
from sonoseg.models.catalog import count_parameters
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.narrow import Inside, insides
from sonoseg.models.network import SegmentationNetwork
from sonoseg.progress import track
from sonoseg.train.dataset import gather, read_once, record_of
from sonoseg.train.lock import held
from sonoseg.train.record import Record, union
from sonoseg.train.run_folder import (
    CONFIG,
    RunConfig,
    check_claim,
    fingerprint,
    lineage,
    load_run,
    save_weights,
    seen_before,
)

if TYPE_CHECKING:
    from sonoseg.cli import Slim

MULTIPLE = 8
"""Of channels that stay: processors compute so many at once, and a part of them costs as much as all."""
BATCH = 16
DAMPING = 1e-6
"""Of the channels' mean variance, added to that of each, since some are always 0."""


def slim_command(options: Slim) -> None:
    """`sonoseg slim`: checks the input, writes the run folder, says what became smaller."""
    cases, _ = gather(options.data, options.split, options.also)
    before = slim_run(options.folder, cases, options.share, options.out)
    after, _ = load_run(options.out)
    inner = [sum(inside.width for inside in insides(model)) for model in (before, after)]
    parameters = [count_parameters(model)[0] for model in (before, after)]
    print(f"{options.out}: {inner[1]:,} of {inner[0]:,} channels inside the blocks, ", end="")
    print(f"{parameters[1]:,} of {parameters[0]:,} parameters")


def slim_run(run: Path, cases: Sequence[Case], share: float, out: Path) -> SegmentationNetwork:
    """Writes a run folder with a slimmer network than that of `run`, which is left as it is and returned.

    Args:
        run: a run folder, or default, the one inside.
        cases: training images, to see on them what the channels do; no mask is used.
        share: of the variance of what leaves a block, so much may be lost in it at most, 0..1.
        out: the folder to write.

    Raises:
        InputError: a `share` out of its range, a run that cannot be read or has no block that could be slimmer, too
            few images or one that cannot be read, or an `out` that holds another run.
    """
    if not 0 < share < 1:
        raise InputError(f"--share {share}", "is not between 0 and 1", "try 0.01")
    model, config = load_run(run)
    if not insides(model) or not isinstance(config.network, FusionUNetConfig):
        raise InputError(run, "has no EfficientNet-Lite to make slimmer", "give a run of sonoseg-1")
    if len(cases) < 2:
        raise InputError(run, "the split leaves no training images", "choose another --split")
    origin = f"{fingerprint(run)}, {share:g} slimmer by {len(cases)} images"
    record = Record((), union((Record((), seen_before(run)), record_of(cases, (), config.size))))
    config = replace(config, cases=record.digest, start_from=origin, lineage=lineage(run))
    there = RunConfig.read(out).network if is_there(out / CONFIG) else config.network
    check_claim(
        out, replace(config, network=there)
    )  # how many channels it has is only known in the end

    slim = copy.deepcopy(model)
    seen = observe(model, read_once(tuple(cases), config.size).inputs)
    blocks = track(zip(insides(slim), seen, strict=True), "choosing", len(seen), "block")
    for inside, moments in blocks:
        make_slim(inside, moments, share)
    inner = tuple(inside.width for inside in insides(slim))
    config = replace(config, network=replace(config.network, inner=inner))
    with held(out), atomic_files():
        check_claim(out, replace(config, network=there))
        save_weights(out, slim)
        record.write(out)
        write_json(out / CONFIG, config.to_json())
    return model


@dataclass
class Moments:
    """Sums over all places of all images, in 64 bits.

    Attributes:
        places: how many.
        total: of each channel inside a block after its filter, (E,).
        products: of each two of them, (E, E).
        leaving: of each channel that leaves the block, (C,).
        leaving_squares: of their squares, (C,).
    """

    places: int = 0
    total: Tensor | float = 0.0
    products: Tensor | float = 0.0
    leaving: Tensor | float = 0.0
    leaving_squares: Tensor | float = 0.0

    def add_inside(self, _: Any, inputs: tuple[Tensor]) -> None:
        """A hook before `Inside.project`."""
        channels = inputs[0].transpose(0, 1).flatten(1)
        self.places += channels.shape[1]
        self.total = self.total + channels.double().sum(1)
        self.products = self.products + (channels @ channels.T).double()

    def add_leaving(self, _: Any, __: Any, output: Tensor) -> None:
        """A hook after `Inside.block`."""
        channels = output.transpose(0, 1).flatten(1).double()
        self.leaving = self.leaving + channels.sum(1)
        self.leaving_squares = self.leaving_squares + channels.square().sum(1)

    @property
    def mean(self) -> Tensor:
        """(E,)."""
        return torch.as_tensor(self.total / self.places)

    @property
    def covariance(self) -> Tensor:
        """(E, E), positive definite."""
        covariance = torch.as_tensor(self.products / self.places) - torch.outer(
            self.mean, self.mean
        )
        covariance.diagonal().add_(DAMPING * covariance.diagonal().mean())
        return covariance

    @property
    def variance_leaving(self) -> float:
        """Over all channels together."""
        mean = torch.as_tensor(self.leaving / self.places)
        return float((self.leaving_squares / self.places - mean.square()).sum())


@torch.inference_mode()
def observe(model: SegmentationNetwork, images: Tensor) -> list[Moments]:
    """What happens in each of `insides(model)` on images (N, 1, H, W) uint8."""
    seen, hooks = [Moments() for _ in insides(model)], []
    for inside, moments in zip(insides(model), seen, strict=True):
        hooks.append(inside.project.register_forward_pre_hook(moments.add_inside))
        hooks.append(inside.block.register_forward_hook(moments.add_leaving))
    batches = torch.split(images, BATCH)
    for batch in track(batches, "looking at images", len(batches), "batch"):
        model.encode((batch.float() / 255).to(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()
    return seen


@torch.no_grad()
def make_slim(inside: Inside, moments: Moments, share: float) -> None:
    """Takes channels out of a block and fits what it makes of the others to what it made of all."""
    norm = inside.projected
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).double()
    weight, mean, covariance = (
        inside.project.weight[:, :, 0, 0].double(),
        moments.mean,
        moments.covariance,
    )
    kept = choose(scale[:, None] * weight, covariance, share * moments.variance_leaving)
    fitted = refit(weight, covariance, kept)
    inside.keep(kept)
    inside.project.weight.copy_(fitted[:, :, None, None])
    norm.running_mean.sub_(weight @ mean - fitted @ mean[kept])


def choose(weight: Tensor, covariance: Tensor, budget: float) -> Tensor:
    """Which channels stay, in their order.

    Args:
        weight: what is made of them, (C, E).
        covariance: of the channels, (E, E), positive definite.
        budget: of the variance of what is made, summed over C, so much may be lost.

    Returns:
        (K,) numbers of channels, K a multiple of `MULTIPLE` if E is, and at least that.
    """
    precision, weight = torch.linalg.inv(covariance), weight.clone()
    gone: list[int] = []
    lost = 0.0
    while len(gone) < len(covariance):
        costs = (
            weight.square().sum(0) / precision.diagonal()
        )  # if it goes and the others make up for it
        costs[gone] = torch.inf
        channel = int(costs.argmin())
        lost += float(costs[channel])
        if lost > budget:
            break
        row = precision[channel] / precision[channel, channel]
        weight.addr_(weight[:, channel].clone(), row, alpha=-1)
        precision.addr_(precision[:, channel].clone(), row, alpha=-1)
        precision[channel], precision[:, channel], precision[channel, channel] = 0, 0, 1
        gone.append(channel)
    staying = max(len(covariance) - len(gone), 1)
    count = len(covariance) - min(-(-staying // MULTIPLE) * MULTIPLE, len(covariance))
    return torch.tensor(sorted(set(range(len(covariance))) - set(gone[:count])))


def refit(weight: Tensor, covariance: Tensor, kept: Tensor) -> Tensor:
    """The weights (C, K) with which the channels `kept` make most nearly what all made with `weight` (C, E)."""
    fitted: Tensor = torch.linalg.solve(
        covariance[kept][:, kept], (weight @ covariance[:, kept]).T
    ).T
    return fitted
