"""Which changes of a training help in a hospital that it has not seen? One at a time, and the peers beside them.

    python benchmarks/levers.py BUSI BUSBRA BREAST --out OUT --encoders lite0.safetensors [--only NAME ...]

The first data set is read, the others are trained on. Each row of `ROWS` is one training by the recipe of sonoseg-1
with the encoder EfficientNet-Lite0 at 128 pixels, for the same number of steps; `lite_weights.py` makes its ImageNet
weights. `--stand-ins` are the encoders that Model 1 starts from. OUT gets the run folders and a table, levers-DATA.csv,
of what `--only` names, or of all rows. A gain is that of the mean Dice over the first row, with its 95 % interval. Two
calls with different rows may run side by side. After a crash they go on.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import peer
import torch
import torch.nn.functional as F
from card import make_view
from hard_crops import hard_crops
from lever_scores import scores
from torch import Tensor, nn

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.data.case import Case
from sonoseg.data.load import data_name, load_cases
from sonoseg.deploy.average import mean_state
from sonoseg.evaluate.cross import hold_out
from sonoseg.files import write_text
from sonoseg.models.encoders import load_matching, load_tensors
from sonoseg.models.fusion_unet import Ensemble, FusionUNet
from sonoseg.models.network import SegmentationNetwork
from sonoseg.report.tables import csv_number, csv_text
from sonoseg.train.augment import AUGMENTATIONS
from sonoseg.train.choices import Presence
from sonoseg.train.configure import configure
from sonoseg.train.dataset import InMemory
from sonoseg.train.loop import train
from sonoseg.train.run_folder import BEST, RunConfig, load_run
from sonoseg.train.settings import NetworkChanges, RecipeChanges, TrainSettings

LEVERS = ("roam", "paste", "grays", "sector", "machine")
"""Names of `card.make_view`; `sonoseg train` knows the first, too."""
AUGMENTATIONS["plain"] = make_view(())
AUGMENTATIONS.update({name: make_view((name,)) for name in LEVERS[1:]})
LITE0 = "tf_efficientnet_lite0"


def at_any_scale(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Plain views, each batch at 96, 128, 160 or 192 pixels."""
    image, mask = AUGMENTATIONS["plain"](image, mask)
    size = [32 * int(torch.randint(3, 7, ()))] * 2
    image = F.interpolate(image, size, mode="bilinear", antialias=True)
    mask = F.interpolate(mask, size, mode="bilinear", antialias=True)
    return image.clamp(0, 1), (mask > 0.5).to(image.dtype)


AUGMENTATIONS["scales"] = at_any_scale


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        augment: a name of `AUGMENTATIONS`.
        encoder: of the network.
        presence: its head.
        size: side of the images in pixels.
        seed: of all random choices.
        model: sonoseg-1; model-1, by its own recipe; or smp, for smp.Unet by the recipe of sonoseg-1.
        hard: this many training images are crops without a lesion in which the network of the row `plain` draws one.
    """

    augment: str = "wide"
    encoder: str = LITE0
    presence: Presence = "parts"
    size: int = 128
    seed: int = 0
    model: str = "sonoseg-1"
    hard: int = 0


ROWS: Mapping[str, Row] = {
    "plain": Row("plain"),
    **{name: Row(name) for name in LEVERS},
    "wide": Row(),
    "scales": Row("scales"),
    "hard crops": Row("plain", hard=404),
    "smp": Row(model="smp"),
    "model-1": Row(model="model-1"),
    "wide, head for images": Row(presence="image"),
    "wide, 160 pixels": Row(size=160),
    "wide, 256 pixels": Row(size=256),
    "wide, Lite2": Row(encoder="tf_efficientnet_lite2"),
    "plain, seed 1": Row("plain", seed=1),
    "wide, seed 1": Row(seed=1),
    "smp, plain": Row("plain", model="smp"),
}
"""`wide` has all `LEVERS` together."""


@dataclass(frozen=True)
class Data:
    """The data set that is read, those that are trained on, and the first weights of the encoders."""

    read: Path
    trained: tuple[Path, ...]
    out: Path
    lite: str
    stand_ins: str
    epochs: int


def networks(
    names: Sequence[str], data: Data
) -> Iterator[tuple[str, int, SegmentationNetwork]]:
    """Name, size of the images and network of each row; then the means of `plain`, of each of `LEVERS` and `wide`.

    These began with the same weights, and differ in their views alone.
    """
    alike: list[FusionUNet] = []
    for name in names:
        row = ROWS[name]
        network = network_of(name, row, data)
        yield name, row.size, network
        if name in ("plain", *LEVERS, "wide"):
            assert isinstance(network, FusionUNet)
            alike.append(network)
    if len(alike) > 1:
        yield "mean of the logits", Row().size, Ensemble(alike)
        mean = copy.deepcopy(alike[0])
        mean.load_state_dict(mean_state([each.state_dict() for each in alike]))
        yield "mean of the weights", Row().size, mean


def network_of(name: str, row: Row, data: Data) -> SegmentationNetwork:
    """The network of a row. It is trained if it has not been."""
    out = data.out / name.replace(", ", "-").replace(" ", "-")
    out.mkdir(parents=True, exist_ok=True)
    first, *others = data.trained
    network = NetworkChanges((row.encoder,), presence=row.presence)
    recipe = RecipeChanges(epochs=data.epochs, monitor="last", patience=0, batch=16)
    encoders = data.lite
    if row.model == "model-1":
        recipe, network = RecipeChanges(epochs=data.epochs), NetworkChanges()
        encoders = data.stand_ins
    settings = TrainSettings(
        "model-1" if row.model == "model-1" else "sonoseg-1",
        first,
        str(hold_out(first, out)),
        tuple(map(str, others)),
        encoders,
        size=row.size,
        seed=row.seed,
        recipe=recipe,
        network=network,
    )
    config, training, judged = configure(settings)
    if row.hard:
        plain = network_of("plain", ROWS["plain"], data)
        training += hard_crops(plain, training, row.size, out / "crops", row.hard)
        steps = data.epochs * (len(training) - row.hard)
        epochs = round(steps / len(training))
        config = replace(config, recipe=replace(config.recipe, epochs=epochs))
    if row.model != "model-1":
        # Not by its settings: `sonoseg train` does not know the names of single levers.
        config = replace(config, recipe=replace(config.recipe, augment=row.augment))
    if row.model == "smp":
        return train_smp(training, judged, config, data, out / "run")
    train(config, training, judged, out / "run", encoder_weights=encoders)
    return load_run(out / "run")[0]


def train_smp(
    training: list[Case],
    judged: list[Case],
    config: RunConfig,
    data: Data,
    out: Path,
) -> SegmentationNetwork:
    """smp.Unet with the same encoder, its own head for presence, and the same recipe."""
    torch.manual_seed(config.seed)
    model = peer.Peer(True, config.recipe.dropout, f"tu-{LITE0}")
    encoder: nn.Module = model.network.encoder  # type: ignore[assignment]  # it is one
    found = load_tensors(Path(data.lite))
    encoder.load_state_dict(
        {
            name: found[name.replace("model", f"encoders.parts.{LITE0}", 1)]
            for name in encoder.state_dict()
        }
    )
    peer.train(model, training, judged, config, out)
    load_matching(model, out / BEST)
    return model


def main() -> None:
    """Trains and reads, and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("read", type=Path)
    parser.add_argument("trained", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoders", dest="lite", required=True)
    parser.add_argument("--stand-ins", default="imagenet")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=tuple(ROWS))
    options = parser.parse_args()
    data = Data(
        options.read,
        tuple(options.trained),
        options.out,
        options.lite,
        options.stand_ins,
        options.epochs,
    )
    cases = load_cases(data.read)
    table: list[list[str]] = []
    first = None
    for name, size, network in networks(options.only, data):
        images = InMemory(cases, size)
        found, each = scores(network, images)
        has_lesion = images.masks.flatten(1).any(1).tolist()
        groups = [case.group for case in itertools.compress(cases, has_lesion)]
        first = each if first is None else first
        low, high = bootstrap_interval(each - first, groups) or (None, None)
        found |= {"gain": float((each - first).mean()), "low": low, "high": high}
        print(name, found, flush=True)
        trained = "+".join(map(data_name, data.trained))
        texts = [csv_number(value) for value in found.values()]
        table.append([name, data_name(data.read), trained, *texts])
    header = ("row", "read_on", "trained_on", *found)
    write_text(data.out / f"levers-{data_name(data.read)}.csv", csv_text(header, table))


if __name__ == "__main__":
    main()
