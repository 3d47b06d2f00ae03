"""Every named experiment: the paper's twenty models, the five that it compares them with, and our own."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sonoseg.errors import InputError
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.network import NetworkConfig, SegmentationNetwork
from sonoseg.models.rivals.adu_net import AduNetConfig
from sonoseg.models.rivals.ddra_net import DdraNetConfig
from sonoseg.models.rivals.dpnet import DpNetConfig
from sonoseg.models.rivals.mrfe_cnn import MrfeCnnConfig
from sonoseg.models.swin_unet import SwinUNetConfig
from sonoseg.report.tables import text_table


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The defaults are the paper's."""

    loss: str = "bce"
    """A name of `sonoseg.train.losses.LOSSES`."""
    learning_rate: float = 1e-4
    """With the one-cycle schedule, the highest; with poly, the first."""
    optimizer: str = "adam"
    """adam, or sgd with a momentum of 0.9."""
    schedule: str = "constant"
    """constant, one-cycle, or poly: down to 0 as (1 − progress)^0.9."""
    weight_decay: float = 0.0
    """Decoupled with adam (AdamW), added to the gradient with sgd."""
    batch: int = 16
    """Images per step."""
    dropout: float = 0.3
    """Share of the bottleneck's channels that a step drops."""
    epochs: int = 50
    """The most epochs that are trained."""
    patience: int = 10
    """Stop after so many epochs without a better value of `monitor`; 0: never."""
    monitor: str = "loss"
    """Which epoch is kept: the one with the best validation loss, the one with the best validation dice (convention
    `paper`), or the last one. The last one needs a patience of 0."""
    augment: str = "none"
    """A name of `sonoseg.train.augment.AUGMENTATIONS`."""
    ema: float = 0.0
    """Decay of the running average of the weights. The average is validated and kept. 0: no average."""
    learn: str = ""
    """The part of the network that is trained, for example presence, head or encoders. All other weights and batch
    statistics stay as they are. Empty: the whole network is trained."""


@dataclass(frozen=True)
class Experiment:
    """A network and the recipe that it is trained with."""

    name: str
    network: NetworkConfig
    recipe: Recipe = field(default_factory=Recipe)
    note: str = ""
    """Its origin. `sonoseg models` shows the words before the colon."""

    def build(
        self, dropout: float | None = None, pretrained: bool = False
    ) -> SegmentationNetwork:
        """The network with fresh weights."""
        return self.network.build(
            self.recipe.dropout if dropout is None else dropout, pretrained
        )


R18, D121, E0, LITE = (
    "resnet18",
    "densenet121",
    "efficientnet_b0",
    "tf_efficientnet_lite2",
)
ALL = (R18, D121, E0)


def _row(
    number: int, attention: str, frozen: bool, encoders: tuple[str, ...], loss: str
) -> Experiment:
    network = FusionUNetConfig(encoders, attention, frozen)
    return Experiment(
        f"model-{number}", network, Recipe(loss=loss), f"the paper's Model {number}"
    )


TABLE_1 = (
    _row(1, "cbam", False, ALL, "bce"),
    _row(2, "cbam", False, ALL, "dice"),
    _row(3, "nonlocal", False, ALL, "bce"),
    _row(4, "nonlocal", False, ALL, "dice"),
    _row(5, "none", True, ALL, "dice"),
    _row(6, "none", True, ALL, "bce"),
    _row(7, "none", False, ALL, "bce"),
    _row(8, "none", False, ALL, "dice"),
    _row(9, "nonlocal", True, ALL, "dice"),
    _row(10, "cbam", True, ALL, "dice"),
    _row(11, "nonlocal", True, ALL, "bce"),
    _row(12, "cbam", True, ALL, "bce"),
    _row(13, "none", True, (D121, E0), "dice"),
    _row(14, "none", True, (D121, E0), "bce"),
    _row(15, "none", True, (R18, E0), "bce"),
    _row(16, "none", True, (R18, E0), "dice"),
    _row(17, "none", True, (R18, D121), "bce"),
    _row(18, "none", True, (R18, D121), "dice"),
    _row(19, "none", False, (D121, E0), "bce"),
    _row(20, "none", False, (D121, E0), "dice"),
)
"""Table 1 of the paper, in its order."""

RIVALS = (
    Experiment(
        "swin-unet",
        SwinUNetConfig(),
        Recipe(
            loss="0.4bce+0.6dice",
            optimizer="sgd",
            learning_rate=0.05,
            schedule="poly",
            weight_decay=1e-4,
            batch=24,
            dropout=0.0,
            epochs=150,
            patience=0,
            augment="light",
        ),
        "published: Cao et al. 2021, with its authors' recipe",
    ),
    Experiment(
        "mrfe-cnn",
        MrfeCnnConfig(),
        note="reconstruction: from the abstract of Ranjbarzadeh et al. 2022",
    ),
    Experiment(
        "adu-net",
        AduNetConfig(),
        note="reconstruction: from the title of Ejiyi et al. 2024",
    ),
    Experiment(
        "ddra-net",
        DdraNetConfig(),
        note="reconstruction: from the title of Sun et al. 2024",
    ),
    Experiment(
        "dpnet",
        DpNetConfig(),
        note="reconstruction: from the abstract of Liu et al. 2024",
    ),
)
"""The networks that the paper compares its models with. Where the authors' recipe is not known, the paper's is used."""

OURS = Experiment(
    "sonoseg-1",
    FusionUNetConfig((LITE,), skips=True, widths=(128, 64, 48, 32), presence="image"),
    Recipe(
        loss="bce+image-dice",
        learning_rate=1e-3,
        schedule="one-cycle",
        weight_decay=1e-2,
        batch=8,
        dropout=0.2,
        epochs=30,
        patience=0,
        monitor="dice",
        augment="light",
        ema=0.995,
    ),
    "ours: one light encoder, skip connections, a presence head that keeps normal images empty",
)

CATALOG: dict[str, Experiment] = {row.name: row for row in (*TABLE_1, *RIVALS, OURS)}


def find_experiment(name: str) -> Experiment:
    """The experiment called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in CATALOG:
        raise InputError(name, "no such model", f"choose one of {', '.join(CATALOG)}")
    return CATALOG[name]


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """(all, trainable) parameters."""
    total = trainable = 0
    for parameter in module.parameters():
        total += parameter.numel()
        if parameter.requires_grad:
            trainable += parameter.numel()
    return total, trainable


@functools.cache
def _counted(network: NetworkConfig) -> tuple[int, int]:
    """(all, trainable) parameters; several models of the catalog have one network."""
    with torch.device("meta"):  # without memory
        return count_parameters(network.build(0.0, False))


def list_models() -> list[dict[str, Any]]:
    """One dict per model of the catalog: name, encoders, attention, …, numbers of parameters."""
    rows = []
    for experiment in CATALOG.values():
        total, trainable = _counted(experiment.network)
        row = {
            "name": experiment.name,
            "total_params": total,
            "trainable_params": trainable,
            "encoders": list(experiment.network.encoders),
            "attention": experiment.network.attention,
            "frozen": experiment.network.frozen,
        }
        row |= dataclasses.asdict(experiment.network)
        row |= {"loss": experiment.recipe.loss, "note": experiment.note}
        rows.append(row)
    return rows


def models_command(as_json: bool = False) -> str:
    """`sonoseg models`: the catalog as a table, or as JSON; the text to print."""
    rows = list_models()
    if as_json:
        return json.dumps(rows, indent=2)
    header = (
        "name",
        "encoders",
        "attention",
        "frozen",
        "loss",
        "parameters",
        "trainable",
        "note",
    )
    cells = []
    for row in rows:
        cells.append(
            (
                row["name"],
                "+".join(row["encoders"]) or "-",
                row["attention"],
                "yes" if row["frozen"] else "no",
                row["loss"],
                row["total_params"],
                row["trainable_params"],
                row["note"].partition(":")[0],
            )
        )
    return text_table(header, cells)
