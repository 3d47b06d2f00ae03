"""The results of a model on a split, all seeds together, read from the folders of its jobs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.intervals import Interval, bootstrap_interval
from sonoseg.core.metrics import image_scores, included
from sonoseg.errors import InputError
from sonoseg.evaluate.evaluated import Evaluated, in_order_of
from sonoseg.files import is_there
from sonoseg.inputs import read_json
from sonoseg.models.catalog import TABLE_1, find_experiment
from sonoseg.reproduction.jobs import BUNDLED_MODEL, EXPLANATIONS, RESULT, Job

PAPER_LESIONS = 62 / 78
"""Share of the paper's test images with a lesion.

Under `paper` an image without lesion always scores 0. So the paper's mean over the images with a lesion is its printed
mean divided by this share.
"""
REDO = "delete the run folder that is wrong, and reproduce its model again"
"""Hint for a result that cannot be used."""


@dataclass(frozen=True)
class ModelResults:
    """The results of a model on a split, all seeds.

    Attributes:
        model: its name.
        split: its name; for a CSV file the name without folder and ending.
        folders: run folders of the seeds that are done.
        failure: why the other seeds are not done; "" if none is missing.
    """

    model: str
    split: str
    folders: tuple[Path, ...]
    failure: str

    @property
    def done(self) -> bool:
        return bool(self.folders)

    @property
    def label(self) -> str:
        """The model's name in a table, with the epoch at which its training was cut off."""
        name = label_of(self.model)
        return (
            name if self.cut_off is None else f"{name}, cut off at epoch {self.cut_off}"
        )

    @property
    def cut_off(self) -> int | None:
        """The earliest epoch at which a time limit ended a training; None if no training was ended so."""
        epochs = [result.get("cut_off_at") for result in self.results]
        found = [epoch for epoch in epochs if epoch is not None]
        return min(found, default=None)

    @property
    def encoder_starts(self) -> frozenset[str]:
        """What the encoders started from, in words; empty if that was at random, or is not recorded."""
        starts = {result.get("encoder_weights") for result in self.results}
        return frozenset(start for start in starts if start and start != "none")

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """result.json of each seed."""
        return [_json(folder / RESULT) for folder in self.folders]

    @cached_property
    def tests(self) -> list[Evaluated]:
        """The evaluation on the test images, for each seed."""
        return [Evaluated.read(folder / "test") for folder in self.folders]

    def metrics(self, subset: str) -> list[dict[str, Any]]:
        """metrics.json of each seed."""
        return [_json(folder / subset / "metrics.json") for folder in self.folders]

    def scores(self, convention: str, metric: str) -> NDArray[np.float64]:
        """Returns (M,): the mean over the seeds for each test image that the convention includes."""
        of_seeds = [
            image_scores(test.counts, convention)[metric] for test in self.tests
        ]
        mean: NDArray[np.float64] = np.mean(of_seeds, axis=0)
        return mean

    def groups(self, convention: str) -> list[str]:
        """Returns the groups of the same images."""
        test = self.tests[0]
        chosen = included(test.counts, convention)
        return [
            group for group, there in zip(test.groups, chosen, strict=True) if there
        ]

    def interval(self, convention: str, metric: str = "dice") -> Interval | None:
        """Returns the 95 % bootstrap interval of the mean of `scores`, see `bootstrap_interval`."""
        return bootstrap_interval(
            self.scores(convention, metric), self.groups(convention)
        )

    def mean(self, subset: str, *keys: str) -> float | None:
        """Returns the mean over the seeds of one number in metrics.json; None if it is undefined or missing."""
        return _mean_of(self.metrics(subset), keys)

    def cost(self, *keys: str) -> float | None:
        """Returns the mean over the seeds of one number in result.json; None if it is missing."""
        return _mean_of(self.results, keys)

    @cached_property
    def explanations(self) -> dict[str, Any] | None:
        """faithfulness.json of the first seed; None if nothing was measured."""
        if not self.folders:
            return None
        file = self.folders[0] / EXPLANATIONS
        return _json(file) if is_there(file) else None


def label_of(model: str) -> str:
    """Returns a model's name in a table. It says if the model is a reconstruction."""
    if model == BUNDLED_MODEL:
        return "sonoseg-1, shipped"
    rebuilt = "reconstruction" in find_experiment(model).note
    return f"{model} (reconstruction)" if rebuilt else model


def read_results(out: Path, jobs: Sequence[Job]) -> list[ModelResults]:
    """Returns the results of each model on each split, in the order of the jobs."""
    seeds: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        seeds.setdefault((job.model, job.split), []).append(job)
    rows = []
    for (model, split), own_jobs in seeds.items():
        folders: list[Path] = []
        reasons: list[str] = []
        for job in own_jobs:
            if job.result(out) is not None:
                folders.append(job.folder(out))
            else:
                reasons.append(describe_failure(job.failure(out)))
        failure = "; ".join(dict.fromkeys(reasons))
        rows.append(ModelResults(model, Path(split).stem, tuple(folders), failure))
    return rows


def check_results(rows: Iterable[ModelResults]) -> None:
    """Makes sure that the scores of one split can be compared image by image.

    Raises:
        InputError: an evaluation is damaged, see `Evaluated.read`, or it has other images, masks or groups than the
            first one of its split, or another order of the images.
    """
    of_split: dict[str, Evaluated] = {}
    for row in rows:
        try:
            for test in row.tests:
                _check_images(test, of_split.setdefault(row.split, test))
        except InputError as error:
            raise InputError(error.subject, error.problem, REDO) from error


def _check_images(test: Evaluated, first: Evaluated) -> None:
    in_order_of(first, test)
    if test.files != first.files:
        problem = f"has another order of images than {first.name}"
        raise InputError(test.name, problem, REDO)


def describe_failure(reason: str | None) -> str:
    """Returns why the results of a seed are missing."""
    return "not done yet" if reason is None else f"failed: {reason}"


def printed(table: str) -> dict[str, dict[str, float | None]]:
    """Returns a table of the paper: model → column → value, None if the paper prints none.

    Args:
        table: table1, auc or table5. Models are named as in the catalog.
    """
    file = files("sonoseg.reproduction") / "paper" / f"{table}.csv"
    text = file.read_text(encoding="utf-8")
    rows = {}
    for row in csv.DictReader(text.splitlines()):
        name = _catalog_name(row.pop("model"))
        numbers = {key: value for key, value in row.items() if _is_number(value)}
        rows[name] = {
            key: float(value) if value else None for key, value in numbers.items()
        }
    return rows


def _catalog_name(printed_name: str) -> str:
    number = printed_name.removeprefix("Model ")
    return f"model-{number}" if number.isdigit() else printed_name.lower()


def is_ours(model: str) -> bool:
    """Whether it is a model of Table 1 or the bundled model, not a rival."""
    return model == BUNDLED_MODEL or model in {row.name for row in TABLE_1}


def best_of(rows: Sequence[ModelResults]) -> ModelResults | None:
    """Returns our model with the highest Dice `paper` on the validation images; None if no model of ours is done.

    The test images must not choose the model.
    """
    ours = [row for row in rows if row.done and is_ours(row.model)]

    def validation_dice(row: ModelResults) -> float:
        return row.mean("validation", "conventions", "paper", "dice") or 0.0

    return max(ours, key=validation_dice, default=None)


def _mean_of(entries: Sequence[Any], keys: Sequence[str]) -> float | None:
    """The mean of the numbers at entry[key][key]…; None if there are none or one is missing."""
    values = []
    for entry in entries:
        for key in keys:
            entry = (entry or {}).get(key)
        values.append(entry)
    if not values or any(value is None for value in values):
        return None
    return float(np.mean(values))


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(file)
    return found


def differ_in_start(rows: Iterable[ModelResults]) -> bool:
    """Whether encoders that were trained before were not all trained alike: then the start may explain a difference.

    Networks that started at random are compared with any other: the paper's rivals have encoders of their own.
    """
    return len({row.encoder_starts for row in rows if row.encoder_starts}) > 1
