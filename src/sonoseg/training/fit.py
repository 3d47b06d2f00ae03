"""`sonoseg train`: from cases to a run folder, surviving whatever happens on the way."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler
from tqdm import tqdm

from sonoseg.data.case import Case
from sonoseg.data.splits import parse_source
from sonoseg.errors import InputError
from sonoseg.files import atomic_path, is_folder, is_there, output_folder, write_json
from sonoseg.models.catalog import Experiment, Recipe, find_experiment
from sonoseg.models.encoders import load_matching
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.network import NetworkConfig, SegmentationNetwork
from sonoseg.training.augment import AUGMENTATIONS
from sonoseg.training.dataset import Pairs, as_it_is, encode_once, gather, read_once
from sonoseg.training.graphed import Graphed
from sonoseg.training.losses import LOSSES
from sonoseg.training.module import OPTIMIZERS, SCHEDULES, SegmentationModule
from sonoseg.training.processes import Processes, find_processes
from sonoseg.training.run import (
    CONFIG,
    CURVES,
    LAST,
    MONITORS,
    RunConfig,
    best_epoch,
    check_claim,
    find_run,
    fingerprint,
    lineage,
    save_weights,
    write_log,
)
from sonoseg.training.teachers import Teachers

if TYPE_CHECKING:
    from sonoseg.cli import Reproduce, Sweep, Train

Settings = TypeVar("Settings", Recipe, NetworkConfig)

CHOICES: Mapping[str, Collection[str]] = {
    "loss": LOSSES,
    "augment": AUGMENTATIONS,
    "optimizer": OPTIMIZERS,
    "schedule": ("constant", *SCHEDULES),
    "monitor": MONITORS,
}
"""What those fields of `Recipe` that are words may be."""


def train_command(options: Train) -> None:
    """`sonoseg train`: checks everything, trains, and says where the run is."""
    config, training, validation = configure(options)
    out = options.out or Path("runs") / f"{options.model}-{Path(options.split).stem}"
    check_graph(options)
    starts = (options.encoder_weights, options.start_from)
    history = train(
        config, training, validation, out, *starts, options.compile, options.teachers, graphed=options.graph
    )
    if not find_processes().first:
        return
    best = best_epoch(history, config.recipe.monitor)
    print(
        f"{out}: {len(history)} epochs; best is epoch {best['epoch']:.0f} with validation loss "
        f"{best['validation_loss']:.4f} and Dice {best['validation_dice']:.4f}"
    )


def configure(options: Train | Sweep) -> tuple[RunConfig, list[Case], list[Case]]:
    """What the command line asks for, with the training and validation cases that it is about.

    Raises:
        InputError: an option or a folder is at fault.
    """
    experiment = find_experiment(options.model)
    check_size(options.size)
    recipe = overridden(experiment.recipe, options)
    check_recipe(recipe)
    check_network_options(experiment, options)
    training, validation = gather(options.data, options.split, options.also)
    names = "\n".join(case.name for case in (*training, *validation))
    weights, start = options.encoder_weights if experiment.network.encoders else "none", options.start_from
    given = None if weights in ("imagenet", "none") else Path(weights)
    teachers = getattr(options, "teachers", ())
    origins = [run for run in (start or given, *teachers) if run]
    config = RunConfig(
        model=options.model,
        network=as_narrow_as(overridden(experiment.network, options), start or given),
        recipe=recipe,
        data="+".join(folder.name for folder in (options.data, *(parse_source(also)[0] for also in options.also))),
        split=Path(options.split).name,
        cases=hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        size=options.size,
        seed=options.seed,
        encoder_weights=fingerprint(given) if given else weights,
        start_from=fingerprint(start) if start else "",
        lineage=lineage(*origins),
        teachers=tuple(map(fingerprint, teachers)),
    )
    return config, training, validation


def check_size(size: int) -> None:
    """Refuses a size that the encoders cannot halve five times.

    Raises:
        InputError: it is none.
    """
    if size < 32 or size % 32:
        raise InputError(f"--size {size}", "is not a multiple of 32", "try --size 224")


def check_graph(options: Train) -> None:
    """Refuses --graph where it cannot be.

    Raises:
        InputError: no GPU of CUDA's, several processes, or --compile as well.
    """
    if options.graph and (not torch.cuda.is_available() or find_processes().count > 1):
        raise InputError("--graph", "needs one process with a GPU of CUDA's", "leave it out")
    if options.graph and options.compile:
        raise InputError("--graph", "is another way than --compile", "leave one of them out")


def overridden(settings: Settings, options: Train | Sweep | Reproduce) -> Settings:
    """`settings` with what the command line says otherwise."""
    asked = {field.name: getattr(options, field.name, None) for field in fields(settings)}
    return replace(settings, **{name: value for name, value in asked.items() if value is not None})


def as_narrow_as(network: NetworkConfig, origin: Path | None) -> NetworkConfig:
    """`network` with as many channels inside its encoders' blocks as the run has whose weights it is to start from."""
    if origin is None or not isinstance(network, FusionUNetConfig) or not is_folder(find_run(origin)):
        return network
    before = RunConfig.read(find_run(origin)).network
    if not isinstance(before, FusionUNetConfig) or before.encoders != network.encoders:
        return network
    return replace(network, inner=before.inner)


def check_network_options(experiment: Experiment, options: Train | Sweep) -> None:
    """Refuses options of a network that this one does not have, and decoder stages without channels.

    Raises:
        InputError: one was given.
    """
    own = {field.name for field in fields(experiment.network)}
    for name in {field.name for field in fields(FusionUNetConfig)} - own:
        if getattr(options, name, None) is not None:
            raise InputError(f"--{name}", f"{experiment.name} has no such option", "leave it out or choose model-1")
    widths = getattr(options, "widths", None)
    if widths and min(widths) < 1:
        raise InputError(f"--widths {' '.join(map(str, widths))}", "is out of range", "try 128 64 48 32")


def check_recipe(recipe: Recipe) -> None:
    """Refuses what no training can use.

    Raises:
        InputError: a number is out of its range, or there is nothing of that name.
    """
    ranges = {
        **{name: getattr(recipe, name) in choices for name, choices in CHOICES.items()},
        "learning_rate": 0 < recipe.learning_rate < 10,
        "weight_decay": 0 <= recipe.weight_decay < 1,
        "batch": recipe.batch >= 1,
        "dropout": 0 <= recipe.dropout < 1,
        "epochs": recipe.epochs >= 1,
        "patience": recipe.patience >= 0 if recipe.monitor != "last" else recipe.patience == 0,
        "ema": 0 <= recipe.ema < 1,
    }
    for name, good in ranges.items():
        if not good:
            option = f"--{name.replace('_', '-')} {getattr(recipe, name)}"
            raise InputError(option, "is out of range", "see sonoseg train --help")


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
    checkpoint = out / LAST
    check_claim(out, config)
    begun = is_there(checkpoint)
    model = first_weights(config, "none" if begun else encoder_weights, None if begun else start_from)
    check_part(model, config.recipe.learn)
    told_by = Teachers(teachers)
    sets: list[Pairs] = [read_once(tuple(cases), config.size) for cases in (training, validation)]
    trainer, folder = make_trainer(config, out, processes)
    device = trainer.strategy.root_device
    if encodes_once(config):
        sets = [encode_once(model, images, device, has_bfloat16()) for images in sets]
    if processes.first:
        write_json(output_folder(out) / CONFIG, config.to_json())
    module = SegmentationModule(model, config.recipe, config.seed, told_by)
    if compiled:
        compile_parts(module)
    if graphed and not encodes_once(config):
        shape = (config.recipe.batch, 1, config.size, config.size)
        trainer.callbacks.append(Graphed(shape, has_bfloat16()))  # type: ignore[attr-defined]  # untyped there
    first, second = loaders([images.on(device) for images in sets], config, processes)
    try:
        trainer.fit(module, first, second, ckpt_path=checkpoint if begun else None, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "alloc" not in str(error):
            raise
        raise out_of_memory(config) from error
    return folder.history


def encodes_once(config: RunConfig) -> bool:
    """Whether every epoch would see the same features, and nothing but them: frozen encoders, images never changed.

    Skip connections and teachers need more than the features.
    """
    same = config.network.frozen and config.recipe.augment == "none"
    return same and not getattr(config.network, "skips", False) and not config.teachers


def out_of_memory(config: RunConfig) -> InputError:
    """The error that names the batch size to try."""
    smaller = max(1, config.recipe.batch // 2)
    return InputError(f"--batch {config.recipe.batch}", "not enough memory", f"try --batch {smaller}")


def first_weights(config: RunConfig, encoder_weights: str, start_from: Path | None) -> SegmentationNetwork:
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
    elif config.encoder_weights == "none" and not config.start_from and config.network.frozen:
        print("note: these encoders are frozen at random weights; they will learn nothing", file=sys.stderr)
    return model.to(memory_format=torch.channels_last)


def check_part(model: SegmentationNetwork, part: str) -> None:
    """Refuses to teach a part that the network does not have, or that is frozen.

    Raises:
        InputError: it is none of those that are named.
    """
    parts = {name.split(".")[0]: None for name, weight in model.named_parameters() if weight.requires_grad}
    if part and part not in parts:
        raise InputError(f"--learn {part}", "this network has nothing of that name to teach", f"try {', '.join(parts)}")


def compile_parts(module: SegmentationModule) -> SegmentationModule:
    """The same module, whose training steps run through torch.compile; validation, on the average or not, does not."""
    for name in ("parts", "decode"):
        setattr(module.model, name, torch.compile(getattr(module.model, name)))
    return module


def loaders(sets: Sequence[Pairs], config: RunConfig, processes: Processes) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training in an order that (seed, epoch) decides, validation in the order of the cases.

    Each process gets its share of the training images, and all validation images: dealt out, some would count twice.
    """
    shuffled: DistributedSampler[Any] = DistributedSampler(sets[0], processes.count, processes.rank, seed=config.seed)
    whole_batches = len(shuffled) > config.recipe.batch  # a last batch of one image breaks batch normalisation
    return (
        DataLoader(sets[0], config.recipe.batch, sampler=shuffled, drop_last=whole_batches, collate_fn=as_it_is),
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
        stop = EarlyStopping(f"validation_{monitor}", patience=config.recipe.patience, mode=MONITORS[monitor])
        callbacks.append(stop)
    trainer = L.Trainer(
        devices=processes.count // processes.machines,
        num_nodes=processes.machines,
        use_distributed_sampler=False,
        sync_batchnorm=processes.count > 1 and torch.cuda.is_available(),  # PyTorch has none for processors
        max_epochs=config.recipe.epochs,
        precision="bf16-mixed" if has_bfloat16() else "32-true",
        callbacks=[*callbacks, folder],
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
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


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
        with atomic_path(self.folder / LAST) if trainer.is_global_zero else nullcontext(self.folder / LAST) as path:
            trainer.save_checkpoint(path)

    def _record(self, trainer: L.Trainer, module: SegmentationModule, metrics: Mapping[str, Tensor]) -> None:
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

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero and not self.history:
            assert isinstance(module, SegmentationModule)
            save_weights(self.folder, module.kept)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = state["history"]


def draw_curves(folder: Path, history: list[dict[str, float]], kept: float) -> None:
    """Draws curves.png."""
    from sonoseg.report.figures import learning_curves

    with atomic_path(folder / CURVES) as temporary:
        learning_curves(history, kept, temporary)


class ProgressBar(L.Callback):
    """One bar for the whole run: epoch, loss, validation Dice, time left."""

    bar: tqdm[Any]

    def __init__(self, hidden: bool) -> None:
        self.hidden = hidden

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        total = int(trainer.estimated_stepping_batches)
        self.bar = tqdm(total=total, initial=trainer.global_step, unit="step", dynamic_ncols=True, disable=self.hidden)
        self.dice = float("nan")

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, *_: Any) -> None:
        if self.bar.update():  # it was drawn anew; before that, reading the loss would only make a GPU wait
            self.bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False)
            self.bar.set_postfix(loss=f"{float(outputs['loss']):.3f}", dice=f"{self.dice:.3f}", refresh=False)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.dice = float(trainer.callback_metrics["validation_dice"])

    def on_train_end(self, *_: Any) -> None:
        self.bar.close()
