"""What the jobs have come to, read back from their folders: a row for each model and split, its seeds together."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.core.metrics import image_scores, included
from sonoseg.evaluate.compare import Evaluated
from sonoseg.files import is_there
from sonoseg.inputs import read_json
from sonoseg.models.catalog import TABLE_1, find_experiment
from sonoseg.reproduction.jobs import SHIPPED, Job
from sonoseg.reproduction.work import EXPLANATIONS

PAPER_LESIONS = 62 / 78
"""Share of the paper's test images with a lesion: its mean over these alone is its printed mean divided by it."""


@dataclass(frozen=True)
class Row:
    """A model on a split, all seeds.

    Attributes:
        model: its name.
        split: its name; of a CSV file without folder and ending.
        folders: of the seeds that are done.
        failure: why the others are not; "" if none failed.
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
        """The model's name in a table; says where its training was cut off."""
        name = label_of(self.model)
        return name if self.cut_off is None else f"{name}, cut off at epoch {self.cut_off}"

    @property
    def cut_off(self) -> int | None:
        """The earliest epoch at which a clock ended a training of it; None if all ended by themselves."""
        found = [
            result["cut_off_at"] for result in self.results if result.get("cut_off_at") is not None
        ]
        return min(found, default=None)

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """result.json of each seed."""
        return [_json(folder / "result.json") for folder in self.folders]

    @cached_property
    def tests(self) -> list[Evaluated]:
        """Of each seed, what was found on each test image."""
        return [Evaluated.read(folder / "test") for folder in self.folders]

    def metrics(self, subset: str) -> list[dict[str, Any]]:
        """metrics.json of each seed."""
        return [_json(folder / subset / "metrics.json") for folder in self.folders]

    def scores(self, convention: str, metric: str) -> NDArray[np.float64]:
        """(M,): of each test image that the convention includes, the mean over the seeds."""
        every: NDArray[np.float64] = np.mean(
            [image_scores(test.counts, convention)[metric] for test in self.tests], axis=0
        )
        return every

    def groups(self, convention: str) -> list[str]:
        """Of the same images, which belong together."""
        chosen = included(self.tests[0].counts, convention)
        return [group for group, there in zip(self.tests[0].groups, chosen, strict=True) if there]

    def interval(self, convention: str, metric: str = "dice") -> tuple[float, float]:
        """95 % bootstrap interval of the mean of `scores`, groups drawn whole."""
        return bootstrap_interval(self.scores(convention, metric), self.groups(convention))

    def mean(self, subset: str, *keys: str) -> float | None:
        """The mean over the seeds of one number in metrics.json; None where it is not defined or not there."""
        return _mean_of(self.metrics(subset), keys)

    def cost(self, *keys: str) -> float | None:
        """The mean over the seeds of one number in result.json; None where it is not there."""
        return _mean_of(self.results, keys)

    @cached_property
    def explanations(self) -> dict[str, Any] | None:
        """faithfulness.json of the first seed; None if nothing was measured."""
        file = self.folders[0] / EXPLANATIONS if self.folders else None
        return _json(file) if file is not None and is_there(file) else None


def label_of(model: str) -> str:
    """A model's name in a table; of a reconstruction, that it is one."""
    if model == SHIPPED:
        return "sonoseg-1, shipped"
    rebuilt = "reconstruction" in find_experiment(model).note
    return f"{model} (reconstruction)" if rebuilt else model


def read_rows(out: Path, jobs: Sequence[Job]) -> list[Row]:
    """A row for each model and split, in the order of the jobs."""
    rows = []
    for model, split in dict.fromkeys((job.model, job.split) for job in jobs):
        seeds = [job for job in jobs if (job.model, job.split) == (model, split)]
        done = tuple(job.folder(out) for job in seeds if job.result(out) is not None)
        reasons = [job.failure(out) for job in seeds if job.result(out) is None]
        rows.append(
            Row(model, Path(split).stem, done, "; ".join(map(told, dict.fromkeys(reasons))))
        )
    return rows


def told(reason: str | None) -> str:
    """Why a model is missing, for people."""
    return "not done yet" if reason is None else f"failed: {reason}"


def printed(table: str) -> dict[str, dict[str, float | None]]:
    """A table of the paper: model → column → value, None where it prints none.

    Args:
        table: table1, auc or table5. Models are named as in the catalog.
    """
    text = (files("sonoseg.reproduction") / "paper" / f"{table}.csv").read_text(encoding="utf-8")
    rows = {}
    for row in csv.DictReader(text.splitlines()):
        name = row.pop("model")
        name = (
            f"model-{name.removeprefix('Model ')}"
            if name.removeprefix("Model ").isdigit()
            else name.lower()
        )
        rows[name] = {
            key: float(value) if value else None for key, value in row.items() if _is_number(value)
        }
    return rows


def is_ours(model: str) -> bool:
    """Whether it is one of Table 1 or the network inside, not a rival."""
    return model == SHIPPED or model in {row.name for row in TABLE_1}


def best_of(rows: Sequence[Row]) -> Row | None:
    """Of the rows that are ours, the one with the highest validation Dice `paper`: the test set chooses nothing."""
    ours = [row for row in rows if row.done and is_ours(row.model)]
    return max(
        ours,
        key=lambda row: row.mean("validation", "conventions", "paper", "dice") or 0.0,
        default=None,
    )


def _mean_of(entries: Sequence[Any], keys: Sequence[str]) -> float | None:
    values = []
    for entry in entries:
        for key in keys:
            entry = (entry or {}).get(key)
        values.append(entry)
    return None if not values or any(value is None for value in values) else float(np.mean(values))


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(file)
    return found
