"""`sonoseg train`: checks the settings, trains, and says where the run is."""

from __future__ import annotations

from pathlib import Path

import torch

from sonoseg.errors import InputError, counted
from sonoseg.train.configure import configure
from sonoseg.train.loop import train
from sonoseg.train.processes import find_processes
from sonoseg.train.run_folder import best_epoch
from sonoseg.train.settings import TrainSettings


def train_command(
    settings: TrainSettings, out: Path | None = None, cuda_graph: bool = False
) -> str:
    """Trains a network, or resumes an interrupted training.

    Args:
        settings: the training.
        out: the run folder; by default runs/MODEL-SPLIT.
        cuda_graph: replay the network's steps as a CUDA graph.

    Returns:
        one line about the run; nothing in all processes but the first.

    Raises:
        InputError: a setting, an image or a folder is wrong.
    """
    config, training, validation = configure(settings)
    if out is None:
        out = Path("runs") / f"{settings.model}-{Path(settings.split).stem}"
    if cuda_graph:
        check_cuda_graph()
    history = train(
        config,
        training,
        validation,
        out,
        encoder_weights=settings.encoder_weights,
        start_from=settings.start_from,
        teachers=settings.teachers,
        cuda_graph=cuda_graph,
    )
    if not find_processes().first:
        return ""
    best = best_epoch(history, config.recipe.monitor)
    loss, dice = best["validation_loss"], best["validation_dice"]
    return (
        f"{out}: {counted(len(history), 'epoch')}; best is epoch {best['epoch']:.0f} "
        f"with validation loss {loss:.4f} and Dice {dice:.4f}"
    )


def check_cuda_graph() -> None:
    """Refuses --graph where it is not possible.

    Raises:
        InputError: no GPU of CUDA's, or several processes.
    """
    if not torch.cuda.is_available() or find_processes().count > 1:
        raise InputError(
            "--graph", "needs a CUDA GPU and a single process", "leave it out"
        )
