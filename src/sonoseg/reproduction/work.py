"""One job: train, evaluate on every subset, explain, draw, weigh; nothing that is done is done again."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonoseg.core.metrics import GRID
from sonoseg.data.case import Case
from sonoseg.data.load import data_name, load_cases
from sonoseg.data.pack import is_pack
from sonoseg.data.splits import SUBSETS, split_cases
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.evaluate.evaluate import evaluate
from sonoseg.evaluate.predictors import Predictor, load_predictor
from sonoseg.explain.explain import explain_case
from sonoseg.explain.gradcam import DEFAULT_LAYER
from sonoseg.explain.score import score_explanations
from sonoseg.files import is_there, output_folder, write_json
from sonoseg.models.catalog import TABLE_1, Recipe, find_experiment
from sonoseg.models.encoders import load_tensors
from sonoseg.models.network import NetworkConfig
from sonoseg.progress import track
from sonoseg.reproduction.cost import measure_cost
from sonoseg.reproduction.jobs import FAILED, RESULT, SETTINGS, SHIPPED, Job
from sonoseg.train.configure import changed_recipe, check_recipe, configure
from sonoseg.train.differences import differences
from sonoseg.train.loop import train
from sonoseg.train.record import pixel_hash
from sonoseg.train.run_folder import best_epoch
from sonoseg.train.settings import RecipeChanges, TrainSettings, check_seed, check_size

if TYPE_CHECKING:
    from sonoseg.cli import Reproduce

EXPLANATIONS, PICTURES = "faithfulness.json", "pictures"
PAPER_SIZE = 224
STARTED = "encoders started"


@dataclass(frozen=True)
class Material:
    """The images that all jobs share.

    Attributes:
        subsets: split → subset → cases.
        pictures: test cases that are drawn with every model's answer.
        pixels: split → sha256 over names, subsets and pixels of its images and masks; empty where only a report is
            to be written.
    """

    subsets: dict[str, dict[str, list[Case]]]
    pictures: tuple[Case, ...]
    pixels: dict[str, str]

    @classmethod
    def read(cls, options: Reproduce, more: Iterable[str] = ()) -> Material:
        """Looks at the data folder.

        Args:
            options: of the call.
            more: splits besides those of the call, which the report is about too.

        Raises:
            InputError: the folder, a split or a named picture is not there, or a pack has another size.
        """
        cases = load_cases(options.data)
        for case in cases:
            case.check_size(options.size, "training")
            case.check_size(GRID[0], "evaluation")
        subsets = {
            split: split_cases(cases, split) for split in dict.fromkeys((*options.split, *more))
        }
        for split, parts in subsets.items():
            for name in SUBSETS:
                if not parts[name]:
                    raise InputError(
                        f"--split {split}", f"leaves no {name} images", "choose another"
                    )
        test = next(iter(subsets.values()))["test"]
        pictures = chosen_pictures(test, options.pictures)
        if options.report_only:
            return cls(subsets, pictures, {})
        used: dict[str, Case] = {}
        for parts in subsets.values():
            for some in parts.values():
                used |= {case.name: case for case in some}
        bar = track(used.items(), "reading images", len(used), "image")
        hashes = {name: pixels_of(case) for name, case in bar}
        return cls(
            subsets, pictures, {split: digest_of(parts, hashes) for split, parts in subsets.items()}
        )


def pixels_of(case: Case) -> str:
    """The hashes of a case's image and mask, at their own size.

    Raises:
        InputError: one cannot be read.
    """
    image, mask = case.read()
    return f"{pixel_hash(image)} {pixel_hash(mask.view(np.uint8))}"


def digest_of(subsets: Mapping[str, Sequence[Case]], hashes: Mapping[str, str]) -> str:
    """64 hex digits of a split, by `pixels_of` each of its cases."""
    digest = hashlib.sha256()
    for name, cases in subsets.items():
        for case in cases:
            digest.update(
                f"{name} {case.name} {hashes[case.name]}\n".encode("utf-8", "surrogateescape")
            )
    return digest.hexdigest()


def chosen_pictures(test: Sequence[Case], names: Sequence[str]) -> tuple[Case, ...]:
    """The test cases called `names`; without any, the first benign and the first malignant one, or the first two."""
    by_name = {case.name: case for case in test}
    for name in names:
        if name not in by_name:
            raise InputError(
                f"--pictures {name}", "is no test image", f"choose one such as {test[0].name}"
            )
    if names:
        return tuple(by_name[name] for name in names)
    first = [
        next((case for case in test if case.label == label), None)
        for label in ("benign", "malignant")
    ]
    return tuple(case for case in first if case) or tuple(test[:2])


def recipe_of(model: str, options: Reproduce) -> Recipe:
    """How `model` is trained: Table 1's and, unless their own are asked for, the rivals' by the paper's recipe."""
    own = options.recipe == "own" or model in {row.name for row in TABLE_1}
    recipe = find_experiment(model).recipe if own else Recipe()
    changes = RecipeChanges(
        epochs=options.epochs,
        patience=options.patience,
        batch=options.batch,
        learning_rate=options.learning_rate,
    )
    return changed_recipe(recipe, changes)


def first_weights_for(network: NetworkConfig, weights: str) -> str:
    """imagenet, none, or the path `weights` where it holds all of the network's encoders; none where it does not."""
    if weights in ("imagenet", "none"):
        return weights
    return weights if encoders_in(weights).issuperset(network.encoders) else "none"


@functools.cache
def encoders_in(weights: str) -> frozenset[str]:
    """The encoders that the path `weights` holds; read once, for all models."""
    return frozenset(
        name.split(".")[2]
        for name in load_tensors(Path(weights))
        if name.startswith("encoders.parts.")
    )


def train_settings(job: Job, options: Reproduce) -> TrainSettings:
    """The settings of the training that this job is."""
    network = find_experiment(job.model).network
    recipe = recipe_of(job.model, options)
    return TrainSettings(
        model=job.model,
        data=options.data,
        split=job.split,
        encoder_weights=first_weights_for(network, options.encoder_weights),
        size=options.size,
        seed=job.seed,
        recipe=RecipeChanges(**asdict(recipe)),
    )


def settings_of(job: Job, options: Reproduce, material: Material) -> dict[str, Any]:
    """What decides the job's numbers, for result.json: what was done with other settings is not taken for it."""
    images = {"data": data_name(options.data), "pixels": material.pixels[job.split]}
    if job.model == SHIPPED:
        return images
    recipe = asdict(recipe_of(job.model, options))
    return {**images, "size": options.size, "recipe": recipe, "departures": departures(options)}


def check_options(options: Reproduce) -> None:
    """Refuses numbers out of their ranges, before the images are read.

    Raises:
        InputError: one is.
    """
    check_size(options.size)
    for seed in options.seeds:
        check_seed(seed, "--seeds")
    for name, most in {"workers": 1024, "explain": 1_000_000}.items():
        if not 0 <= getattr(options, name) <= most:
            raise InputError(
                f"--{name} {getattr(options, name)}", "is out of range", f"give 0 to {most}"
            )
    if not (options.seeds and options.split):
        raise InputError("--seeds or --split", "names none", "leave it out, or name one or more")


def check(jobs: Sequence[Job], options: Reproduce, material: Material) -> None:
    """Refuses, before work starts, what would end in nonsense.

    Raises:
        InputError: a size or recipe out of range, encoders that would be frozen at random without having been asked
            for, or an output folder with results of other settings.
    """
    for job in jobs:
        check_settings(job, options, material)
    if is_pack(options.data) and any(job.model == SHIPPED for job in jobs):
        fault = "has default, which takes images of another size than a pack has"
        raise InputError(
            f"--models {options.models}", fault, "give --models 1-20, or the folder as --data"
        )
    for model in dict.fromkeys(job.model for job in jobs if job.model != SHIPPED):
        check_recipe(recipe_of(model, options))
        network = find_experiment(model).network
        weights = first_weights_for(network, options.encoder_weights)
        if network.frozen and weights == "none" and options.encoder_weights != "none":
            lacks = f"lacks the encoders that {model} keeps frozen ({', '.join(network.encoders)})"
            raise InputError(
                f"--encoder-weights {options.encoder_weights}", lacks, "give a run that has them"
            )


def check_settings(job: Job, options: Reproduce, material: Material) -> None:
    """Refuses a folder in which the job was done, or begun, with other settings or images.

    Raises:
        InputError: it was; names what differs.
    """
    there = (job.result(options.out) or {}).get("settings") or job.settings(options.out)
    if there is None:
        return
    asked = json.loads(json.dumps(settings_of(job, options, material)))
    found = [
        f"another {each}" for each in differences(there, asked) if not each.startswith("pixels")
    ]
    if there.get("pixels") != asked["pixels"]:  # hashes say nothing to people
        found.append("other images or masks")
    if found:
        fault = f"holds {job.model} with {' and '.join(found)}"
        raise InputError(
            job.folder(options.out), fault, "choose another --out, or the same options"
        )


def departures(options: Reproduce) -> list[str]:
    """What is not as in the paper, in words; empty for a full reproduction."""
    paper = asdict(Recipe())
    words = (
        [f"{options.size} × {options.size} pixels instead of 224 × 224"]
        if options.size != PAPER_SIZE
        else []
    )
    for name in ("epochs", "patience", "batch", "learning_rate"):
        asked = getattr(options, name)
        if asked is not None and asked != paper[name]:
            words.append(f"{name.replace('_', ' ')} {asked:g} instead of {paper[name]:g}")
    if options.encoder_weights == "none":
        words.append(f"{STARTED} at random instead of ImageNet, the frozen ones too")
    elif options.encoder_weights != "imagenet":
        start = options.encoder_about or f"the run {Path(options.encoder_weights).name}"
        words.append(f"{STARTED} from {start} instead of ImageNet")
    return words


def is_reduced(changes: Iterable[str]) -> bool:
    """Whether size or recipe are not the paper's; another start of the encoders is no reduction."""
    return any(not word.startswith(STARTED) for word in changes)


def do_job(job: Job, options: Reproduce, material: Material) -> None:
    """Does what of the job is not done yet, and writes result.json at the end.

    Raises:
        InputError: it cannot be done, such as for lack of memory or of weights.
    """
    folder, subsets = output_folder(job.folder(options.out)), material.subsets[job.split]
    check_settings(job, options, material)
    settings = settings_of(job, options, material)
    write_json(folder / SETTINGS, settings)
    result: dict[str, Any] = {**asdict(job), "settings": settings}
    if job.model == SHIPPED:
        predictor: Predictor = load_predictor(SHIPPED)
    else:
        result |= _train(job, options)
        predictor = RunPredictor(folder)
    for name in SUBSETS:
        if not is_there(folder / name / "metrics.json"):
            about = {"data": data_name(options.data), "split": Path(job.split).name, "subset": name}
            evaluate(
                predictor, subsets[name], folder / name, progress=False, about=about, pictures=False
            )
    if isinstance(predictor, RunPredictor):
        _explain(predictor, folder, options, material, subsets["test"])
    write_json(folder / RESULT, result)
    (folder / FAILED).unlink(missing_ok=True)


def _train(job: Job, options: Reproduce) -> dict[str, Any]:
    asked = train_settings(job, options)
    config, training, validation = configure(asked)
    history = train(config, training, validation, job.folder(options.out), asked.encoder_weights)
    best = best_epoch(history, config.recipe.monitor)
    return {
        "epochs": len(history),
        "best_epoch": int(best["epoch"]),
        "training_seconds": sum(row["seconds"] for row in history),
        "encoder_weights": "none"
        if config.encoder_weights == "none"
        else options.encoder_about or "imagenet",
        "cost": measure_cost(
            config.network, config.recipe.dropout, config.size, config.recipe.batch
        ),
    }


def _explain(
    predictor: RunPredictor,
    folder: Path,
    options: Reproduce,
    material: Material,
    test: Sequence[Case],
) -> None:
    for case in material.pictures:
        target = output_folder(folder / PICTURES) / f"{Path(case.name).stem}.png"
        if not is_there(target):
            explain_case(predictor, case, target, DEFAULT_LAYER)
    if options.explain and not is_there(folder / EXPLANATIONS):
        with_lesion = [case for case in test if case.label != "normal"]
        scores = score_explanations(predictor, with_lesion, limit=options.explain, progress=False)
        write_json(folder / EXPLANATIONS, scores)
