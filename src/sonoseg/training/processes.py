"""One training, several processes: how many there are and which of them this one is, as torchrun or SLURM say."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sonoseg.errors import InputError


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

    Raises:
        InputError: SLURM was asked for tasks without saying how many on each machine.
    """
    try:
        found = [kind for kind in (TorchElasticEnvironment, SLURMEnvironment) if kind.detect()]
        if not found:
            return Processes()
        environment: ClusterEnvironment = found[0]()
        rank, count = environment.global_rank(), environment.world_size()
    except RuntimeError as error:  # Lightning's answer to --ntasks
        raise InputError("srun", "does not say how many tasks a machine has", "give --ntasks-per-node") from error
    here = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or count
    return Processes(rank, count, count // int(here))
