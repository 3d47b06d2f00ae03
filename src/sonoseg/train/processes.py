"""One training, several processes: how many there are and which of them this one is, as torchrun or SLURM say."""

from __future__ import annotations

import functools
import logging
import os
import re
from dataclasses import dataclass

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sonoseg.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Processes:
    """The processes of one training.

    Attributes:
        rank: of this one, 0 to count − 1; 0 writes the files and shows the progress.
        count: of all of them, each with a device of its own.
        machines: over which they are spread evenly.
    """

    rank: int = 0
    count: int = 1
    machines: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0


def find_processes() -> Processes:
    """Who we are; a lone process unless torchrun or srun started us.

    A batch script of SLURM has the variables of a job of many tasks too, but is only one of them.

    Raises:
        InputError: SLURM was asked for tasks without saying how many on each machine.
    """
    try:
        found = [
            kind
            for kind in (TorchElasticEnvironment, SLURMEnvironment)
            if kind.detect()
        ]
        if not found:
            return Processes()
        if found[0] is SLURMEnvironment and not started_by_srun():
            warn_of_srun(int(os.environ["SLURM_NTASKS"]))
            return Processes()
        environment: ClusterEnvironment = found[0]()
        rank, count = environment.global_rank(), environment.world_size()
    except (
        RuntimeError,
        ValueError,
        KeyError,
    ) as error:  # Lightning's answer to --ntasks
        raise InputError(
            "srun",
            "does not say how many tasks a machine has",
            "give --ntasks-per-node",
        ) from error
    return Processes(rank, count, count // _on_each_machine(rank, count))


def _on_each_machine(rank: int, count: int) -> int:
    """How many of `count` processes each machine has.

    Raises:
        InputError: the variables of torchrun or srun contradict each other.
    """
    name = next(
        (
            name
            for name in ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE")
            if os.environ.get(name)
        ),
        None,
    )
    here = _PER_MACHINE.fullmatch(os.environ[name]) if name else None
    each = int(here["tasks"]) if here else count
    if (
        (name and not here)
        or not 0 <= rank < count
        or not 0 < each <= count
        or count % each
    ):
        problem = f"process {rank} of {count}, {os.environ[name] if name else count} on each machine, is impossible"
        raise InputError(
            "torchrun or srun",
            problem,
            "start the same number of processes on each machine, or leave torchrun and srun out",
        )
    return each


_PER_MACHINE = re.compile(r"(?P<tasks>\d{1,6})(\(x\d+\))?")
"""Such as 2, or 2(x3), which is 2 on each of 3 machines."""


def started_by_srun() -> bool:
    """Whether SLURM's srun started this process, and not a batch script or an interactive shell of the job.

    srun numbers its steps from 0; batch scripts have no number, or one of those that SLURM keeps for itself. A task
    that is not the first can only be srun's.
    """
    step, task = (
        os.environ.get("SLURM_STEP_ID", ""),
        os.environ.get("SLURM_PROCID", "0"),
    )
    return (step.isdigit() and int(step) < FIRST_RESERVED_STEP) or task != "0"


FIRST_RESERVED_STEP = 0xFFFFFFF0
"""SLURM's own steps, such as that of the batch script, have numbers from here on (slurm/slurm.h)."""


@functools.cache
def warn_of_srun(tasks: int) -> None:
    """Says once that the job's other tasks are not used."""
    if tasks > 1:
        logger.warning(
            "note: this job of SLURM has %d tasks, but was started without srun: one process trains alone",
            tasks,
        )
