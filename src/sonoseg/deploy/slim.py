"""`sonoseg slim`: removes channels inside the blocks of a run's encoders; the outputs stay nearly the same.

In each block, channels are removed one by one. The next one is always the channel without which the block's output
changes least (optimal brain surgeon, Hassibi and Stork 1993). Then the weights of the other channels are fitted by
least squares, so that they replace the removed ones (channel pruning, He et al. 2017). Both steps need only the means
and covariances of the channels over training images: no masks, and no training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sonoseg.data.case import Case
from sonoseg.deploy.moments import Moments, observe
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, is_there, write_json
from sonoseg.lock import held
from sonoseg.models.catalog import count_parameters
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.narrow import Inside, insides
from sonoseg.models.network import SegmentationNetwork
from sonoseg.progress import track
from sonoseg.train.dataset import read_once, record_of
from sonoseg.train.gather import check_apart, gather
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

MULTIPLE = 8
"""The number of channels that stay is a multiple of this: processors compute that many at once."""


def slim_command(
    folder: Path, data: Path, split: str, also: Sequence[str], share: float, out: Path
) -> str:
    """`sonoseg slim`: checks the input, writes the run folder and reports what became smaller.

    Args:
        folder: a run folder, or "default", the bundled model.
        data: the data set that it was trained on.
        split: the split that it was trained on.
        also: more data sets that it was trained on, FOLDER or FOLDER@SPLIT.
        share: see `slim_run`.
        out: the run folder to write.

    Returns:
        The text to print.

    Raises:
        InputError: the data cannot be read, `also` has test images of `split`, or see `slim_run`.
    """
    cases, _ = gather(data, split, tuple(also))
    check_apart(data, split, cases, load_run(folder)[1].size)
    before = slim_run(folder, cases, share, out)
    after, _ = load_run(out)
    channels = f"{_inner_channels(after):,} of {_inner_channels(before):,} channels"
    parameters = (
        f"{count_parameters(after)[0]:,} of {count_parameters(before)[0]:,} parameters"
    )
    return f"{out}: {channels} inside the blocks, {parameters}"


def _inner_channels(model: SegmentationNetwork) -> int:
    return sum(inside.width for inside in insides(model))


def slim_run(
    run: Path, cases: Sequence[Case], share: float, out: Path
) -> SegmentationNetwork:
    """Writes a run folder with a slimmer network than that of `run`.

    Args:
        run: a run folder, or "default", the bundled model. It is not changed.
        cases: training images, whose channels' statistics are used; no mask is read.
        share: fraction of the variance of its output that each block may lose, between 0 and 1.
        out: the folder to write.

    Returns:
        The network of `run`.

    Raises:
        InputError: a `share` out of its range, a run that cannot be read or has no block that could be slimmer, too
            few images or one that cannot be read, or an `out` that holds another run.
    """
    if not 0 < share < 1:
        raise InputError(f"--share {share}", "is not between 0 and 1", "try 0.01")
    model, config = load_run(run)
    if not insides(model) or not isinstance(config.network, FusionUNetConfig):
        raise InputError(
            run,
            "has no EfficientNet-Lite encoder, and only these can be slimmed",
            "give a run of sonoseg-1",
        )
    if len(cases) < 2:
        raise InputError(
            run, "the split leaves no training images", "choose another --split"
        )
    record = Record(
        (), union((Record((), seen_before(run)), record_of(cases, (), config.size)))
    )
    config = replace(
        config,
        cases=record.digest,
        start_from=f"{fingerprint(run)}, {share:g} slimmer by {len(cases)} images",
        lineage=lineage(run),
    )
    # Check `out` before the long computation. How many channels stay is known only after it, so the network of a run
    # that is already there is not compared.
    network_there = (
        RunConfig.read(out).network if is_there(out / CONFIG) else config.network
    )
    claim = replace(config, network=network_there)
    check_claim(out, claim)

    slim = slimmed(model, read_once(tuple(cases), config.size).inputs, share)
    inner = tuple(inside.width for inside in insides(slim))
    config = replace(config, network=replace(config.network, inner=inner))
    with held(out), atomic_files():
        check_claim(out, claim)
        save_weights(out, slim)
        record.write(out)
        write_json(out / CONFIG, config.to_json())
    return model


def slimmed(
    model: SegmentationNetwork, images: Tensor, share: float
) -> SegmentationNetwork:
    """A slimmer copy of `model`, fitted on images (N, 1, H, W) uint8."""
    slim = copy.deepcopy(model)
    # All blocks are observed before the first one changes: each is fitted to the outputs of the original network.
    seen = observe(model, images)
    blocks = zip(insides(slim), seen, strict=True)
    for inside, moments in track(blocks, "choosing", len(seen), "block"):
        make_slim(inside, moments, share)
    return slim


@torch.no_grad()
def make_slim(inside: Inside, moments: Moments, share: float) -> None:
    """Removes channels of a block, in place, and fits the weights of the others to its former output."""
    norm = inside.projected
    assert norm.running_mean is not None and norm.running_var is not None
    # The normalisation scales each output channel. What counts is the loss after it.
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).double()
    weight = inside.project.weight[:, :, 0, 0].double()
    mean, covariance = moments.mean, moments.covariance
    kept = choose(scale[:, None] * weight, covariance, share * moments.variance_leaving)
    fitted = refit(weight, covariance, kept)
    inside.keep(kept)
    inside.project.weight.copy_(fitted[:, :, None, None])
    # Covariances know nothing of means. So the mean that the removed channels added is taken from the mean that the
    # normalisation subtracts.
    norm.running_mean.sub_(weight @ mean - fitted @ mean[kept])


def choose(weight: Tensor, covariance: Tensor, budget: float) -> Tensor:
    """Which channels stay, in their order.

    Args:
        weight: of the channels in each output, (C, E).
        covariance: of the channels, (E, E), positive definite.
        budget: how much of the variance of the outputs, summed over C, may be lost.

    Returns:
        (K,) numbers of channels, K a multiple of `MULTIPLE` if E is, and at least that.
    """
    precision, weight = torch.linalg.inv(covariance), weight.clone()
    gone: list[int] = []
    lost = 0.0
    while len(gone) < len(covariance):
        # The variance that is lost with each channel, once the others are fitted again.
        costs = weight.square().sum(0) / precision.diagonal()
        costs[gone] = torch.inf
        channel = int(costs.argmin())
        lost += float(costs[channel])
        if lost > budget:
            break
        remove(channel, weight, precision)
        gone.append(channel)
    staying = max(len(covariance) - len(gone), 1)
    rounded_up = min(-(-staying // MULTIPLE) * MULTIPLE, len(covariance))
    # The channels that were removed last come back, until the number is a multiple.
    removed = set(gone[: len(covariance) - rounded_up])
    kept = [channel for channel in range(len(covariance)) if channel not in removed]
    return torch.tensor(kept)


def remove(channel: int, weight: Tensor, precision: Tensor) -> None:
    """Removes a channel, in place, from the weights, which are fitted again, and from the inverse of the covariance.

    It is one step of Gaussian elimination. A new inverse for every removed channel would take far longer.

    Args:
        channel: its number.
        weight: (C, E).
        precision: the inverse of the covariance of the channels that are there, (E, E); rows of removed ones are 0, and
            their diagonal is 1.
    """
    row = precision[channel] / precision[channel, channel]
    weight.addr_(weight[:, channel].clone(), row, alpha=-1)
    precision.addr_(precision[:, channel].clone(), row, alpha=-1)
    precision[channel] = 0
    precision[:, channel] = 0
    precision[channel, channel] = 1


def refit(weight: Tensor, covariance: Tensor, kept: Tensor) -> Tensor:
    """The weights (C, K) with which the channels `kept` come nearest, by least squares, to all channels with `weight`.

    Args:
        weight: (C, E).
        covariance: of the channels, (E, E), positive definite.
        kept: (K,) numbers of channels.
    """
    among_kept = covariance[kept][:, kept]
    with_all = weight @ covariance[:, kept]
    fitted: Tensor = torch.linalg.solve(among_kept, with_all.T).T
    return fitted
