"""What a training is asked for: from the options of a command to a checked `RunConfig` and its images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch._subclasses import FakeTensorMode

from sonoseg.data.case import Case
from sonoseg.data.load import data_name
from sonoseg.data.splits import parse_source
from sonoseg.errors import InputError, is_out_of_memory
from sonoseg.files import is_folder
from sonoseg.models.catalog import Experiment, Recipe, find_experiment
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.network import NetworkConfig
from sonoseg.train.augment import AUGMENTATIONS
from sonoseg.train.dataset import gather, record_of
from sonoseg.train.losses import LOSSES
from sonoseg.train.module import OPTIMIZERS, SCHEDULES
from sonoseg.train.record import Record
from sonoseg.train.run_folder import RunConfig, find_run, fingerprint, lineage
from sonoseg.train.validate import (
    FUSION_RULES,
    MONITORS,
    RECIPE_RULES,
    SEED,
    SIZE,
    first_problem,
    word_of,
)

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


def configure(options: Train | Sweep) -> tuple[RunConfig, list[Case], list[Case]]:
    """What the command line asks for, with the training and validation cases that it is about.

    The images are read, since the config names them by their pixels; `read_once` keeps them.

    Raises:
        InputError: an option or a folder is at fault.
    """
    experiment = find_experiment(options.model)
    check_size(options.size)
    check_seed(options.seed)
    recipe = overridden(experiment.recipe, options)
    check_recipe(recipe)
    check_network_options(experiment, options)
    training, validation = gather(options.data, options.split, options.also)
    weights, start = (
        options.encoder_weights if experiment.network.encoders else "none",
        options.start_from,
    )
    given = None if weights in ("imagenet", "none") else Path(weights)
    teachers = getattr(options, "teachers", ())
    origins = [run for run in (start or given, *teachers) if run]
    record = record_of(training, validation, options.size)
    check_apart(options.data, training, record)
    folders = [options.data, *(parse_source(also)[0] for also in options.also)]
    config = RunConfig(
        model=options.model,
        network=as_narrow_as(overridden(experiment.network, options), start or given),
        recipe=recipe,
        data="+".join(map(data_name, folders)),
        split=Path(options.split).name,
        cases=record.digest,
        size=options.size,
        seed=options.seed,
        encoder_weights=fingerprint(given) if given else weights,
        start_from=fingerprint(start) if start else "",
        lineage=lineage(*origins),
        teachers=tuple(map(fingerprint, teachers)),
    )
    return config, training, validation


def check_apart(data: Path, training: Sequence[Case], record: Record) -> None:
    """Refuses a further data set that has validation images, under whatever names.

    Copies within one data set are left alone: published splits have some, and `data check` reports them.

    Args:
        data: the data set whose validation images are meant.
        training: all cases to train on.
        record: of `training` and of the validation images.

    Raises:
        InputError: there are such images.
    """
    chosen_on = {seen.image for seen in record.own[len(training) :]}
    pairs = zip(training, record.own, strict=False)
    both = [
        case
        for case, seen in pairs
        if seen.image in chosen_on and not case.image.is_relative_to(data)
    ]
    if both:
        problem = f"holds {len(both)} validation images of {data}, first {both[0].image}"
        raise InputError(
            "--also",
            problem,
            "take them out, or give FOLDER@SPLIT with a split that leaves them out",
        )


def check_size(size: int) -> None:
    """Refuses a size that the encoders cannot halve five times, or that no memory holds.

    Raises:
        InputError: it is one.
    """
    if not SIZE[0](size):
        raise InputError(f"--size {size}", f"is not {SIZE[1]}", "try --size 224")


def check_seed(seed: int, option: str = "--seed") -> None:
    """Refuses a seed that PyTorch's random numbers cannot start from.

    Raises:
        InputError: it is one.
    """
    if not SEED[0](seed):
        raise InputError(f"{option} {seed}", "is out of range", f"give {SEED[1]}")


def overridden(settings: Settings, options: Train | Sweep | Reproduce) -> Settings:
    """`settings` with what the command line says otherwise."""
    asked = {field.name: getattr(options, field.name, None) for field in fields(settings)}
    return replace(settings, **{name: value for name, value in asked.items() if value is not None})


def as_narrow_as(network: NetworkConfig, origin: Path | None) -> NetworkConfig:
    """`network` with as many channels inside its encoders' blocks as the run has whose weights it is to start from."""
    if (
        origin is None
        or not isinstance(network, FusionUNetConfig)
        or not is_folder(find_run(origin))
    ):
        return network
    before = RunConfig.read(find_run(origin)).network
    if not isinstance(before, FusionUNetConfig) or before.encoders != network.encoders:
        return network
    return replace(network, inner=before.inner)


def check_network_options(experiment: Experiment, options: Train | Sweep) -> None:
    """Refuses options of a network that this one does not have, and values that it cannot have.

    Raises:
        InputError: one was given.
    """
    own = {field.name for field in fields(experiment.network)}
    given = {field.name: getattr(options, field.name, None) for field in fields(FusionUNetConfig)}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given.keys() - own:
        raise InputError(
            f"--{name}", f"{experiment.name} has no such option", "leave it out or choose model-1"
        )
    problem = first_problem(given, FUSION_RULES)
    if problem is not None:
        name, wanted = problem
        value = given[name]
        words = " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
        raise InputError(f"--{name} {words}".strip(), "is out of range", f"give {wanted}")


def check_recipe(recipe: Recipe) -> None:
    """Refuses what no training can use.

    Raises:
        InputError: a number is out of its range, or there is nothing of that name.
    """
    values = asdict(recipe)
    rules = {**RECIPE_RULES, **{name: word_of(choices) for name, choices in CHOICES.items()}}
    if recipe.monitor == "last":
        rules["patience"] = (lambda value: value == 0), "--patience 0 with --monitor last"
    problem = first_problem(values, rules)
    if problem is not None:
        name, wanted = problem
        raise InputError(
            f"--{name.replace('_', '-')} {values[name]}", "is out of range", f"give {wanted}"
        )


def check_network(config: RunConfig, images: int) -> None:
    """Tries the network's first step with PyTorch's fake tensors, which have a shape and no memory.

    Args:
        config: of the run.
        images: the smallest number of images in a step.

    Raises:
        InputError: no such network can be built, or batch normalisation needs more images or larger ones.
    """
    recipe = config.recipe
    if images > 1 and config.network == find_experiment(config.model).network:  # tried before
        return
    try:
        with FakeTensorMode(), torch.no_grad():
            model = config.network.build(recipe.dropout, pretrained=False)
            if recipe.learn in dict(model.named_children()):
                model.eval().get_submodule(recipe.learn).train()
            model(torch.empty(images, 1, config.size, config.size))
    except Exception as error:  # PyTorch and timm raise many kinds
        if type(error).__module__.startswith("torch._subclasses"):  # an operation that has no fake
            return
        if is_out_of_memory(error):
            raise
        if "more than 1 value per channel" in str(error):
            fault = (
                f"a step of one image of {config.size} pixels is too little for batch normalisation"
            )
            hint = "give --batch 2 or more, more training images, or a larger --size"
            raise InputError(f"--batch {recipe.batch}", fault, hint) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            config.model, f"no such network can be built ({reason})", "try other --widths"
        ) from error
