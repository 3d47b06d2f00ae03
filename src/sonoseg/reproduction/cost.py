"""What a network costs: operations, seconds, memory."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from sonoseg.models.catalog import count_parameters
from sonoseg.models.network import NetworkConfig

ROUNDS = 7


def measure_cost(
    network: NetworkConfig, dropout: float, size: int, batch: int
) -> dict[str, Any]:
    """What a network of this kind costs on this machine.

    Args:
        network: what it is made of.
        dropout: as in its training.
        size: of its input, pixels.
        batch: images of a training step.

    Returns:
        `total_params` and `trainable_params`; `gflops` of one image forward, a multiplication and an addition counted
        as two; `inference_ms`, the median of one image forward in float32; `peak_memory_mb`, what a training step adds
        (None where the system does not tell); `device` and `threads`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = _reset_peak(device)
    model = (
        network.build(dropout, False)
        .to(device)
        .to(memory_format=torch.channels_last)
        .train()
    )
    image = torch.rand(max(batch, 2), 1, size, size, device=device)
    loss = F.binary_cross_entropy_with_logits(model(image), torch.zeros_like(image))
    loss.backward()  # type: ignore[no-untyped-call]
    peak = _peak(device)
    model.zero_grad(set_to_none=True)
    total, trainable = count_parameters(model)
    model.eval()
    return {
        "total_params": total,
        "trainable_params": trainable,
        "gflops": _operations(model, image[:1]) / 1e9,
        "inference_ms": 1000 * _seconds(model, image[:1]),
        "peak_memory_mb": None
        if peak is None or before is None
        else max(0.0, peak - before),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
    }


def _operations(model: torch.nn.Module, image: torch.Tensor) -> int:
    """Operations of one call, a multiplication and an addition counted as two."""
    # PyTorch counts attention on a GPU, but knows no formula for its kernel on a CPU, and would count 0.
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={on_cpu: _attention})
    with torch.inference_mode(), counter:
        model(image)
    return int(counter.get_total_flops())


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Operations of attention, from the shapes of its inputs."""
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _seconds(model: torch.nn.Module, image: torch.Tensor) -> float:
    """The median of `ROUNDS` calls after two to warm up."""
    times = []
    with torch.inference_mode():
        for _ in range(ROUNDS + 2):
            began = time.perf_counter()
            model(image).cpu()  # waits for the GPU
            times.append(time.perf_counter() - began)
    return float(np.median(times[2:]))


def _reset_peak(device: torch.device) -> float | None:
    """Begins a new peak; memory in use now, MB."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    if not sys.platform.startswith("linux"):
        return None
    with suppress(
        OSError, AttributeError
    ):  # or what was freed before would be used again unseen
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    return None


def _peak(device: torch.device) -> float | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return _status("VmHWM")


def _status(name: str) -> float | None:
    """A figure of this process's memory, MB; None where there is none."""
    try:
        found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None
