"""From the settings of a training to its checked `RunConfig` and its images."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

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
from sonoseg.train.dataset import record_of
from sonoseg.train.gather import check_apart, gather
from sonoseg.train.run_folder import RunConfig, find_run, fingerprint, lineage
from sonoseg.train.settings import (
    NetworkChanges,
    RecipeChanges,
    TrainSettings,
    check_options,
)
from sonoseg.train.validate import ASKED_RECIPE_RULES


def configure(settings: TrainSettings) -> tuple[RunConfig, list[Case], list[Case]]:
    """The run that these settings ask for, with its training and validation cases.

    The images are read, since the config names them by their pixels. `read_once` keeps them for the training.

    Raises:
        InputError: a setting or a folder is wrong.
    """
    experiment = find_experiment(settings.model)
    recipe = changed_recipe(experiment.recipe, settings.recipe)
    check_recipe(recipe)
    network = changed_network(experiment, settings.network)
    training, validation = gather(settings.data, settings.split, settings.also)
    record = record_of(training, validation, settings.size)
    check_apart(settings.data, settings.split, training, settings.size)

    encoder_weights = settings.encoder_weights if network.encoders else "none"
    encoder_file = None
    if encoder_weights not in ("imagenet", "none"):
        encoder_file = Path(encoder_weights)
        encoder_weights = fingerprint(encoder_file)
    origin = settings.start_from or encoder_file
    origins = list(settings.teachers)
    if origin is not None:
        origins.insert(0, origin)

    names = [data_name(settings.data)]
    for source in settings.also:
        folder, _ = parse_source(source)
        names.append(data_name(folder))
    config = RunConfig(
        model=settings.model,
        network=as_narrow_as(network, origin),
        recipe=recipe,
        data="+".join(names),
        split=Path(settings.split).name,
        cases=record.digest,
        size=settings.size,
        seed=settings.seed,
        encoder_weights=encoder_weights,
        start_from=fingerprint(settings.start_from) if settings.start_from else "",
        lineage=lineage(*origins),
        teachers=tuple(map(fingerprint, settings.teachers)),
    )
    return config, training, validation


def changed_recipe(recipe: Recipe, changes: RecipeChanges) -> Recipe:
    """`recipe` with the changes."""
    return replace(recipe, **changes.given())


def changed_network(experiment: Experiment, changes: NetworkChanges) -> NetworkConfig:
    """The network of `experiment` with the changes.

    Raises:
        InputError: the network has no such option.
    """
    own = {field.name for field in fields(experiment.network)}
    given = changes.given()
    for name in given:
        if name not in own:
            problem = f"{experiment.name} has no such option"
            raise InputError(f"--{name}", problem, "leave it out or choose model-1")
    return replace(experiment.network, **given)


def as_narrow_as(network: NetworkConfig, origin: Path | None) -> NetworkConfig:
    """`network` with as many channels inside its encoders' blocks as the run has whose weights it is to start from."""
    if (
        origin is None
        or not isinstance(network, FusionUNetConfig)
        or not is_folder(find_run(origin))
    ):
        return network
    before = RunConfig.read(find_run(origin)).network
    if not isinstance(before, FusionUNetConfig):
        return network
    if (before.encoders, before.members) != (network.encoders, network.members):
        return network
    return replace(network, inner=before.inner)


def check_recipe(recipe: Recipe) -> None:
    """Refuses what no training can use.

    Raises:
        InputError: a number is out of its range, or a name is unknown.
    """
    rules = dict(ASKED_RECIPE_RULES)
    if (
        recipe.monitor == "last"
    ):  # the last epoch is that of the recipe only if no training stops early
        rules["patience"] = (
            (lambda value: value == 0),
            "--patience 0 with --monitor last",
        )
    check_options(asdict(recipe), rules)


def check_network(config: RunConfig, images: int) -> None:
    """Tries the network's first step with PyTorch's fake tensors, which have a shape and no memory.

    Args:
        config: of the run.
        images: the smallest number of images in a step.

    Raises:
        InputError: no such network can be built, or batch normalisation needs more images or larger ones.
    """
    recipe = config.recipe
    if (
        images > 1 and config.network == find_experiment(config.model).network
    ):  # tried before
        return
    try:
        with FakeTensorMode(), torch.no_grad():
            model = config.network.build(recipe.dropout, pretrained=False)
            if recipe.learn in dict(model.named_children()):
                model.eval().get_submodule(recipe.learn).train()
            model(torch.empty(images, 1, config.size, config.size))
    except Exception as error:  # PyTorch and timm raise many kinds
        if type(error).__module__.startswith(
            "torch._subclasses"
        ):  # an operation that has no fake
            return
        if is_out_of_memory(error):
            raise
        if "more than 1 value per channel" in str(error):
            problem = f"a step of one image of {config.size} pixels is too little for batch normalisation"
            hint = "give --batch 2 or more, more training images, or a larger --size"
            raise InputError(f"--batch {recipe.batch}", problem, hint) from error
        reason = (
            str(error).strip().splitlines()[0]
            if str(error).strip()
            else type(error).__name__
        )
        raise InputError(
            config.model,
            f"no such network can be built ({reason})",
            "try other --widths",
        ) from error
