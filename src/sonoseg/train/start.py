"""How a training starts: with first weights, or where an earlier one in the same folder stopped."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from sonoseg.data.case import Case
from sonoseg.data.splits import FOLDS, TABLE_SPLIT
from sonoseg.errors import InputError, MachineError
from sonoseg.files import is_there, write_error, write_json
from sonoseg.models.encoders import load_matching, load_tensors
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.network import SegmentationNetwork
from sonoseg.train.record import Record
from sonoseg.train.run_folder import (
    BEST,
    CONFIG,
    LAST,
    RunConfig,
    check_claim,
    find_run,
)

logger = logging.getLogger(__name__)


def first_weights(
    config: RunConfig, encoder_weights: str, start_from: Path | None
) -> SegmentationNetwork:
    """The network before its first step, its random parts drawn from the seed.

    Where the config says that its encoders have no first weights, `encoder_weights` is not asked for any.
    """
    torch.manual_seed(config.seed)
    if config.encoder_weights == "none":
        encoder_weights = "none"
    pretrained = encoder_weights == "imagenet" and start_from is None
    model = config.network.build(config.recipe.dropout, pretrained)
    if start_from is not None:
        load_matching(model, find_run(start_from))
    elif encoder_weights not in ("imagenet", "none"):
        load_matching(model, find_run(encoder_weights), prefix="encoders.")
    elif (
        config.encoder_weights == "none"
        and not config.start_from
        and config.network.frozen
    ):
        logger.warning(
            "note: these encoders are frozen at random weights; they will learn nothing"
        )
    return model.to(memory_format=torch.channels_last)


def check_part(model: SegmentationNetwork, part: str) -> None:
    """Refuses a part that the network does not have, or that is frozen.

    Raises:
        InputError: there is no such part that can learn.
    """
    parts = {
        name.split(".")[0]: None
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    if part and part not in parts:
        raise InputError(
            f"--learn {part}",
            "this network has no such part, or the part is frozen",
            f"try {', '.join(parts)}",
        )


def can_go_on(folder: Path) -> bool:
    """Whether an interrupted or finished training is in `folder`, with its weights.

    A checkpoint without the file of the best weights cannot be resumed: it has only the weights of the last epoch.
    """
    if not is_there(folder / LAST):
        return False
    try:
        load_tensors(folder)
    except InputError:
        return False
    return True


def claim(folder: Path, config: RunConfig, record: Record, begun: bool) -> bool:
    """Writes into the folder, which is `held`, whose it is; a checkpoint that is of no use goes.

    Args:
        folder: the run folder.
        config: what is to be trained.
        record: on which images.
        begun: whether the folder held a training to go on with when it was looked at, before it was held.

    Returns:
        Whether it holds one now: another process may have trained since.

    Raises:
        InputError: the folder is another run's by now, or cannot be written to.
    """
    check_claim(folder, config, record)
    now = can_go_on(folder)
    if begun and not now:
        raise MachineError(
            folder,
            "its checkpoint or weights have just gone",
            "give the same command again",
        )
    if not now and is_there(folder / LAST):
        logger.warning(
            "note: %s is missing or damaged; the training begins again", folder / BEST
        )
        try:
            (folder / LAST).unlink()
        except OSError as error:
            raise write_error(folder / LAST, error) from error
    record.write(folder)
    write_json(folder / CONFIG, config.to_json())
    return now


def check_subsets(
    config: RunConfig, training: Sequence[Case], validation: Sequence[Case]
) -> None:
    """Refuses a split that leaves no images to train or to validate on.

    Raises:
        InputError: it is one.
    """
    for subset, cases in {"training": training, "validation": validation}.items():
        if not cases:
            problem = f"the split {config.split} leaves no {subset} images"
            hint = f"use {TABLE_SPLIT} (from {FOLDS} groups of images on also: grouped)"
            raise InputError(config.data, problem, hint)


def smallest_step(images: int, batch: int, processes: int) -> int:
    """The number of images in the smallest training step of a process (see `dataset.BatchOrder`)."""
    each = math.ceil(images / processes)
    return min(batch, each)


def origins_of(
    config: RunConfig, encoder_weights: str, start_from: Path | None
) -> list[Path]:
    """The runs or files that the first weights come from: one, or none."""
    if start_from is not None:
        return [start_from]
    if config.encoder_weights == "none" or encoder_weights in ("imagenet", "none"):
        return []
    return [Path(encoder_weights)]


def encodes_once(config: RunConfig) -> bool:
    """Whether the encoders' features are the same in every epoch, and nothing else is needed.

    They are if the encoders are frozen and the images never change. Skip connections and teachers need more than
    the features.
    """
    is_same = config.network.frozen and config.recipe.augment == "none"
    return is_same and not has_skips(config) and not config.teachers


def has_skips(config: RunConfig) -> bool:
    """Whether the network joins the encoders' maps to its decoder."""
    return isinstance(config.network, FusionUNetConfig) and config.network.skips
