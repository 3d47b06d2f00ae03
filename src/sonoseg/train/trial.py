"""One training of a sweep: a job whose result is in its run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sonoseg.data.case import Case
from sonoseg.errors import InputError
from sonoseg.files import is_there, write_json
from sonoseg.inputs import read_json
from sonoseg.train.grid import Value, folder_name
from sonoseg.train.log import read_log, write_log
from sonoseg.train.loop import train
from sonoseg.train.run_folder import BEST, RunConfig, best_epoch
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
        """The result; None if there is something left for `run` to do.

        The numbers are those of log.csv. A result that does not fit the log, or whose weights are gone, does not count.
        """
        if not is_there(self.folder / BEST) or not is_there(self.folder / RESULT):
            return None
        try:
            stored = read_json(self.folder / RESULT)
            logged = self._logged_scores()
        except (InputError, LookupError, ValueError):
            return None
        return logged if stored == asdict(logged) else None

    def run(self) -> None:
        """Trains, or resumes the training, and writes the result.

        If the training is finished, its log and its result are written again from the checkpoint.

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
        write_log(self.folder, history)
        scores = self._logged_scores()
        if not math.isfinite(scores.loss):
            problem = "the loss was never a finite number"
            raise InputError(self.name, problem, "try a lower learning rate")
        write_json(self.folder / RESULT, asdict(scores))

    def _logged_scores(self) -> Scores:
        """What log.csv says.

        Raises:
            LookupError, ValueError: there is no log, or it lacks a column.
        """
        history = read_log(self.folder)
        best = best_epoch(history, self.config.recipe.monitor)
        return Scores(
            dice=round(best["validation_dice"], 6),
            loss=round(best["validation_loss"], 6),
            epoch=int(best["epoch"]),
            seconds=round(sum(row["seconds"] for row in history), 1),
        )
