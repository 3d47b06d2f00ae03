"""How many images a second does training take in, beside a plain loop and beside what people use?

    python benchmarks/training_speed.py                       # Model 1, 224 pixels, batch 8
    python benchmarks/training_speed.py --model sonoseg-1
    python benchmarks/training_speed.py --batch 64 --images 2048 --graph       # on a GPU

The sides train for one short epoch each, in turns, on the same synthetic images held in memory, a GPU's where there is
one: `sonoseg train`'s own step, if asked for also as a CUDA graph; the same network and loss in a plain float32 loop;
and smp.Unet("efficientnet-b0") in a Lightning module of the kind that its documentation shows (float32, Dice loss,
Adam). Without augmentation, validation or files.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import segmentation_models_pytorch as smp
import torch
from common import report, spread, take_turns
from torch import Tensor

from sonoseg.data.load import load_cases
from sonoseg.data.phantom import write_phantoms
from sonoseg.models.catalog import Experiment, find_experiment
from sonoseg.train.cuda_graph import replay_steps
from sonoseg.train.dataset import InMemory, Pairs
from sonoseg.train.device import has_bfloat16, make_fabric
from sonoseg.train.losses import LOSSES
from sonoseg.train.processes import Processes
from sonoseg.train.step import Learner
from sonoseg.train.teachers import Teachers

Batches = list[tuple[Tensor, Tensor]]


def trainer(precision: str) -> L.Trainer:
    """One epoch of Lightning that writes nothing."""
    return L.Trainer(
        max_epochs=1,
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class Peer(L.LightningModule):
    """smp.Unet as its documentation trains it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = smp.Unet("efficientnet-b0", encoder_weights=None)
        self.loss = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)

    def training_step(self, batch: Any, _: int) -> Tensor:
        image, mask = floats(batch)
        loss: Tensor = self.loss(self.model(image.expand(-1, 3, -1, -1)), mask)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 2e-4)


def floats(batch: Any) -> tuple[Tensor, Tensor]:
    """Image and mask (N, 1, H, W) in 0..1 of what the loader gives."""
    image, mask = batch[:2]
    return image.float() / 255, mask.float()


def phantoms(count: int, size: int) -> Pairs:
    """`count` synthetic images and masks in memory, 32 of them different."""
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(folder, min(count, 32))
        some = InMemory(load_cases(Path(folder)), size, "reading")
    rows = torch.arange(count) % len(some)
    return Pairs(some.inputs[rows], some.masks[rows])


def ours(
    experiment: Experiment, batches: Batches, cuda_graph: bool
) -> Callable[[], None]:
    """A call that trains for an epoch as `sonoseg train` does, and returns when the device is done."""
    fabric = make_fabric(Processes())
    fabric.launch()
    model: Any = experiment.build().to(memory_format=torch.channels_last)
    recipe, bfloat16 = replace(experiment.recipe, schedule="constant"), has_bfloat16()
    learner = Learner(fabric, model, recipe, 0, len(batches), Teachers(), bfloat16)
    learner.start_training()
    if cuda_graph:
        example = batches[0][0].float() / 255
        replay_steps(learner.model, example, bfloat16)

    def epoch() -> None:
        for number, (inputs, masks) in enumerate(batches):
            learner.step(inputs, masks, number)
        wait()

    return epoch


def peer(batches: Batches) -> Callable[[], None]:
    """A call that trains smp's network for an epoch in Lightning, and returns when the device is done."""
    module = Peer()

    def epoch() -> None:
        trainer("32-true").fit(module, batches)
        wait()

    return epoch


def wait() -> None:
    """Until the device has done all its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="model-1")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--graph", action="store_true")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pairs = phantoms(options.images, options.size).on(device)
    inputs, masks = pairs.inputs.split(options.batch), pairs.masks.split(options.batch)
    batches = list(zip(inputs, masks, strict=True))
    experiment = find_experiment(options.model)
    plain = experiment.build().to(device)
    optimizer = torch.optim.Adam(
        [p for p in plain.parameters() if p.requires_grad],
        experiment.recipe.learning_rate,
    )
    loss = LOSSES[experiment.recipe.loss]

    def loop() -> None:
        plain.train()
        for batch in batches:
            image, mask = floats(batch)
            optimizer.zero_grad()
            loss(plain(image), mask, torch.ones(len(image), device=device)).backward()
            optimizer.step()
        wait()

    sides: dict[str, Callable[[], Any]] = {
        f"{options.model}, sonoseg train": ours(experiment, batches, False),
        f"{options.model}, a plain float32 loop": loop,
        "smp.Unet efficientnet-b0, its Lightning example": peer(batches),
    }
    if options.graph:
        sides[f"{options.model}, sonoseg train --graph"] = ours(
            experiment, batches, True
        )
    times = take_turns(sides, options.rounds, warm=1)
    own = spread(times[f"{options.model}, sonoseg train"])["median"]
    rows = []
    for name, seconds in times.items():
        told = spread([options.images / value for value in seconds])
        rows.append(
            {
                "training": name,
                "images a second": round(told["median"], 2),
                "between": f"{told['quartile_1']:.2f} and {told['quartile_3']:.2f}",
                "sonoseg is faster by": round(spread(seconds)["median"] / own, 2),
            }
        )
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    settings = {"precision of sonoseg train": PRECISION, "device": name}
    on_gpu = "_gpu" if device.type == "cuda" else ""
    report(f"training_speed_{options.model}{on_gpu}", vars(options) | settings, rows)


PRECISION = "bfloat16 in the network" if has_bfloat16() else "float32"

if __name__ == "__main__":
    main()
