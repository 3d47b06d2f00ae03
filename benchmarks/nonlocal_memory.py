"""What does Non-Local attention cost in memory and time? The fused form against the one that builds the N×N matrix.

    python benchmarks/nonlocal_memory.py                             # Model 3, one image of 128 to 448 pixels
    python benchmarks/nonlocal_memory.py --sizes 224 --batch 8       # 18 GB for the naive form

Each form runs forward and backward in a process of its own: its peak resident memory, less what the process held
before, and its seconds. Linux only.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from common import report
from torch import Tensor

from sonoseg.models import attention


def naive_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """softmax(Q·Kᵀ)·V with the matrix written out."""
    return (scale * query @ key.transpose(-2, -1)).softmax(-1) @ value


def figure(file: str, name: str) -> float:
    """A figure of the system's or this process's memory in MB. getrusage would count what the parent held."""
    (kilobytes,) = re.findall(rf"{name}:\s*(\d+) kB", Path(file).read_text())
    return int(kilobytes) / 1024


def cost_of(form: str, model: str, size: int, batch: int) -> dict[str, float]:
    """Peak memory in MB that forward and backward of `model` add to this process, and their seconds."""
    free = figure("/proc/meminfo", "MemAvailable") + figure(
        "/proc/self/status", "VmSize"
    )
    resource.setrlimit(
        resource.RLIMIT_AS, (int(0.9e6 * free),) * 2
    )  # fail here, before the system kills something
    if model == "block":
        module, channels = attention.NonLocal(64), 64
    else:
        from sonoseg.models.catalog import find_experiment  # imports timm, for seconds

        module, channels = find_experiment(model).build(), 3
    if form == "naive":
        attention.F.scaled_dot_product_attention = naive_attention  # type: ignore[assignment]
    image = torch.rand(batch, channels, size, size)
    before, began = figure("/proc/self/status", "VmHWM"), time.perf_counter()
    module(image).sum().backward()
    return {
        "peak_mb": figure("/proc/self/status", "VmHWM") - before,
        "seconds": time.perf_counter() - began,
    }


def measure(form: str, model: str, size: int, batch: int) -> dict[str, float] | None:
    """`cost_of` in a fresh process; None if it ran out of memory."""
    words = [
        sys.executable,
        __file__,
        "--form",
        form,
        "--model",
        model,
        "--sizes",
        str(size),
        "--batch",
        str(batch),
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode == 0:
        told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return told
    if done.returncode < 0 or "alloc" in done.stderr:
        return None
    raise SystemExit(done.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--form", choices=("fused", "naive"), help="this one, in this process"
    )
    parser.add_argument(
        "--model",
        default="model-3",
        help="a model's name, or block: one block of 64 channels",
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[128, 160, 224, 320, 448]
    )
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    if options.form:
        print(
            json.dumps(
                cost_of(options.form, options.model, options.sizes[0], options.batch)
            )
        )
        return
    rows = []
    for size in options.sizes:
        for form in ("fused", "naive"):
            cost = measure(form, options.model, size, options.batch)
            told = {name: round(value, 1) for name, value in (cost or {}).items()}
            rows.append(
                {
                    "pixels": size,
                    "form": form,
                    **({"peak_mb": "does not fit", "seconds": "-"} | told),
                }
            )
    report("nonlocal_memory", {"model": options.model, "batch": options.batch}, rows)


if __name__ == "__main__":
    main()
