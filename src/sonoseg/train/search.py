"""A search that any number of processes on any number of machines share: which process trains which combination.

All results are in an Optuna study. So Optuna's storages (SQLite, a database server, a journal file) and its dashboard
can be used. Optuna's GridSampler is not used, for three reasons. In a shared study it repeats combinations that
another process is training. It counts a combination as done if its process was killed. And SQLite gives a queued trial
to two processes at once.

Instead, a process that wants a combination adds a running trial of it, and then reads all trials. If several trials of
one combination are valid, the one with the lowest number counts. The storage gives each number only once. A trial is
valid until it fails without a reason. If its process sends no sign of life for `GRACE` seconds, another process lets it
fail. A failure of the machine, such as a full disk, is tried again by processes that start later.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from sonoseg.errors import InputError
from sonoseg.train.differences import differences
from sonoseg.train.grid import Grid, Value, combinations
from sonoseg.train.storage import open_storage, shown

BEAT, GRACE = 15.0, 120.0
"""Seconds between two signs of life; seconds without one after which a process counts as dead."""


@dataclass(frozen=True)
class Result:
    """What is known of one combination.

    Attributes:
        values: one value per axis.
        state: waiting, running, complete or failed.
        dice: at `epoch` on the validation images (see `step.monitored_dice`).
        loss: at `epoch` on the validation images.
        epoch: the one with the lowest validation loss, from 1.
        seconds: that the training took.
        reason: why it failed.
    """

    values: Mapping[str, Value]
    state: str = "waiting"
    dice: float | None = None
    loss: float | None = None
    epoch: int | None = None
    seconds: float | None = None
    reason: str = ""


class Search:
    """One process's view of a shared search.

    Args:
        storage: a URL of SQLAlchemy's, such as sqlite:///sweep.db, or journal:FILE.
        name: of the study in it.
        settings: everything else that decides the results, as JSON. A search continues only with the same settings.
        grid: the axes.

    Raises:
        InputError: the storage cannot be opened, or holds a search with other settings or another grid.
    """

    def __init__(
        self, storage: str, name: str, settings: Mapping[str, Any], grid: Grid
    ) -> None:
        self.combinations = combinations(grid)
        self._distributions: dict[str, BaseDistribution] = {
            axis: CategoricalDistribution(list(values)) for axis, values in grid.items()
        }
        self._storage = open_storage(storage)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.RandomSampler()  # is never asked
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            load_if_exists=True,
            direction="maximize",
            sampler=sampler,
        )
        self._id = self._storage.get_study_id_from_name(name)
        self._signs: dict[int, tuple[Any, float]] = {}
        asked = {"grid": describe_grid(grid)} | dict(settings)
        self._agree(
            storage, json.loads(json.dumps(asked))
        )  # tuples as lists, as when read back
        self._again = {
            trial.number for trial in self._trials() if trial.user_attrs.get("again")
        }

    def _agree(self, storage: str, asked: dict[str, Any]) -> None:
        there = self._study.user_attrs.get("asked")
        if there is None:
            self._study.set_user_attr("asked", asked)
            return
        found = [f"another {each}" for each in differences(there, asked)]
        if found:
            problem = f"holds a search with {' and '.join(found)}"
            raise InputError(
                shown(storage), problem, "choose another --out or --storage"
            )

    def claim(self) -> int | None:
        """Starts the first combination that no process has started.

        Returns:
            the number of its trial; None if all combinations were started.
        """
        while True:
            begun = set()
            for row, trial in self._living().items():
                if trial.number not in self._again:
                    begun.add(row)
            waiting = [row for row in range(len(self.combinations)) if row not in begun]
            if not waiting:
                return None
            free = waiting[0]
            owner = uuid.uuid4().hex
            self._study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params=self.combinations[free],
                    distributions=self._distributions,
                    user_attrs={"combination": free, "owner": owner},
                )
            )
            living = self._living()[free]
            if living.user_attrs["owner"] == owner:
                return living.number
            mine = [
                trial.number
                for trial in self._trials()
                if trial.user_attrs["owner"] == owner
            ]
            self._end(mine[0], TrialState.PRUNED)

    def values(self, number: int) -> Mapping[str, Value]:
        """The combination of trial `number`."""
        row: int = self._trials()[number].user_attrs["combination"]
        return self.combinations[row]

    @contextlib.contextmanager
    def alive(self, number: int) -> Iterator[None]:
        """Sends the other processes signs of life of trial `number` while the block runs."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._id, number
        )
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT):
                with contextlib.suppress(
                    Exception
                ):  # a storage that cannot be reached may be back at the next beat
                    self._storage.set_trial_user_attr(trial_id, "beat", time.time())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def complete(
        self, number: int, dice: float, loss: float, epoch: int, seconds: float
    ) -> None:
        """Records the result of trial `number`."""
        self._end(
            number, TrialState.COMPLETE, dice, loss=loss, epoch=epoch, seconds=seconds
        )

    def fail(self, number: int, reason: str, again: bool = False) -> None:
        """Records that the combination of trial `number` cannot be trained, and why.

        With `again`, the machine failed, not the combination: processes that start later try it again.
        """
        self._end(number, TrialState.FAIL, reason=reason, again=again)

    def release(self, number: int) -> None:
        """Gives up trial `number`, so that another process can continue it."""
        self._end(number, TrialState.FAIL)

    def _end(
        self, number: int, state: TrialState, value: float | None = None, **facts: Any
    ) -> None:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._id, number
        )
        with contextlib.suppress(
            UpdateFinishedTrialError
        ):  # this process counted as dead, and another one trains it
            for key, fact in facts.items():
                self._storage.set_trial_user_attr(trial_id, key, fact)
            self._study.tell(number, value, state, skip_if_finished=True)

    def results(self) -> list[Result]:
        """One result per combination, in the order of the grid."""
        living = self._living()
        found = []
        for row, values in enumerate(self.combinations):
            found.append(
                result_of(values, living[row]) if row in living else Result(values)
            )
        return found

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _living(self) -> dict[int, FrozenTrial]:
        """Combination → the trial of it that counts: the first one, or a later one if the machine failed."""
        living: dict[int, FrozenTrial] = {}
        for trial in self._trials():
            if trial.state is TrialState.RUNNING and self._silent(trial):
                self.release(trial.number)
            elif (
                trial.state in (TrialState.RUNNING, TrialState.COMPLETE)
                or "reason" in trial.user_attrs
            ):
                before = living.get(trial.user_attrs["combination"])
                if before is None or before.user_attrs.get("again"):
                    living[trial.user_attrs["combination"]] = trial
        return living

    def _silent(self, trial: FrozenTrial) -> bool:
        """Whether it has sent no sign of life for `GRACE` seconds.

        The time is measured by the clock of this process, since the clocks of machines differ.
        """
        sign, now = trial.user_attrs.get("beat"), time.monotonic()
        last, since = self._signs.get(trial.number, (None, now))
        self._signs[trial.number] = (sign, since if sign == last else now)
        return now - self._signs[trial.number][1] > GRACE


def describe_grid(grid: Grid) -> str:
    """The axes and their values in one line."""
    axes = []
    for axis, values in grid.items():
        texts = ",".join(map(str, values))
        axes.append(f"{axis}={texts}")
    return ", ".join(axes)


def result_of(values: Mapping[str, Value], trial: FrozenTrial) -> Result:
    """The result of the combination `values`, as its trial has it."""
    facts = trial.user_attrs
    if trial.state is TrialState.COMPLETE:
        return Result(
            values,
            "complete",
            trial.value,
            facts["loss"],
            facts["epoch"],
            facts["seconds"],
        )
    if trial.state is TrialState.RUNNING:
        return Result(values, "running")
    return Result(values, "failed", reason=facts["reason"])
