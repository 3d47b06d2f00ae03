"""Where a training runs: its devices and processes, its precision, and deterministic arithmetic."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from sonoseg.train.processes import Processes


def make_fabric(processes: Processes) -> Fabric:
    """Lightning Fabric for these processes, one device each: a GPU where there is one, or else the processor.

    Fabric runs in full precision. Its mixed precision would round images and masks to bfloat16 before the
    network sees them; `step.Objective` rounds only inside the network.
    """
    warnings.filterwarnings("ignore", module="lightning_fabric")
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    # A lone process in a batch script of SLURM would otherwise wait for the other tasks of the job.
    plugins: Any = [LightningEnvironment()] if processes.count == 1 else None
    return Fabric(
        devices=processes.count // processes.machines,
        num_nodes=processes.machines,
        plugins=plugins,
    )


def make_deterministic() -> None:
    """Makes PyTorch choose algorithms that return the same numbers at every run.

    On a GPU some operations have no such algorithm. They run all the same.
    """
    on_gpu = torch.cuda.is_available()
    torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS asks for it


def visible_gpus() -> tuple[str, ...]:
    """What CUDA calls the GPUs that this process may use, such as ("0", "1")."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES") or "0"
    count = torch.cuda.device_count()
    given = names.split(",")
    return tuple(given if len(given) == count else map(str, range(count)))


def has_bfloat16() -> bool:
    """Whether this processor or GPU computes well in bfloat16."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    if torch.backends.mps.is_available():
        return False
    capabilities = torch.cpu.get_capabilities()
    names = ("avx512_bf16", "amx_bf16", "bf16")
    return any(capabilities.get(name) for name in names)
