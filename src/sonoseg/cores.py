"""How many processor cores this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The cores that this process may use: a scheduler of jobs, such as SLURM, gives a job some of the machine's."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def asked_threads() -> int:
    """The threads that `OMP_NUM_THREADS` asks for, as PyTorch reads it, but at most one for each core; 0 if none."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(given), usable_cores()) if given.isdecimal() else 0
