"""last.ckpt of a run folder: all that a later process needs to go on where a training stopped."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from sonoseg.errors import InputError, is_out_of_memory
from sonoseg.files import atomic_path
from sonoseg.inputs import readable_file
from sonoseg.train.log import History, read_log
from sonoseg.train.step import Learner
from sonoseg.train.stopping import is_finished

HINT = "delete it, and the training starts again"


def save_checkpoint(file: Path, learner: Learner, history: History) -> None:
    """Writes `file`, atomically.

    Raises:
        InputError: the disk is full or cannot be written to.
    """
    content = io.BytesIO()
    about = {"history": history, "processes": learner.fabric.world_size}
    torch.save({**learner.state_dict(), **about}, content)
    # PyTorch's own writer reports a full disk as an error that is no OSError.
    with atomic_path(file) as temporary:
        temporary.write_bytes(content.getbuffer())


def restore(file: Path, learner: Learner) -> History:
    """Brings `learner` to where `save_checkpoint` left it; returns the log up to there.

    A checkpoint of an earlier version of sonoseg cannot be restored. If its run is finished, nothing is left to
    train, so the log alone is returned.

    Raises:
        InputError: the file is damaged, of another network, or of an unfinished run of an earlier version or of another
            number of processes: the number of steps and the learning rates depend on it.
    """
    try:
        # weights_only: a checkpoint may come from elsewhere, and unpickling runs what it finds.
        state = torch.load(readable_file(file), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes PyTorch raise many kinds
        if is_out_of_memory(error):
            raise
        raise InputError(file, "is damaged or cut short", HINT) from error
    if isinstance(state, dict) and "pytorch-lightning_version" in state:
        written = read_log(file.parent)
        if is_finished(written, learner.recipe):
            return written
        raise InputError(file, "was written by an earlier version of sonoseg", HINT)
    own = learner.state_dict()
    if not isinstance(state, dict) or not state.keys() >= {
        *own,
        "history",
        "processes",
    }:
        raise InputError(file, "is damaged or cut short", HINT)
    for name in ("model", "averaged"):
        if _shapes(state[name]) != _shapes(own[name]):
            raise InputError(file, "belongs to another network", HINT)
    history: History = state["history"]
    begun_by = state["processes"]
    if begun_by != learner.fabric.world_size and not is_finished(
        history, learner.recipe
    ):
        count, again = "one process", "without torchrun and srun"
        if begun_by > 1:
            count = f"{begun_by} processes"
            again = (
                f"with torchrun --nproc-per-node {begun_by}, or srun with as many tasks"
            )
        hint = f"start it {again}, or choose another --out"
        raise InputError(file, f"was begun by {count}", hint)
    learner.load_state_dict(state)
    return history


def _shapes(tensors: dict[str, Any]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
