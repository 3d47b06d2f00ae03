"""`sonoseg cross`: leave one data set out: trains on the others, reads the one that is left out, and tabulates.

It shows how a network works in a hospital that it has never seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sonoseg.data.case import Case
from sonoseg.data.load import data_name, load_cases
from sonoseg.data.splits import split_cases
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.evaluate.cross_table import Reading, describe, write_readings
from sonoseg.evaluate.evaluate import evaluate, require_images
from sonoseg.evaluate.evaluated import Evaluated
from sonoseg.files import is_there, output_folder, write_text
from sonoseg.inputs import read_json, readable_file
from sonoseg.lock import held
from sonoseg.progress import track
from sonoseg.report.tables import csv_text
from sonoseg.train.command import train_command
from sonoseg.train.record import facts_of, pixels_of
from sonoseg.train.run_folder import (
    CALIBRATION,
    RunConfig,
    file_hash,
    find_run,
    fingerprint,
)
from sonoseg.train.settings import TrainSettings


@dataclass(frozen=True)
class CrossSettings:
    """What is read, and by which networks.

    Attributes:
        data: at least two data sets of different names, folders or packs.
        out: folder for the table, the runs and their evaluations.
        models: names of networks that are trained once without each data set.
        runs: run folders of earlier trainings. Each reads the data sets that it was not trained on.
        training: settings of all trainings. Its model, data, split and further data are replaced.
    """

    data: tuple[Path, ...]
    out: Path
    models: tuple[str, ...]
    runs: tuple[Path, ...]
    training: TrainSettings


def cross_command(settings: CrossSettings) -> str:
    """Trains what is missing, reads every data set with the networks that have not seen it, and writes the table.

    Writes into `out`: `cross.csv` (see `cross_table.write_readings`), runs MODEL-without-DATA, and for each reading
    a folder RUN-on-DATA as `sonoseg evaluate` writes it. A second call goes on where the first one stopped.

    Returns:
        the table to print.

    Raises:
        InputError: fewer than two data sets, two of one name, nothing to read with, two runs of one name, a run that
            has seen all data sets, or as `train_command` and `evaluate`.
    """
    sources = {data_name(folder): folder for folder in settings.data}
    if len(sources) < 2 or len(sources) < len(settings.data):
        problem = "at least two data sets of different names are needed"
        hint = "give two or more folders, and rename those of one name"
        raise InputError("sonoseg cross", problem, hint)
    if not settings.models and not settings.runs:
        raise InputError("sonoseg cross", "no network", "give --models or --runs")
    check_names(settings, sources)
    pairs = [(run, name) for run in settings.runs for name in unseen(run, sources)]
    out = output_folder(settings.out)
    with held(out):
        for model in settings.models:
            for name in sources:
                pairs.append((train_without(name, model, sources, settings), name))
        # Each data set is read once, however many networks read it.
        wanted = dict.fromkeys(name for _, name in pairs)
        cases = {name: load_cases(sources[name]) for name in wanted}
        contents = {name: content_hash(each) for name, each in cases.items()}
        readings = [
            read(run, name, cases[name], contents[name], out) for run, name in pairs
        ]
        write_readings(out / "cross.csv", readings)
    return f"{describe(readings)}\n\n{out}: cross.csv"


def check_names(settings: CrossSettings, sources: Iterable[str]) -> None:
    """Refuses runs of one name: the evaluation of one would replace that of the other.

    Raises:
        InputError: two runs, or a run and a training of this command, have one name.
    """
    taken = {}
    for model in settings.models:
        for name in sources:
            run = run_without(name, model, settings)
            taken[run.name.casefold()] = run
    for run in settings.runs:
        first = taken.setdefault(run.name.casefold(), run)
        if first is not run:
            problem = f"is named {run.name}, as {first} is"
            raise InputError(run, problem, "rename one of them, and give each run once")


def unseen(run: Path, sources: dict[str, Path]) -> list[str]:
    """The names of the data sets that neither this run nor a training before it has seen.

    They are known by the names in its config; `read` also compares the images.

    Raises:
        InputError: it is no run, or has seen all of them.
    """
    config = RunConfig.read(find_run(run))
    seen = {name.casefold() for name in training_data(config)}
    names = [name for name in sources if name.casefold() not in seen]
    if not names:
        problem = f"was trained on all of {', '.join(sources)}"
        raise InputError(run, problem, "give a run that has not seen one of them")
    return names


def training_data(config: RunConfig) -> list[str]:
    """The names of the data sets of a training and of the trainings before it, each once; case does not matter."""
    trainings = [config.data, *(str(earlier["data"]) for earlier in config.lineage)]
    first: dict[str, str] = {}
    for name in "+".join(trainings).split("+"):
        first.setdefault(name.casefold(), name)
    return list(first.values())


def train_without(
    name: str, model: str, sources: dict[str, Path], settings: CrossSettings
) -> Path:
    """Trains `model` on all data sets but `name`; returns its run folder. A finished training is not repeated.

    A fifth of the first of the others is for validation (see `hold_out`). All other images are trained on.
    """
    first, *others = [folder for other, folder in sources.items() if other != name]
    split = hold_out(first, settings.out)
    training = replace(
        settings.training,
        model=model,
        data=first,
        split=str(split),
        also=tuple(map(str, others)),
    )
    run = run_without(name, model, settings)
    train_command(training, run)
    return run


def run_without(name: str, model: str, settings: CrossSettings) -> Path:
    """The folder of the training of `model` without the data set `name`."""
    return settings.out / f"{model}-without-{name}"


def hold_out(data: Path, out: Path) -> Path:
    """Writes DATA-validation.csv into `out`: the validation images of `grouped`, all others to train on."""
    split = out / f"{data_name(data)}-validation.csv"
    rows = []
    for subset, cases in split_cases(load_cases(data), "grouped").items():
        role = "validation" if subset == "validation" else "train"
        rows += [(case.name, role) for case in cases]
    write_text(split, csv_text(("file", "subset"), sorted(rows)))
    return split


def read(
    run: Path, name: str, cases: Sequence[Case], content: str, out: Path
) -> Reading:
    """Evaluates a run on all images of a data set, unless the folder has the scores of this network and these images.

    Args:
        run: the run folder.
        name: of the data set.
        cases: of the data set.
        content: `content_hash` of the cases.
        out: the folder of the command.

    Raises:
        InputError: the run was trained on some of the images, or as `evaluate`.
    """
    trained_on = training_data(RunConfig.read(find_run(run)))
    calibration = find_run(run) / CALIBRATION
    folder = out / f"{run.name}-on-{name}"
    about = {
        "data": name,
        "cases": content,
        "weights": fingerprint(run),
        "calibration": file_hash(readable_file(calibration))
        if is_there(calibration)
        else None,
        "trained": "+".join(trained_on),
    }
    if not _is_done(folder, about):
        predictor = RunPredictor(run)
        require_images(cases, predictor)
        if predictor.record is not None:
            for case in cases:
                if predictor.record.subset_of(case.read_image()) is not None:
                    problem = f"has seen {case.name} of {name} in its training"
                    hint = "leave out the run or the data set"
                    raise InputError(run, problem, hint)
        evaluate(predictor, cases, folder, about=about, pictures=False)
    return Reading(run.name, trained_on, name, Evaluated.read(folder))


def content_hash(cases: Sequence[Case]) -> str:
    """sha256 of the names, labels, groups, spacings, pixels and masks of `cases`.

    Raises:
        InputError: an image or mask cannot be read.
    """
    digest = hashlib.sha256()
    for case in track(cases, "reading images", len(cases), "image"):
        line = repr((case.name, facts_of(case), pixels_of(case)))
        digest.update(line.encode())
    return digest.hexdigest()


def _is_done(folder: Path, about: dict[str, str | None]) -> bool:
    """Whether the folder has the finished evaluation `about`."""
    file = folder / "metrics.json"
    if not is_there(file):
        return False
    try:
        found = read_json(file)["about"]
    except (InputError, KeyError, TypeError):
        return False
    return all(found.get(key) == value for key, value in about.items())
