"""The training loop, from top to bottom: set up, train and validate epoch by epoch, keep the best, save, stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from sonoseg.data.case import Case
from sonoseg.errors import MachineError, is_out_of_memory
from sonoseg.files import is_there
from sonoseg.lock import held
from sonoseg.progress import Bar
from sonoseg.train.checkpoint import restore, save_checkpoint
from sonoseg.train.configure import check_network
from sonoseg.train.cuda_graph import replay_steps
from sonoseg.train.curves import Curves
from sonoseg.train.dataset import (
    BatchOrder,
    Pairs,
    check_lesions,
    encode_once,
    read_once,
    record_of,
)
from sonoseg.train.device import has_bfloat16, make_deterministic, make_fabric
from sonoseg.train.log import History, as_logged, write_log
from sonoseg.train.processes import find_processes
from sonoseg.train.record import Record
from sonoseg.train.run_folder import (
    BEST,
    LAST,
    RunConfig,
    best_epoch,
    check_claim,
    save_weights,
    seen_before,
)
from sonoseg.train.start import (
    can_go_on,
    check_part,
    check_subsets,
    claim,
    encodes_once,
    first_weights,
    origins_of,
    smallest_step,
)
from sonoseg.train.step import BatchScores, Learner
from sonoseg.train.stopping import is_over, not_finite
from sonoseg.train.teachers import Teachers

LOOK_EVERY = 20
"""On a GPU, the loss is checked every so many steps: to read it, the processor waits for the GPU."""


def train(
    config: RunConfig,
    training: Sequence[Case],
    validation: Sequence[Case],
    out: Path,
    encoder_weights: str = "none",
    start_from: Path | None = None,
    teachers: Sequence[Path] = (),
    cuda_graph: bool = False,
) -> History:
    """Trains the network of `config` on `training`, and keeps the epoch that is best on `validation`.

    Goes on where an earlier, interrupted run of the same config in the same folder stopped. A finished run is
    left unchanged.

    Args:
        config: the run.
        training: cases to learn from.
        validation: cases to choose the best epoch on.
        out: the run folder.
        encoder_weights: imagenet, none, or a run or a file of weights that the encoders start from.
        start_from: a run or a file of weights that the whole network starts from.
        teachers: run folders of networks that the pixels learn from besides the masks.
        cuda_graph: replay the network's steps as a CUDA graph; one GPU only.

    Returns:
        the log, one row per epoch.

    Raises:
        InputError: bad images, a folder that holds another run, weights that cannot be read, too little memory.
        KeyboardInterrupt: stopped by hand; the run folder is usable.
    """
    recipe, processes = config.recipe, find_processes()

    # Refuse what cannot work before anything is written.
    check_subsets(config, training, validation)
    check_network(config, smallest_step(len(training), recipe.batch, processes.count))
    images = read_once(training, config.size)
    judged = read_once(validation, config.size)
    check_lesions(config.data, recipe.monitor, images, judged)
    origins = origins_of(config, encoder_weights, start_from)
    seen = seen_before(*origins, *teachers)
    record = Record(record_of(training, validation, config.size).own, seen)
    check_claim(out, config, record)

    # An interrupted run has its weights in its checkpoint, so no others are read or downloaded.
    begun = can_go_on(out)
    first = ("none", None) if begun else (encoder_weights, start_from)
    model = first_weights(config, *first)
    check_part(model, recipe.learn)
    advisers = Teachers(teachers)

    fabric = make_fabric(processes)
    make_deterministic()
    # Only the first process writes. It locks the folder until the training ends, so that no other training does.
    with held(out) if processes.first else contextlib.nullcontext():
        if processes.first:
            begun = claim(out, config, record, begun)
        fabric.launch()
        # All processes must agree on whether they go on from a checkpoint.
        begun = fabric.broadcast(begun)
        bfloat16, device = has_bfloat16(), fabric.device
        order = BatchOrder(len(images), recipe.batch, config.seed, processes)
        steps, is_encoded = recipe.epochs * len(order), encodes_once(config)
        learner = Learner(
            fabric, model, recipe, config.seed, steps, advisers, bfloat16, is_encoded
        )
        history = restore(out / LAST, learner) if begun else []
        with readable_failures(out, learner):
            pairs: Pairs = images
            judged_pairs: Pairs = judged
            if is_encoded:
                # Only after `restore`: the encoders of an interrupted run are in its checkpoint.
                pairs = encode_once(learner.model, images, device, bfloat16)
                judged_pairs = encode_once(learner.model, judged, device, bfloat16)
            elif cuda_graph:
                learner.start_training()
                shape = (recipe.batch, 1, config.size, config.size)
                replay_steps(learner.model, torch.rand(shape, device=device), bfloat16)
            run_epochs(
                learner, pairs.on(device), judged_pairs.on(device), order, history, out
            )
    return history


def run_epochs(
    learner: Learner,
    training: Pairs,
    validation: Pairs,
    order: BatchOrder,
    history: History,
    out: Path,
) -> None:
    """Trains epoch by epoch until the recipe's last one, or until it stops early.

    Args:
        learner: the network in training.
        training: images of all processes, on the device.
        validation: images to choose the best epoch on, on the device.
        order: the rows of `training` in each batch of an epoch.
        history: the log of the epochs that are done; a row is added for each further one.
        out: the run folder. The first process writes into it after every epoch.
    """
    recipe, fabric, steps = learner.recipe, learner.fabric, len(order)
    look_every = 1 if fabric.device.type == "cpu" else LOOK_EVERY
    curves = Curves(out, recipe.monitor)
    step = len(history) * steps
    bar = Bar(
        "training",
        recipe.epochs * steps,
        "step",
        fabric.is_global_zero,
        leave=True,
        done=step,
    )
    with bar:
        for epoch in range(len(history), recipe.epochs):
            if is_over(history, recipe):
                break
            began = time.monotonic()

            # Train. The order of the images depends only on the seed and the epoch, so a resumed run has the same.
            learner.start_training()
            train_scores = Scores(fabric)
            for rows in order.of_epoch(epoch):
                inputs, masks = training.inputs[rows], training.masks[rows]
                scores = learner.step(inputs, masks, step)
                train_scores.add(scores, len(rows))
                if step % look_every == 0 and not scores.loss.isfinite():
                    raise not_finite(recipe, epoch, step)
                step += 1
                # To read the loss, the processor waits for the GPU. So it is read only when the bar is drawn again.
                if bar.update():
                    facts = {"loss": f"{float(scores.loss):.3f}"}
                    if history:
                        facts["dice"] = f"{history[-1]['validation_dice']:.3f}"
                    bar.describe(f"epoch {epoch + 1}/{recipe.epochs}", **facts)

            # Validate. Every process takes all images: if they were divided equally, some would count twice.
            learner.start_validation()
            validation_scores = validate(learner, validation)

            row = {"epoch": float(epoch + 1)}
            row |= train_scores.mean("train")
            row |= validation_scores.mean("validation")
            row |= {"learning_rate": learner.optimizer.param_groups[0]["lr"]}
            row |= {"seconds": time.monotonic() - began}
            row = as_logged(row)
            history.append(row)

            # Save. The checkpoint comes last. After a crash before it, the epoch is repeated and writes the same files.
            if fabric.is_global_zero:
                if best_epoch(history, recipe.monitor) is row:
                    save_weights(out, learner.kept)
                write_log(out, history)
                curves.draw_if_due(history)
                save_checkpoint(out / LAST, learner, history)
    if fabric.is_global_zero and history:
        curves.draw(history)


def validate(learner: Learner, images: Pairs) -> Scores:
    """The scores of the network that is kept, in the order of the cases."""
    scores = Scores(learner.fabric)
    for first in range(0, len(images), learner.recipe.batch):
        rows = slice(first, first + learner.recipe.batch)
        inputs, masks = images.inputs[rows], images.masks[rows]
        scores.add(learner.judge_batch(inputs, masks), len(masks))
    return scores


class Scores:
    """Sums of loss and Dice over images. Each term of the loss is summed over what it is the mean of.

    They stay on the device until the epoch ends: reading them earlier would make the processor wait for the GPU.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.terms = self.counts = self.dice = torch.zeros((), device=fabric.device)
        self.images = torch.tensor(0, device=fabric.device)

    def add(self, batch: BatchScores, images: int) -> None:
        """Adds the scores of a batch of so many images."""
        means, counts = batch.terms
        self.terms = self.terms + means * counts
        self.counts = self.counts + counts
        self.dice = self.dice + batch.dice * images
        self.images = self.images + images

    def mean(self, subset: str) -> dict[str, float]:
        """SUBSET_dice and SUBSET_loss, the means over the images of all processes."""
        dice = self._total(self.dice) / self._total(self.images)
        # A term that nothing counts for, such as pixels without a lesion, is 0.
        terms = self._total(self.terms) / self._total(self.counts).clamp(min=1)
        loss = terms.sum()
        return {f"{subset}_dice": float(dice), f"{subset}_loss": float(loss)}

    def _total(self, value: Tensor) -> Tensor:
        total = self.fabric.all_reduce(value.clone(), reduce_op="sum")
        assert isinstance(total, Tensor)
        return total


@contextlib.contextmanager
def readable_failures(out: Path, learner: Learner) -> Iterator[None]:
    """Leaves a usable run folder when a training is stopped by hand; says what to do about too little memory.

    Raises:
        MachineError: too little memory; it names the batch size to try.
    """
    batch = learner.recipe.batch
    try:
        yield
    except KeyboardInterrupt:
        is_new = not any(is_there(out / name) for name in (BEST, LAST))
        if (
            learner.fabric.is_global_zero and is_new
        ):  # of a new run, whose first epoch has not ended
            save_weights(out, learner.kept)
        raise
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError) and not is_out_of_memory(
            error
        ):
            raise
        hint = f"try --batch {batch // 2}" if batch > 1 else "try a smaller --size"
        raise MachineError(f"--batch {batch}", "not enough memory", hint) from error
