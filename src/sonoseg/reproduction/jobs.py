"""The jobs of a reproduction, one for each model, split and seed, and what is stored of each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError
from sonoseg.files import output_folder, write_json
from sonoseg.inputs import read_json
from sonoseg.jobs import Failure
from sonoseg.models.catalog import CATALOG, RIVALS, TABLE_1, find_experiment

BUNDLED_MODEL = "default"
"""It is evaluated like the others, but not trained."""
RESULT = "result.json"
FAILED = "failed.json"
SETTINGS = "settings.json"
EXPLANATIONS = "faithfulness.json"
PICTURES = "pictures"
"""Files and the folder of pictures in the folder of a job."""


@dataclass(frozen=True)
class Job:
    """One training and everything that is measured on its network."""

    model: str
    split: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.model}-{Path(self.split).stem}-{self.seed}"

    def folder(self, out: Path) -> Path:
        """Returns the run folder, which also contains the evaluations."""
        return out / "runs" / self.name

    def result(self, out: Path) -> dict[str, Any] | None:
        """Returns result.json; None if the job is not finished."""
        return _read(self.folder(out) / RESULT)

    def settings(self, out: Path) -> dict[str, Any] | None:
        """Returns the settings of the results in the folder, finished or not; None if there are none."""
        return _read(self.folder(out) / SETTINGS)

    def failure(self, out: Path) -> str | None:
        """Returns why the job failed; None if it did not fail."""
        found = _read(self.folder(out) / FAILED)
        return None if found is None else str(found["reason"])

    def fail(self, out: Path, failure: Failure) -> None:
        """Records why the job failed. The next call tries again."""
        entries = asdict(self) | asdict(failure)
        write_json(output_folder(self.folder(out)) / FAILED, entries)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = read_json(file)
    except InputError:
        return None
    return found


_RANGE = re.compile("(?P<first>[0-9]{1,3})(-(?P<last>[0-9]{1,3}))?")
"""Numbers of Table 1. Longer numbers are refused here, because a range of them could fill the memory."""


def parse_models(words: str) -> tuple[str, ...]:
    """ "1-20,swin-unet" → names of models in that order, each once.

    Args:
        words: separated by commas: numbers of Table 1, ranges of them, names of the catalog, `default` for the bundled
            model, or `all`: the twenty models, the five rivals and `default`.

    Raises:
        InputError: there is no such model.
    """
    names: list[str] = []
    for part in words.split(","):
        word = part.strip()
        numbers = _RANGE.fullmatch(word)
        if word == "all":
            names += [experiment.name for experiment in TABLE_1]
            names += [experiment.name for experiment in RIVALS]
            names.append(BUNDLED_MODEL)
        elif numbers:
            first = int(numbers["first"])
            last = int(numbers["last"] or first)
            names += [f"model-{number}" for number in range(first, last + 1)]
        else:
            names.append(word)
    for name in names:
        if name != BUNDLED_MODEL:
            find_experiment(name)
    if not names:
        raise InputError(f"--models {words}", "names no model", "try 1-20,swin-unet")
    return tuple(dict.fromkeys(names))


def jobs_in(out: Path) -> list[Job]:
    """Returns the jobs in the folder `out`, done or failed, of any call.

    Raises:
        InputError: a folder has another name than its job, as a copy has, or there is no such model.
    """
    jobs: list[Job] = []
    for name in (RESULT, FAILED):
        for file in sorted((out / "runs").glob(f"*/{name}")):
            found = _read(file)
            if found is not None:
                jobs.append(_job_of(file, found))
    return list(dict.fromkeys(jobs))


def _job_of(file: Path, found: dict[str, Any]) -> Job:
    """Returns the job that a result.json or failed.json is of.

    Raises:
        InputError: it names no job that there can be, or its folder has the name of another job.
    """
    hint = "remove the folder, or the file if the job is to be done again"
    try:
        job = Job(str(found["model"]), str(found["split"]), int(found["seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(file, "names no model, split and seed", hint) from error
    if job.model != BUNDLED_MODEL:
        find_experiment(job.model)
    if job.name != file.parent.name:
        problem = f"its {file.name} says model {job.model}, split {job.split}, seed {job.seed}"
        raise InputError(file.parent, problem, hint)
    return job


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Returns each job once, split by split, the models as in the catalog, the bundled model last."""
    names = [*CATALOG, BUNDLED_MODEL]
    return sorted(
        set(jobs), key=lambda job: (job.split, names.index(job.model), job.seed)
    )


def plan(
    models: Iterable[str], splits: Iterable[str], seeds: Iterable[int]
) -> list[Job]:
    """Returns every job, split by split and seed by seed. The bundled model is evaluated once per split."""
    names = list(models)
    different_seeds = list(dict.fromkeys(seeds))
    jobs = []
    for split in dict.fromkeys(splits):
        for seed in different_seeds:
            for model in names:
                if model != BUNDLED_MODEL or seed == different_seeds[0]:
                    jobs.append(Job(model, split, seed))
    return jobs
