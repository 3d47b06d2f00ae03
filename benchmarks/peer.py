"""What would a user do instead? smp.Unet("efficientnet-b0"), trained and scored as our own networks are.

    python benchmarks/peer.py BUSI runs/peer --subset validation
    python benchmarks/peer.py BUSI runs/peer --subset test
    python benchmarks/peer.py BUSI runs/ours --recipe sonoseg-1 --also BUSI@paper-clean BUSBRA@SPLIT --size 128

From random weights, on the split paper-clean, 45 epochs at 224 pixels with flips, a little geometry, gamma and gain,
BCE and Dice, and a one-cycle schedule up to 1e-3. Or by the recipe of sonoseg-1, with smp's own presence head.
Run again after a crash, it goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonoseg.core.resize import resize_image
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.splits import split_cases
from sonoseg.evaluate.evaluate import describe, evaluate
from sonoseg.models.catalog import OURS, Recipe
from sonoseg.models.depthwise import quicken
from sonoseg.models.encoders import load_matching
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.models.network import Output
from sonoseg.train.augment import AUGMENTATIONS, gamma, move, time_gain
from sonoseg.train.checkpoint import restore
from sonoseg.train.dataset import BatchOrder, InMemory
from sonoseg.train.device import has_bfloat16, make_deterministic, make_fabric
from sonoseg.train.gather import gather
from sonoseg.train.loop import run_epochs
from sonoseg.train.processes import Processes
from sonoseg.train.run_folder import BEST, LAST, RunConfig
from sonoseg.train.step import Learner
from sonoseg.train.teachers import Teachers

SPLIT = "paper-clean"


def plain(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """`augment_light` without its lesion-free crops, which are ours: what a user would write."""
    image, mask = move(image, mask, strength=0.5, crops=0)
    return gamma(time_gain(image)).clamp(0, 1), mask


AUGMENTATIONS["plain"] = plain
PLAIN = Recipe(
    loss="bce+dice",
    learning_rate=1e-3,
    schedule="one-cycle",
    epochs=45,
    patience=0,
    monitor="dice",
    augment="plain",
)
"""No running average of the weights: the encoder's slow batch statistics (momentum 0.01) do not bear one."""
RECIPES = {"plain": PLAIN, OURS.name: OURS.recipe}


class Peer(FusionUNet):
    """smp's U-Net behind the face of our networks: image (N, 1, H, W) in 0..1 → logits (N, 1, H, W).

    Args:
        presence: with its classification head, which judges whether there is a lesion.
        dropout: before that.
        encoder: smp's name of its encoder.
    """

    def __init__(
        self, presence: bool, dropout: float, encoder: str = "efficientnet-b0"
    ) -> None:
        nn.Module.__init__(self)
        head = {"classes": 1, "dropout": dropout} if presence else None
        self.network = quicken(smp.Unet(encoder, encoder_weights=None, aux_params=head))

    def outputs(self, image: Tensor) -> Output:
        answer = self.network((image.expand(-1, 3, -1, -1) - 0.449) / 0.226)
        return Output(*answer) if isinstance(answer, tuple) else Output(answer)


class PeerPredictor:
    """A trained network for `sonoseg.evaluate.evaluate`."""

    name, threshold, min_lesion_fraction = "smp.Unet efficientnet-b0", 0.5, 0.0

    def __init__(self, model: Peer, size: int) -> None:
        self.model, self.size = model.eval(), (size, size)

    @torch.no_grad()
    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        batch = np.stack([resize_image(image, self.size) for image in images])[:, None]
        return list(
            self.model(torch.from_numpy(batch).float() / 255).sigmoid()[:, 0].numpy()
        )


def train(
    model: Peer,
    training: list[Case],
    validation: list[Case],
    config: RunConfig,
    out: Path,
) -> None:
    """Trains, or goes on, into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    recipe, processes = config.recipe, Processes()
    images, judged = InMemory(training, config.size), InMemory(validation, config.size)
    order = BatchOrder(len(images), recipe.batch, config.seed, processes)
    fabric = make_fabric(processes)
    fabric.launch()
    make_deterministic()
    model = model.to(memory_format=torch.channels_last)
    steps = recipe.epochs * len(order)
    learner = Learner(
        fabric, model, recipe, config.seed, steps, Teachers(), bfloat16=has_bfloat16()
    )
    history = restore(out / LAST, learner) if (out / LAST).exists() else []
    device = fabric.device
    run_epochs(learner, images.on(device), judged.on(device), order, history, out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("busi", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--subset", default="validation")
    parser.add_argument("--recipe", choices=RECIPES, default="plain")
    parser.add_argument(
        "--also",
        nargs="+",
        default=(),
        help="further training images, as sonoseg train takes them",
    )
    parser.add_argument(
        "--start-from", type=Path, help="the folder of another run of this program"
    )
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    asked = {"epochs": options.epochs, "learning_rate": options.learning_rate}
    recipe = replace(
        RECIPES[options.recipe],
        **{name: value for name, value in asked.items() if value},
    )
    config = RunConfig(
        "peer",
        FusionUNetConfig(),
        recipe,
        options.busi.name,
        SPLIT,
        "",
        options.size,
        options.seed,
        "none",
        "",
    )
    torch.manual_seed(options.seed)
    model = Peer(options.recipe == OURS.name, recipe.dropout)
    if options.start_from:
        load_matching(model, options.start_from / BEST)
    train(model, *gather(options.busi, SPLIT, options.also), config, options.out)
    load_matching(model, options.out / BEST)
    cases = split_cases(load_cases(options.busi), SPLIT)[options.subset]
    print(
        describe(
            evaluate(
                PeerPredictor(model, options.size), cases, options.out / options.subset
            )
        )
    )


if __name__ == "__main__":
    main()
