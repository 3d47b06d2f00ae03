"""What would a user do instead? smp.Unet("efficientnet-b0"), trained and scored as our own networks are.

    python benchmarks/peer.py BUSI runs/peer --subset validation
    python benchmarks/peer.py BUSI runs/peer --subset test

From random weights, on the split paper-clean, 45 epochs at 224 pixels with flips, a little geometry, gamma and gain,
BCE and Dice, and a one-cycle schedule up to 1e-3. Run again after a crash, it goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonoseg.data.load import load_cases
from sonoseg.data.splits import split_cases
from sonoseg.evaluation.evaluate import describe, evaluate
from sonoseg.models.catalog import Recipe
from sonoseg.models.depthwise import quicken
from sonoseg.models.encoders import load_tensors
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.reader.images import resize_image
from sonoseg.training.augment import AUGMENTATIONS, gamma, move, time_gain
from sonoseg.training.dataset import InMemory
from sonoseg.training.fit import loaders, make_trainer
from sonoseg.training.module import SegmentationModule
from sonoseg.training.processes import Processes
from sonoseg.training.run import BEST, LAST, RunConfig


def plain(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """`augment_light` without its lesion-free crops, which are ours: what a user would write."""
    image, mask = move(image, mask, strength=0.5, crops=0)
    return gamma(time_gain(image)).clamp(0, 1), mask


AUGMENTATIONS["plain"] = plain
RECIPE = Recipe(
    loss="bce+dice", learning_rate=1e-3, schedule="one-cycle", epochs=45, patience=0, monitor="dice", augment="plain"
)
"""No running average of the weights: the encoder's slow batch statistics (momentum 0.01) do not bear one."""


class Peer(FusionUNet):
    """smp's U-Net behind the face of our networks: image (N, 1, H, W) in 0..1 → logits (N, 1, H, W)."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.network = quicken(smp.Unet("efficientnet-b0", encoder_weights=None))

    def parts(self, image: Tensor) -> tuple[Tensor, None]:
        return self.network((image.expand(-1, 3, -1, -1) - 0.449) / 0.226), None


class PeerPredictor:
    """The trained network for `sonoseg.evaluation.evaluate`."""

    name, threshold, min_lesion_fraction = "smp.Unet efficientnet-b0", 0.5, 0.0

    def __init__(self, run: Path, size: int) -> None:
        self.size = (size, size)
        self.model = Peer().eval()
        self.model.load_state_dict(load_tensors(run / BEST))

    @torch.no_grad()
    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        batch = np.stack([resize_image(image, self.size) for image in images])[:, None]
        return list(self.model(torch.from_numpy(batch).float() / 255).sigmoid()[:, 0].numpy())


def train(subsets: dict[str, list], config: RunConfig, out: Path) -> None:
    """Trains, or goes on, into `out`."""
    torch.manual_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    module = SegmentationModule(Peer().to(memory_format=torch.channels_last), config.recipe, config.seed)
    sets = [InMemory(subsets[name], config.size) for name in ("train", "validation")]
    trainer, _ = make_trainer(config, out, Processes())
    checkpoint = out / LAST if (out / LAST).exists() else None
    trainer.fit(module, *loaders(sets, config, Processes()), ckpt_path=checkpoint, weights_only=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("busi", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--subset", default="validation")
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    recipe = Recipe(**{**RECIPE.__dict__, "epochs": options.epochs})
    config = RunConfig(
        "peer", FusionUNetConfig(), recipe, options.busi.name, "paper-clean", "", options.size, 0, "none", ""
    )
    subsets = split_cases(load_cases(options.busi), "paper-clean")
    train(subsets, config, options.out)
    metrics = evaluate(PeerPredictor(options.out, options.size), subsets[options.subset], options.out / options.subset)
    print(describe(metrics))


if __name__ == "__main__":
    main()
