"""The run folder: config.json (what was asked), log.csv and curves.png (what happened), best.safetensors."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonoseg.errors import InputError, is_out_of_memory
from sonoseg.files import atomic_path, is_folder, is_there
from sonoseg.inputs import read_json, readable_file
from sonoseg.models.catalog import Recipe, find_experiment
from sonoseg.models.encoders import load_tensors
from sonoseg.models.network import NetworkConfig, SegmentationNetwork
from sonoseg.reader.bundle import WEIGHTS
from sonoseg.train.differences import differences
from sonoseg.train.record import UNKNOWN, Record, Seen, union
from sonoseg.train.validate import (
    CONFIG_RULES,
    MONITORS,
    NETWORK_RULES,
    RECIPE_RULES,
    check_fields,
    with_tuples,
)

CONFIG, LOG, CURVES, BEST, LAST = (
    "config.json",
    "log.csv",
    "curves.png",
    "best.safetensors",
    "last.ckpt",
)
CALIBRATION, FAMILIARITY = "calibration.json", "familiarity.safetensors"
SENSITIVITY = "sensitivity.csv"
MALIGNANCY, MALIGNANCY_HEAD = "malignancy.json", "malignancy.safetensors"
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
    """sha256 over names, subsets and pixels (at `size`) of the training and validation images and masks, in order.

    It is `Record.digest` of the run's images.csv.
    """
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
            return cls.from_json(read_json(file))
        except (ValueError, RecursionError, InputError) as error:
            reason = f" ({error.problem})" if isinstance(error, InputError) else ""
            reason = f" ({error})" if type(error) is ValueError else reason
            hint = "give a folder that sonoseg train made"
            raise InputError(
                file, f"not the config of a sonoseg run{reason}", hint
            ) from error

    @classmethod
    def from_json(cls, value: Any) -> RunConfig:
        """The config that `to_json` returned.

        Raises:
            ValueError: a key is missing or unknown, or has a value out of its range; names it.
            InputError: there is no such model.
        """
        check_fields("config", value, cls, CONFIG_RULES)
        network_kind = type(find_experiment(value["model"]).network)
        check_fields("network", value["network"], network_kind, NETWORK_RULES)
        check_fields("recipe", value["recipe"], Recipe, RECIPE_RULES)
        for earlier in value.get("lineage", ()):
            cls.from_json(earlier)
        network = network_kind(**with_tuples(value["network"]))
        recipe = Recipe(**value["recipe"])
        known = with_tuples(value) | {"network": network, "recipe": recipe}
        return cls(**known)


def find_run(run: Path | str) -> Path:
    """The folder of a shipped run ("default"); any other path as it is."""
    return SHIPPED.get(str(run), Path(run))


def weights_file(path: Path) -> Path:
    """The weights that `path`, a run folder, a shipped run or a .safetensors file, stands for."""
    path = find_run(path)
    return path / BEST if is_folder(path) else path


def file_hash(file: Path) -> str:
    """sha256 of a file, as "sha256:" and 64 hex digits."""
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def fingerprint(path: Path) -> str:
    """Name and sha256 of the weights at `path`, to be told from others.

    Raises:
        InputError: there are none.
    """
    return f"{path.name} {weights_hash(path)}"


def weights_hash(path: Path) -> str:
    """The sha256 of the weights at `path`.

    Raises:
        InputError: there are none.
    """
    try:
        return file_hash(readable_file(weights_file(path)))
    except (OSError, InputError) as error:
        raise InputError(
            path, "there are no weights", "give a run folder or a .safetensors file"
        ) from error


def lineage(*origins: Path) -> tuple[dict[str, Any], ...]:
    """The configs of the runs `origins` and of those before them, each once. A single file of weights has none."""
    known: list[dict[str, Any]] = []
    for run in map(find_run, origins):
        if is_folder(run):
            config = RunConfig.read(run)
            own = config.to_json() | {"lineage": []}
            for each in [*config.lineage, own]:
                if each not in known:
                    known.append(each)
    return tuple(known)


def seen_before(*origins: Path) -> tuple[Seen, ...]:
    """The images that the runs `origins` and those before them have seen, as far as they are recorded."""
    records: list[Record] = []
    for origin in origins:
        folder = find_run(origin)
        found = (
            Record.read_of(folder, RunConfig.read(folder).cases)
            if is_folder(folder)
            else None
        )
        records.append(found or Record((Seen(origin.name, UNKNOWN, 0, "", ""),)))
    return union(records)


def save_weights(folder: Path, model: SegmentationNetwork, half: bool = False) -> None:
    """Writes `model` as best.safetensors.

    Args:
        folder: the run.
        model: on any device.
        half: in 16 bits, but for what is a number a channel, as batch statistics are, and what weighs nothing.
    """
    tensors: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    if half:
        for name, tensor in tensors.items():
            if tensor.ndim > 1 and tensor.numel() >= LARGE:
                tensors[name] = tensor.half()
    write_tensors(folder / BEST, tensors)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """Writes a .safetensors file, atomically; returns its `file_hash`.

    Raises:
        InputError: the disk is full or cannot be written to.
    """
    from safetensors.torch import save

    content = save(
        tensors
    )  # its own writer reports a full disk as an error that is no OSError
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def best_epoch(history: Sequence[dict[str, float]], monitor: str) -> dict[str, float]:
    """The row of the epoch that is kept: the best by `monitor`, the later of equals, never one that is no number."""
    sign = 1 if MONITORS[monitor] == "max" else -1
    name = "epoch" if monitor == "last" else f"validation_{monitor}"

    def goodness(row: dict[str, float]) -> tuple[float, float]:
        value = sign * row[name]
        return (-math.inf if math.isnan(value) else value), row["epoch"]

    return max(history, key=goodness)


def load_run(run: Path | str) -> tuple[SegmentationNetwork, RunConfig]:
    """The best network of a run, in evaluation mode on the CPU, and its config.

    Args:
        run: a run folder, or "default", the one inside.

    Raises:
        InputError: the folder is not a run, or its weights do not fit.
    """
    folder = find_run(run)
    config = RunConfig.read(folder)
    try:
        model = config.network.build(config.recipe.dropout, pretrained=False)
    except Exception as error:  # PyTorch and timm raise many kinds
        if is_out_of_memory(error):
            raise
        raise InputError(
            folder / CONFIG,
            "it describes no network that can be built",
            "train it again",
        ) from error
    tensors = load_tensors(folder)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            folder, "its weights do not fit its config", "train it again"
        ) from error
    return model.eval().to(memory_format=torch.channels_last), config


def check_claim(folder: Path, config: RunConfig, record: Record | None = None) -> None:
    """Makes sure that `folder` holds no other run than that of `config`.

    Args:
        folder: the run folder, which need not be there.
        config: what is asked for.
        record: the images of `config`, to say which have changed.

    Raises:
        InputError: it does; names what differs.
    """
    if not is_there(folder / CONFIG):
        return
    there, asked = RunConfig.read(folder).to_json(), config.to_json()
    cases = there.pop("cases"), asked.pop("cases")
    found = ""
    if changed := differences(there, asked):
        found = f"other settings: {' and '.join(changed)}"
    elif cases[0] != cases[1]:
        found = (
            record.changes(Record.read(folder)) if record else "other images or masks"
        )
    if found:
        hint = "choose another --out, or delete the folder"
        raise InputError(folder, f"holds a run with {found}", hint)
