"""The training of one job. No other module of this package trains."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sonoseg.data.case import Case
from sonoseg.models.catalog import find_experiment
from sonoseg.models.encoders import load_tensors
from sonoseg.models.network import NetworkConfig
from sonoseg.reproduction.cost import measure_cost
from sonoseg.reproduction.jobs import Job
from sonoseg.reproduction.settings import ReproductionSettings
from sonoseg.train.configure import configure
from sonoseg.train.loop import train
from sonoseg.train.run_folder import RunConfig, best_epoch
from sonoseg.train.settings import RecipeChanges, TrainSettings


def train_job(job: Job, settings: ReproductionSettings) -> dict[str, Any]:
    """Trains the network of a job, or continues its training, and returns the entries for result.json.

    Raises:
        InputError: as `configure` and `train`.
    """
    config, training, validation = configured(job, settings)
    weights = first_weights_of(job, settings)
    history = train(config, training, validation, job.folder(settings.out), weights)
    best = best_epoch(history, config.recipe.monitor)
    recipe = config.recipe
    first_weights = settings.encoder_about or "imagenet"
    return {
        "epochs": len(history),
        "best_epoch": int(best["epoch"]),
        "training_seconds": sum(row["seconds"] for row in history),
        "encoder_weights": "none"
        if config.encoder_weights == "none"
        else first_weights,
        "cost": measure_cost(config.network, recipe.dropout, config.size, recipe.batch),
    }


def configured(
    job: Job, settings: ReproductionSettings
) -> tuple[RunConfig, list[Case], list[Case]]:
    """Returns the run's config, and its training and validation cases, as `sonoseg train` would make them.

    Raises:
        InputError: as `configure`.
    """
    recipe = asdict(settings.recipe_of(job.model))
    asked = TrainSettings(
        model=job.model,
        data=settings.data,
        split=job.split,
        encoder_weights=first_weights_of(job, settings),
        size=settings.size,
        seed=job.seed,
        recipe=RecipeChanges(**recipe),
    )
    return configure(asked)


def first_weights_of(job: Job, settings: ReproductionSettings) -> str:
    """Returns `first_weights_for` the network of a job."""
    network = find_experiment(job.model).network
    return first_weights_for(network, settings.encoder_weights)


def first_weights_for(network: NetworkConfig, weights: str) -> str:
    """Returns imagenet, none, or the path `weights` if it contains all encoders of the network; otherwise none."""
    if weights in ("imagenet", "none"):
        return weights
    has_all = encoders_in(weights).issuperset(network.encoders)
    return weights if has_all else "none"


@functools.cache
def encoders_in(weights: str) -> frozenset[str]:
    """Returns the names of the encoders in the file `weights`. It is read once, for all models."""
    names = [
        name
        for name in load_tensors(Path(weights))
        if name.startswith("encoders.parts.")
    ]
    return frozenset(name.split(".")[2] for name in names)
