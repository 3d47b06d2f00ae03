"""What a reproduction is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sonoseg.errors import InputError
from sonoseg.models.catalog import TABLE_1, Recipe, find_experiment
from sonoseg.train.settings import check_seed, check_size

PAPER_SIZE = 224
STARTED = "encoders started"
MOST_EXPLAINED = 1_000_000


@dataclass(frozen=True)
class ReproductionSettings:
    """A reproduction of the paper.

    Attributes:
        data: folder of the data set, or a pack.
        out: folder for the report and runs/.
        models: see `jobs.parse_models`.
        splits: names of splits, or CSV files.
        seeds: one training each.
        recipe: how the rivals are trained: with the paper's recipe, or with the recipe of their own authors.
        encoder_weights: imagenet, none, or the path of a run whose encoders the trainings start from.
        encoder_about: the data that these encoders were trained on, in words, for the report.
        size: images are resized to size × size pixels.
        epochs, patience, batch, learning_rate: instead of the recipe's; None keeps the recipe's.
        explain: number of test images on which the explanations are measured; 0: none.
        pictures: names of test images to show; () chooses two.
        workers, cluster: who trains, see `Workers`.
        report_only: train nothing, write the report of what `out` contains.
    """

    data: Path
    out: Path = Path("reproduction")
    models: str = "all"
    splits: tuple[str, ...] = ("paper",)
    seeds: tuple[int, ...] = (0,)
    recipe: Literal["paper", "own"] = "paper"
    encoder_weights: str = "imagenet"
    encoder_about: str = ""
    size: int = PAPER_SIZE
    epochs: int | None = None
    patience: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    explain: int = 16
    pictures: tuple[str, ...] = ()
    workers: int = 0
    cluster: str = ""
    report_only: bool = False

    def check(self) -> None:
        """Checks the numbers that can be checked before the images are read.

        Raises:
            InputError: one is out of range.
        """
        check_size(self.size)
        for seed in self.seeds:
            check_seed(seed, "--seeds")
        if not 0 <= self.explain <= MOST_EXPLAINED:
            hint = f"give 0 to {MOST_EXPLAINED}"
            raise InputError(f"--explain {self.explain}", "is out of range", hint)
        if not (self.seeds and self.splits):
            hint = "leave it out, or name one or more"
            raise InputError("--seeds or --split", "names none", hint)

    def recipe_of(self, model: str) -> Recipe:
        """Returns how `model` is trained."""
        recipe = recipe_of(model, self.recipe)
        return replace(recipe, **self._changes())

    def departures(self) -> list[str]:
        """Returns what differs from the paper, in words; empty for a full reproduction."""
        paper = asdict(Recipe())
        words = []
        if self.size != PAPER_SIZE:
            words.append(f"{self.size} × {self.size} pixels instead of 224 × 224")
        for name, asked in self._changes().items():
            if asked != paper[name]:
                words.append(
                    f"{name.replace('_', ' ')} {asked:g} instead of {paper[name]:g}"
                )
        if self.encoder_weights == "none":
            words.append(
                f"{STARTED} at random instead of ImageNet, the frozen ones too"
            )
        elif self.encoder_weights != "imagenet":
            start = self.encoder_about or f"the run {Path(self.encoder_weights).name}"
            words.append(f"{STARTED} from {start} instead of ImageNet")
        return words

    def _changes(self) -> dict[str, Any]:
        """The fields of the recipe that the user has set."""
        changes = {
            "epochs": self.epochs,
            "patience": self.patience,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
        }
        return {name: value for name, value in changes.items() if value is not None}


def recipe_of(model: str, rivals: str = "paper") -> Recipe:
    """Returns the recipe of Table 1 for its models, and for a rival the paper's recipe or that of its authors.

    Args:
        model: a name of the catalog.
        rivals: `paper` or `own`.
    """
    is_of_table_1 = model in {experiment.name for experiment in TABLE_1}
    if is_of_table_1 or rivals == "own":
        return find_experiment(model).recipe
    return Recipe()


def is_reduced(departures: Iterable[str]) -> bool:
    """Whether size or recipe differ from the paper's. Other first weights of the encoders do not count."""
    return any(not word.startswith(STARTED) for word in departures)
