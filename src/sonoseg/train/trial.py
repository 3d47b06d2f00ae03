"""One training of a sweep: a job whose result is in its run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sonoseg.data.case import Case
from sonoseg.errors import InputError
from sonoseg.files import is_there, write_json
from sonoseg.inputs import read_json
from sonoseg.train.grid import Value, folder_name
from sonoseg.train.loop import train
from sonoseg.train.run_folder import RunConfig, best_epoch
from sonoseg.train.settings import TrainSettings

RESULT = "trial.json"


@dataclass(frozen=True)
class Scores:
    """What a finished training has reached.

    Attributes:
        dice: at `epoch` on the validation images (see `step.monitored_dice`).
        loss: at `epoch` on the validation images.
        epoch: the one that is kept, from 1.
        seconds: that the training took.
    """

    dice: float
    loss: float
    epoch: int
    seconds: float


@dataclass(frozen=True)
class Trial:
    """The training of one combination.

    Attributes:
        values: one value per axis.
        folder: the run folder.
        config: the run, with these values.
        training, validation: its cases.
        settings: of all trainings; says where first weights and teachers are.
    """

    values: Mapping[str, Value]
    folder: Path
    config: RunConfig
    training: Sequence[Case]
    validation: Sequence[Case]
    settings: TrainSettings

    @property
    def name(self) -> str:
        """That of the run folder."""
        return folder_name(self.values)

    def scores(self) -> Scores | None:
        """The result; None if the training is not finished."""
        if not is_there(self.folder / RESULT):
            return None
        stored: dict[str, Any] = read_json(self.folder / RESULT)
        return Scores(**stored)

    def run(self) -> None:
        """Trains, or resumes the training, and writes the result.

        Raises:
            InputError: as `train`, or the loss was never a finite number.
        """
        history = train(
            self.config,
            self.training,
            self.validation,
            self.folder,
            encoder_weights=self.settings.encoder_weights,
            start_from=self.settings.start_from,
            teachers=self.settings.teachers,
        )
        best = best_epoch(history, self.config.recipe.monitor)
        if not math.isfinite(best["validation_loss"]):
            problem = "the loss was never a finite number"
            raise InputError(self.name, problem, "try a lower learning rate")
        scores = Scores(
            dice=round(best["validation_dice"], 6),
            loss=round(best["validation_loss"], 6),
            epoch=int(best["epoch"]),
            seconds=round(sum(row["seconds"] for row in history), 1),
        )
        write_json(self.folder / RESULT, asdict(scores))
