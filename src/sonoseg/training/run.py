"""The run folder: config.json (what was asked), log.csv and curves.png (what happened), best.safetensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoseg.errors import InputError
from sonoseg.files import atomic_path, is_folder, is_there, write_text
from sonoseg.inputs import read_json, readable_file
from sonoseg.models.catalog import Recipe, find_experiment
from sonoseg.models.encoders import load_tensors
from sonoseg.models.familiarity import Familiarity
from sonoseg.models.network import NetworkConfig, SegmentationNetwork
from sonoseg.reader.bundle import WEIGHTS
from sonoseg.report.tables import csv_number, csv_text

CONFIG, LOG, CURVES, BEST, LAST = "config.json", "log.csv", "curves.png", "best.safetensors", "last.ckpt"
CALIBRATION, FAMILIARITY = "calibration.json", "familiarity.safetensors"
LARGE = 1024
"""Elements from which on a tensor is worth storing in 16 bits."""
SHIPPED = {file.parent.name: file.parent for file in WEIGHTS.glob(f"*/{CONFIG}")}
"""Name → folder of the runs inside: of the networks that the reader has as bundles of the same names."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run ends with, but for the machine."""

    model: str
    network: NetworkConfig
    recipe: Recipe
    data: str
    """Names of the data folders; where they lie does not matter."""
    split: str
    cases: str
    """sha256 over the names of the training and validation images, in order."""
    size: int
    seed: int
    encoder_weights: str
    """imagenet, none, or name and sha256 of the file."""
    start_from: str
    """Name and sha256 of the weights that the whole network began with; empty if it began anew."""
    lineage: tuple[dict[str, Any], ...] = ()
    """The configs of the runs that the first weights or the teachers came from, the oldest first."""
    teachers: tuple[str, ...] = ()
    """Name and sha256 of the networks that it learned from besides the masks."""

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # tuples as lists, as when read back

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """The config of the run in `folder`.

        Raises:
            InputError: there is none, or it is not one of ours.
        """
        file = folder / CONFIG
        try:
            value = read_json(file)
            network, recipe = value.pop("network"), value.pop("recipe")
            network = {name: tuple(part) if isinstance(part, list) else part for name, part in network.items()}
            value |= {name: tuple(value.get(name, ())) for name in ("lineage", "teachers")}
            kind = type(find_experiment(value["model"]).network)
            return cls(network=kind(**network), recipe=Recipe(**recipe), **value)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, InputError) as error:
            raise InputError(
                file, "not the config of a sonoseg run", "give a folder that sonoseg train made"
            ) from error


def find_run(run: Path | str) -> Path:
    """The folder of a shipped run ("default"); any other path as it is."""
    return SHIPPED.get(str(run), Path(run))


def weights_file(path: Path) -> Path:
    """The weights that `path`, a run folder, a shipped run or a .safetensors file, stands for."""
    path = find_run(path)
    return path / BEST if is_folder(path) else path


def fingerprint(path: Path) -> str:
    """Name and sha256 of the weights at `path`, to be told from others.

    Raises:
        InputError: there are none.
    """
    try:
        with readable_file(weights_file(path)).open("rb") as file:
            return f"{path.name} sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except (OSError, InputError) as error:
        raise InputError(path, "no weights there", "give a run folder or a .safetensors file") from error


def lineage(*origins: Path) -> tuple[dict[str, Any], ...]:
    """The configs of the runs `origins` and of those before them, each once; a lone file of weights has none."""
    known: list[dict[str, Any]] = []
    for run in map(find_run, origins):
        if is_folder(run):
            config = RunConfig.read(run)
            before = (*config.lineage, config.to_json() | {"lineage": []})
            known += [each for each in before if each not in known]
    return tuple(known)


def save_weights(folder: Path, model: SegmentationNetwork, half: bool = False) -> None:
    """Writes `model` as best.safetensors.

    Args:
        folder: the run.
        model: on any device.
        half: in 16 bits, but for what is a number a channel, as batch statistics are, and what weighs nothing.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    if half:
        for name, tensor in tensors.items():
            if tensor.ndim > 1 and tensor.numel() >= LARGE:
                tensors[name] = tensor.half()
    with atomic_path(folder / BEST) as temporary:
        save_file(tensors, temporary)


MONITORS = {"loss": "min", "dice": "max", "last": "max"}
"""Name → whether its best is the least or the greatest; of the last, the epoch's number is."""


def best_epoch(history: Sequence[dict[str, float]], monitor: str) -> dict[str, float]:
    """The row of the epoch that is kept: the best by `monitor`, the later of equals, never one that is no number."""
    sign, name = (1 if MONITORS[monitor] == "max" else -1), "epoch" if monitor == "last" else f"validation_{monitor}"
    return max(history, key=lambda row: (np.nan_to_num(sign * row[name], nan=-np.inf), row["epoch"]))


def load_run(run: Path | str) -> tuple[SegmentationNetwork, RunConfig]:
    """The best network of a run, in evaluation mode on the CPU, and its config.

    Args:
        run: a run folder, or "default", the one inside.

    Raises:
        InputError: the folder is not a run, or its weights do not fit.
    """
    folder = find_run(run)
    config = RunConfig.read(folder)
    model = config.network.build(config.recipe.dropout, pretrained=False)
    try:
        model.load_state_dict(load_tensors(folder))
    except RuntimeError as error:
        raise InputError(folder, "its weights do not fit its config", "train it again") from error
    return model.eval().to(memory_format=torch.channels_last), config


@dataclass(frozen=True)
class Calibration:
    """What `sonoseg calibrate` learned of a run's network.

    Attributes:
        temperature: the logits are divided by it.
        familiarity: tells images that are unlike the training images.
        report: how it was come by, as in calibration.json.
    """

    temperature: float
    familiarity: Familiarity
    report: dict[str, Any]


def load_calibration(folder: Path) -> Calibration | None:
    """The calibration of the run in `folder`; None if it has none.

    Raises:
        InputError: it cannot be read, or was made for other weights than those in the folder.
    """
    folder = find_run(folder)
    if not is_there(folder / CALIBRATION):
        return None
    mend = "run sonoseg calibrate again"
    try:
        report = read_json(folder / CALIBRATION)
        temperature, made_for = float(report["temperature"]), report["weights"]
        tensors = load_tensors(folder / FAMILIARITY)
        familiarity = Familiarity(*tensors["basis"].shape)
        familiarity.load_state_dict(tensors)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(folder / CALIBRATION, "not a calibration that can be read", mend) from error
    if made_for != fingerprint(folder).rpartition(" ")[2]:
        raise InputError(folder / CALIBRATION, "was made for other weights than the run's", mend)
    return Calibration(temperature, familiarity.eval(), report)


def write_log(folder: Path, history: list[dict[str, float]]) -> None:
    """Writes log.csv, a row an epoch."""
    header = list(history[0])
    write_text(folder / LOG, csv_text(header, [[csv_number(row[key]) for key in header] for row in history]))


def check_claim(folder: Path, config: RunConfig) -> None:
    """Makes sure that `folder` holds no other run than that of `config`.

    Raises:
        InputError: it does; names the first difference.
    """
    if not is_there(folder / CONFIG):
        return
    there, asked = RunConfig.read(folder).to_json(), config.to_json()
    for key in asked:
        if there[key] != asked[key]:
            fault = f"holds a run with another {key} ({there[key]} there, {asked[key]} asked for)"
            raise InputError(folder, fault, "choose another --out, or delete the folder")
