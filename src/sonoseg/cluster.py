"""The workers of `sonoseg.jobs`: processes of this machine, or of a Dask cluster. Dask is imported when it is used."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonoseg.cores import usable_cores
from sonoseg.errors import InputError
from sonoseg.files import is_file

if TYPE_CHECKING:
    from distributed import Client

ATTEMPTS = 3
"""How often a job is tried. A job whose worker died as often is given up."""
MOST_WORKERS = 1024
_CONNECT = 20.0
"""Seconds until a scheduler must have answered."""
_ADDRESS = re.compile(r"((tcp|tls)://)?[^/\s]+:\d{1,5}")


@dataclass(frozen=True)
class Workers:
    """Who does the jobs.

    Attributes:
        count: processes on this machine; 0: one for each GPU, or one if there is none.
        cluster: address of a Dask scheduler, such as tcp://host:8786, or its scheduler file; empty: none.
        gpus: what CUDA calls the GPUs of this machine, such as ("0", "1"). Each process sees one of them.
    """

    count: int = 0
    cluster: str = ""
    gpus: tuple[str, ...] = ()

    @property
    def local(self) -> int:
        """Number of processes on this machine; with 1, the jobs run in the calling process."""
        return self.count or max(1, len(self.gpus))

    @property
    def are_here(self) -> bool:
        """Whether the calling process does the jobs itself."""
        return not self.cluster and self.local == 1

    def check(self) -> None:
        """Refuses what cannot be used.

        Raises:
            InputError: the number is out of range, there is no such scheduler, or Dask is not installed.
        """
        if not 0 <= self.count <= MOST_WORKERS:
            hint = f"give 0 to {MOST_WORKERS}"
            raise InputError(f"--workers {self.count}", "is out of range", hint)
        option = f"--cluster {self.cluster}"
        if self.cluster and self.count:
            raise InputError(option, "cannot be used with --workers", "give one")
        if self.cluster and not (
            is_file(self.cluster) or _ADDRESS.fullmatch(self.cluster)
        ):
            problem = "is neither an address nor a scheduler file"
            hint = "give one such as tcp://host:8786, or the --scheduler-file of dask scheduler"
            raise InputError(option, problem, hint)
        if not self.are_here and importlib.util.find_spec("distributed") is None:
            hint = "pip install '.[cluster]' in the source folder, or give --workers 1"
            raise InputError("workers", "Dask distributed is not installed", hint)


@contextlib.contextmanager
def connected(workers: Workers) -> Iterator[Client]:
    """Connects to a scheduler, or starts one with workers on this machine and stops them at the end.

    Raises:
        InputError: there is no scheduler.
    """
    from distributed import Client

    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(logging.CRITICAL)  # our own messages say what goes wrong
    if not workers.cluster:
        with _local_cluster(workers) as cluster, Client(cluster) as client:
            yield client
        return
    is_address = not is_file(workers.cluster)
    named = "address" if is_address else "scheduler_file"
    try:
        client = Client(**{named: workers.cluster}, timeout=_CONNECT)
    except (OSError, ValueError, KeyError) as error:
        problem = f"no scheduler answers ({' '.join(str(error).split())})"
        hint = "start one with dask scheduler, and workers with dask worker"
        raise InputError(f"--cluster {workers.cluster}", problem, hint) from error
    with client:
        yield client


def _local_cluster(workers: Workers) -> Any:
    """Returns a scheduler and its workers, each a process with one GPU, or with its share of the cores."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS - 1})
    count = workers.local
    # With more threads than cores, the threads would wait for each other.
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, usable_cores() // count)))
    each: dict[int, dict[str, Any]] = {}
    for number in range(count):
        # Dask gives MKL one thread, and PyTorch takes its number from MKL.
        env = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if workers.gpus:
            env["CUDA_VISIBLE_DEVICES"] = workers.gpus[number % len(workers.gpus)]
        options = {"nthreads": 1, "memory_limit": 0, "host": "127.0.0.1", "env": env}
        options["silence_logs"] = logging.CRITICAL
        each[number] = {"cls": Nanny, "options": options}
    options = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": options | {"dashboard": False}}
    return SpecCluster(each, scheduler, silence_logs=logging.CRITICAL)
