"""How many images a second does training take in, beside a plain loop and beside what people use?

    python benchmarks/training_speed.py                       # Model 1, 224 pixels, batch 8
    python benchmarks/training_speed.py --model sonoseg-1
    python benchmarks/training_speed.py --batch 64 --images 2048     # on a GPU

The sides train for one short epoch each, in turns, on the same synthetic images held in memory, a GPU's where there is
one: `sonoseg train`'s own loop; the same network and loss in a plain float32 loop;
and smp.Unet("efficientnet-b0") in a Lightning module of the kind that its documentation shows (float32, Dice loss,
Adam). Without augmentation, validation or files.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import segmentation_models_pytorch as smp
import torch
from common import report, spread, take_turns
from sonoseg.train.fit import has_bfloat16
from sonoseg.train.module import SegmentationModule
from torch import Tensor
from torch.utils.data import DataLoader

from sonoseg.data.load import load_cases
from sonoseg.data.phantom import write_phantoms
from sonoseg.models.catalog import Experiment, find_experiment
from sonoseg.train.dataset import InMemory, Pairs, as_it_is
from sonoseg.train.losses import LOSSES


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


def our_module(experiment: Experiment) -> SegmentationModule:
    """As `sonoseg train` builds it."""
    return SegmentationModule(
        experiment.build().to(memory_format=torch.channels_last), experiment.recipe, 0
    )


def fitting(
    module: L.LightningModule, precision: str, loader: DataLoader[Any]
) -> Callable[[], None]:
    """A call that trains `module` for an epoch, and returns when the device is done."""

    def fit() -> None:
        trainer(precision).fit(module, loader)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return fit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="model-1")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = DataLoader(
        phantoms(options.images, options.size).on(device), options.batch, collate_fn=as_it_is
    )
    experiment = find_experiment(options.model)
    plain = experiment.build().to(device)
    optimizer = torch.optim.Adam(
        [p for p in plain.parameters() if p.requires_grad], experiment.recipe.learning_rate
    )
    loss = LOSSES[experiment.recipe.loss]

    def loop() -> None:
        plain.train()
        for batch in loader:
            image, mask = floats(batch)
            optimizer.zero_grad()
            loss(plain(image), mask, torch.ones(len(image), device=device)).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    sides: dict[str, Callable[[], Any]] = {
        f"{options.model}, sonoseg train": fitting(our_module(experiment), PRECISION, loader),
        f"{options.model}, a plain float32 loop": loop,
        "smp.Unet efficientnet-b0, its Lightning example": fitting(Peer(), "32-true", loader),
    }
    times = take_turns(sides, options.rounds, warm=1)
    ours = spread(times[f"{options.model}, sonoseg train"])["median"]
    rows = []
    for name, seconds in times.items():
        told = spread([options.images / value for value in seconds])
        rows.append(
            {
                "training": name,
                "images a second": round(told["median"], 2),
                "between": f"{told['quartile_1']:.2f} and {told['quartile_3']:.2f}",
                "sonoseg is faster by": round(spread(seconds)["median"] / ours, 2),
            }
        )
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    settings = {"precision of sonoseg train": PRECISION, "device": name}
    on_gpu = "_gpu" if device.type == "cuda" else ""
    report(f"training_speed_{options.model}{on_gpu}", vars(options) | settings, rows)


PRECISION = "bf16-mixed" if has_bfloat16() else "32-true"

if __name__ == "__main__":
    main()
