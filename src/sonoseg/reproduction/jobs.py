"""What a reproduction consists of: one job for each model, split and seed, and what has become of it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError
from sonoseg.files import output_folder, write_json
from sonoseg.inputs import read_json
from sonoseg.models.catalog import CATALOG, RIVALS, TABLE_1, find_experiment

SHIPPED = "default"
"""The network inside: evaluated beside the others, not trained."""
RESULT, FAILED, SETTINGS = "result.json", "failed.json", "settings.json"


@dataclass(frozen=True)
class Job:
    """One training and all that is measured of it."""

    model: str
    split: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.model}-{Path(self.split).stem}-{self.seed}"

    def folder(self, out: Path) -> Path:
        """The run folder, with the evaluations in it."""
        return out / "runs" / self.name

    def result(self, out: Path) -> dict[str, Any] | None:
        """What was measured; None while it is not finished."""
        return _read(self.folder(out) / RESULT)

    def settings(self, out: Path) -> dict[str, Any] | None:
        """What decides the numbers of what is there, finished or not; None while nothing is."""
        return _read(self.folder(out) / SETTINGS)

    def failure(self, out: Path) -> str | None:
        """Why it could not be finished; None if nothing speaks against it."""
        found = _read(self.folder(out) / FAILED)
        return None if found is None else str(found["reason"])

    def fail(self, out: Path, error: Exception) -> None:
        """Records why it could not be finished, in a line and for whoever mends it; the next call tries again."""
        reason = " ".join(str(error).split()) or type(error).__name__
        trace = traceback.format_exception(error)
        write_json(
            output_folder(self.folder(out)) / FAILED,
            {**asdict(self), "reason": reason, "traceback": trace},
        )


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = read_json(file)
    except InputError:
        return None
    return found


_RANGE = re.compile("(?P<first>[0-9]{1,3})(-(?P<last>[0-9]{1,3}))?")
"""Numbers of Table 1; longer ones are no model's, and a range of them would fill the memory."""


def parse_models(words: str) -> tuple[str, ...]:
    """ "1-20,swin-unet" → names of models in that order, each once.

    Args:
        words: separated by commas: numbers of Table 1, ranges of them, names of the catalog, `default` for the network
            inside, or `all`: the twenty, the five rivals and `default`.

    Raises:
        InputError: there is no such model.
    """
    names: list[str] = []
    for word in (word.strip() for word in words.split(",")):
        numbers = _RANGE.fullmatch(word)
        if word == "all":
            names += [row.name for row in (*TABLE_1, *RIVALS)] + [SHIPPED]
        elif numbers:
            first, last = int(numbers["first"]), int(numbers["last"] or numbers["first"])
            names += [f"model-{number}" for number in range(first, last + 1)]
        else:
            names.append(word)
    for name in names:
        if name != SHIPPED:
            find_experiment(name)
    if not names:
        raise InputError(f"--models {words}", "names no model", "try 1-20,swin-unet")
    return tuple(dict.fromkeys(names))


def held(out: Path) -> list[Job]:
    """The jobs that the folder `out` holds, done or failed, whatever call they were of."""
    found = [
        _read(file)
        for name in (RESULT, FAILED)
        for file in sorted((out / "runs").glob(f"*/{name}"))
    ]
    jobs = [Job(**{key: each[key] for key in ("model", "split", "seed")}) for each in found if each]
    return list(dict.fromkeys(jobs))


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Each once, split by split, as in the catalog, the network inside last."""
    names = [*CATALOG, SHIPPED]
    return sorted(set(jobs), key=lambda job: (job.split, names.index(job.model), job.seed))


def plan(models: Iterable[str], splits: Iterable[str], seeds: Iterable[int]) -> list[Job]:
    """Every job, all models of one split and seed after each other."""
    once = list(dict.fromkeys(seeds))
    jobs = [
        Job(model, split, seed)
        for split in dict.fromkeys(splits)
        for seed in once
        for model in models
    ]
    return [job for job in jobs if job.model != SHIPPED or job.seed == once[0]]
