"""`sonoseg train`: from cases to a run folder, surviving whatever happens on the way."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from sonoseg.data.case import Case
from sonoseg.errors import InputError, MachineError, is_out_of_memory
from sonoseg.files import atomic_path, is_there
from sonoseg.train.dataset import Pairs, as_it_is, check_lesions, encode_once, read_once, record_of
from sonoseg.train.graphed import Graphed
from sonoseg.train.lock import held
from sonoseg.train.module import SegmentationModule
from sonoseg.train.processes import Processes, find_processes
from sonoseg.train.progress_bar import ProgressBar
from sonoseg.train.record import Record
from sonoseg.train.run_folder import (
    BEST,
    CURVES,
    LAST,
    RunConfig,
    best_epoch,
    check_claim,
    save_weights,
    seen_before,
    write_log,
)
from sonoseg.train.settings import check_network, configure
from sonoseg.train.start import can_go_on, check_checkpoint, check_part, claim, first_weights
from sonoseg.train.teachers import Teachers
from sonoseg.train.validate import MONITORS

if TYPE_CHECKING:
    from sonoseg.cli import Train


def train_command(options: Train) -> None:
    """`sonoseg train`: checks everything, trains, and says where the run is."""
    config, training, validation = configure(options)
    out = options.out or Path("runs") / f"{options.model}-{Path(options.split).stem}"
    check_graph(options)
    starts = (options.encoder_weights, options.start_from)
    history = train(
        config,
        training,
        validation,
        out,
        *starts,
        options.compile,
        options.teachers,
        graphed=options.graph,
    )
    if not find_processes().first:
        return
    best = best_epoch(history, config.recipe.monitor)
    print(
        f"{out}: {len(history)} epochs; best is epoch {best['epoch']:.0f} with validation loss "
        f"{best['validation_loss']:.4f} and Dice {best['validation_dice']:.4f}"
    )


def check_graph(options: Train) -> None:
    """Refuses --graph where it cannot be.

    Raises:
        InputError: no GPU of CUDA's, several processes, or --compile as well.
    """
    if options.graph and (not torch.cuda.is_available() or find_processes().count > 1):
        raise InputError("--graph", "needs one process with a GPU of CUDA's", "leave it out")
    if options.graph and options.compile:
        raise InputError("--graph", "is another way than --compile", "leave one of them out")


def train(
    config: RunConfig,
    training: Sequence[Case],
    validation: Sequence[Case],
    out: Path,
    encoder_weights: str = "none",
    start_from: Path | None = None,
    compiled: bool = False,
    teachers: Sequence[Path] = (),
    graphed: bool = False,
) -> list[dict[str, float]]:
    """Trains what `config` says on `training` and keeps what is best on `validation`.

    Goes on where an earlier, interrupted run of the same config in the same folder stopped; a finished one is
    left as it is.

    Args:
        config: the run.
        training: cases to learn from.
        validation: cases to choose the best epoch on.
        out: the run folder.
        encoder_weights: imagenet, none, or where to read the encoders' first weights.
        start_from: where to read the whole network's first weights.
        compiled: run the training's network through torch.compile.
        teachers: run folders of networks that the pixels learn from besides the masks.
        graphed: run the training's network as a CUDA graph; one GPU only.

    Returns:
        the log, a dict an epoch.

    Raises:
        InputError: bad images, a folder that holds another run, weights that cannot be had, too little memory.
        KeyboardInterrupt: stopped by hand; the run folder is usable as it is.
    """
    for subset, cases in {"training": training, "validation": validation}.items():
        if not cases:
            fault = f"the split {config.split} leaves no {subset} images"
            raise InputError(config.data, fault, "choose another --split")
    processes = find_processes()
    check_network(config, smallest_step(len(training), config.recipe.batch, processes.count))
    sets: list[Pairs] = [read_once(cases, config.size) for cases in (training, validation)]
    check_lesions(config.data, config.recipe.monitor, *sets)
    origins = [start_from] if start_from else []
    if (
        not start_from
        and config.encoder_weights != "none"
        and encoder_weights not in ("imagenet", "none")
    ):
        origins = [Path(encoder_weights)]
    record = Record(
        record_of(training, validation, config.size).own, seen_before(*origins, *teachers)
    )
    check_claim(out, config, record)
    begun = can_go_on(out)
    model = first_weights(
        config, "none" if begun else encoder_weights, None if begun else start_from
    )
    check_part(model, config.recipe.learn)
    told_by = Teachers(teachers)
    trainer, folder = make_trainer(config, out, processes)
    with held(out) if processes.first else contextlib.nullcontext():
        if processes.first:
            begun = claim(out, config, record, begun)
        module = SegmentationModule(model, config.recipe, config.seed, told_by)
        if encodes_once(config):
            device = trainer.strategy.root_device
            sets = [encode_once(model, images, device, has_bfloat16()) for images in sets]
        elif graphed:
            shape = (config.recipe.batch, 1, config.size, config.size)
            trainer.callbacks.append(Graphed(shape, has_bfloat16()))  # type: ignore[attr-defined]  # untyped there
        if compiled:
            compile_parts(module)
        if begun:
            check_checkpoint(out / LAST, module)
        first, second = loaders(
            [images.on(trainer.strategy.root_device) for images in sets], config, processes
        )
        fit(trainer, module, first, second, out / LAST if begun else None)
    return folder.history


def fit(
    trainer: L.Trainer,
    module: SegmentationModule,
    training: DataLoader[Any],
    validation: DataLoader[Any],
    checkpoint: Path | None,
) -> None:
    """Runs Lightning's loop, from `checkpoint` on if there is one; its ways to stop become ours.

    Raises:
        InputError: too little memory, or the disk fails.
        KeyboardInterrupt: stopped by hand.
    """
    try:
        trainer.fit(module, training, validation, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError) and not is_out_of_memory(error):
            raise
        raise out_of_memory(module.recipe.batch) from error


def smallest_step(images: int, batch: int, processes: int) -> int:
    """How many images the smallest training step has in each process (see `loaders`)."""
    return min(batch, -(-images // processes))


def encodes_once(config: RunConfig) -> bool:
    """Whether every epoch would see the same features, and nothing but them: frozen encoders, images never changed.

    Skip connections and teachers need more than the features.
    """
    same = config.network.frozen and config.recipe.augment == "none"
    return same and not getattr(config.network, "skips", False) and not config.teachers


def out_of_memory(batch: int) -> InputError:
    """The error that names the batch size to try."""
    hint = f"try --batch {batch // 2}" if batch > 1 else "try a smaller --size"
    return MachineError(f"--batch {batch}", "not enough memory", hint)


def compile_parts(module: SegmentationModule) -> SegmentationModule:
    """The same module, whose training steps run through torch.compile; validation, on the average or not, does not."""
    for name in ("parts", "decode"):
        setattr(module.model, name, torch.compile(getattr(module.model, name)))
    return module


def loaders(
    sets: Sequence[Pairs], config: RunConfig, processes: Processes
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training in an order that (seed, epoch) decides, validation in the order of the cases.

    Each process gets its share of the training images, and all validation images: dealt out, some would count twice.
    """
    shuffled: DistributedSampler[Any] = DistributedSampler(
        sets[0], processes.count, processes.rank, seed=config.seed
    )
    whole_batches = (
        len(shuffled) > config.recipe.batch
    )  # a last batch of one image breaks batch normalisation
    return (
        DataLoader(
            sets[0],
            config.recipe.batch,
            sampler=shuffled,
            drop_last=whole_batches,
            collate_fn=as_it_is,
        ),
        DataLoader(sets[1], config.recipe.batch, collate_fn=as_it_is),
    )


def make_trainer(config: RunConfig, out: Path, processes: Processes) -> tuple[L.Trainer, RunFolder]:
    """Lightning's loop with our run folder, progress bar and early stop."""
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    folder = RunFolder(out, config.recipe.monitor)
    callbacks: list[L.Callback] = [ProgressBar(hidden=not processes.first)]
    if config.recipe.patience:
        monitor = config.recipe.monitor
        stop = EarlyStopping(
            f"validation_{monitor}", patience=config.recipe.patience, mode=MONITORS[monitor]
        )
        callbacks.append(stop)
    trainer = L.Trainer(
        devices=processes.count // processes.machines,
        num_nodes=processes.machines,
        use_distributed_sampler=False,
        sync_batchnorm=processes.count > 1
        and torch.cuda.is_available(),  # PyTorch has none for processors
        max_epochs=config.recipe.epochs,
        precision="bf16-mixed" if has_bfloat16() else "32-true",
        callbacks=[*callbacks, folder],
        plugins=[LightningEnvironment()]
        if processes.count == 1
        else None,  # or it may wait for SLURM's other tasks
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic="warn" if torch.cuda.is_available() else True,
    )
    return trainer, folder


def has_bfloat16() -> bool:
    """Whether this processor or GPU computes well in bfloat16."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    if torch.backends.mps.is_available():
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(
        capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16")
    )


REDRAWN = 10.0
"""Seconds."""


class RunFolder(L.Callback):
    """After every epoch writes log.csv, best.safetensors if it is the best, and last, last.ckpt.

    The checkpoint comes last: a crash before it repeats the epoch, which writes the same files again. curves.png is
    drawn at most every `REDRAWN` seconds and at the end: a GPU's epoch may be shorter than the drawing.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        self.folder, self.monitor = folder, monitor
        self.history: list[dict[str, float]] = []
        self.started = time.monotonic()
        self.drawn = -REDRAWN

    def on_train_epoch_start(self, *_: Any) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, SegmentationModule)
        metrics = trainer.callback_metrics  # a mean over the processes: each must ask for it
        if trainer.is_global_zero:
            self._record(trainer, module, metrics)
        # Every process must call this too; the first one writes.
        with (
            atomic_path(self.folder / LAST)
            if trainer.is_global_zero
            else contextlib.nullcontext(self.folder / LAST) as path
        ):
            trainer.save_checkpoint(path)

    def _record(
        self, trainer: L.Trainer, module: SegmentationModule, metrics: Mapping[str, Tensor]
    ) -> None:
        row = {"epoch": float(trainer.current_epoch + 1)}
        row |= {name: float(value) for name, value in sorted(metrics.items())}
        row |= {"learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}
        row |= {"seconds": time.monotonic() - self.started}
        self.history.append(row)
        if best_epoch(self.history, self.monitor) is row:
            save_weights(self.folder, module.kept)
        write_log(self.folder, self.history)
        if time.monotonic() - self.drawn >= REDRAWN:
            self._draw()

    def _draw(self) -> None:
        draw_curves(self.folder, self.history, best_epoch(self.history, self.monitor)["epoch"])
        self.drawn = time.monotonic()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.is_global_zero and self.history:
            self._draw()

    def on_exception(
        self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException
    ) -> None:
        if not isinstance(exception, KeyboardInterrupt) or not trainer.is_global_zero:
            return
        if not any(
            is_there(self.folder / name) for name in (BEST, LAST)
        ):  # the first epoch of a new run
            assert isinstance(module, SegmentationModule)
            save_weights(self.folder, module.kept)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = state["history"]


def draw_curves(folder: Path, history: list[dict[str, float]], kept: float) -> None:
    """Draws curves.png."""
    from sonoseg.report.training_figures import learning_curves

    with atomic_path(folder / CURVES) as temporary:
        learning_curves(history, kept, temporary)
