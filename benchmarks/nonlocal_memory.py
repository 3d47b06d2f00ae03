"""What does Non-Local attention cost in memory? The fused form against the one that builds the N×N matrix.

    python benchmarks/nonlocal_memory.py                        # Model 3, 224 pixels, batch 8: 20 GB for the naive form
    python benchmarks/nonlocal_memory.py --size 112 --batch 4   # smaller

Each form runs forward and backward in a process of its own; its peak resident memory, less what the process
held before, is printed and written to results/nonlocal_memory.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from sonoseg.models import attention
from sonoseg.models.catalog import find_experiment

OUT = Path(__file__).parent.parent / "results" / "nonlocal_memory.json"


def naive_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """softmax(Q·Kᵀ)·V with the matrix written out."""
    return (scale * query @ key.transpose(-2, -1)).softmax(-1) @ value


def peak_memory() -> float:
    """This process's peak in MB. Linux: getrusage would count what its parent held when it was started."""
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1024


def peak_of(form: str, model: str, size: int, batch: int) -> float:
    """Peak memory in MB that forward and backward of `model` add, in this process."""
    if form == "naive":
        attention.F.scaled_dot_product_attention = naive_attention  # type: ignore[assignment]
    module = attention.NonLocal(64) if model == "block" else find_experiment(model).build()
    channels = 64 if model == "block" else 3
    before = peak_memory()
    module(torch.rand(batch, channels, size, size)).sum().backward()
    return peak_memory() - before


def measure(form: str, model: str, size: int, batch: int) -> float:
    """`peak_of` in a fresh process."""
    words = [sys.executable, __file__, "--form", form, "--model", model, "--size", str(size), "--batch", str(batch)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--form", choices=("fused", "naive"))
    parser.add_argument("--model", default="model-3", help="a model's name, or block: one block of 64 channels")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    if options.form:
        print(peak_of(options.form, options.model, options.size, options.batch))
        return
    peaks = {form: measure(form, options.model, options.size, options.batch) for form in ("fused", "naive")}
    report = {
        "model": options.model,
        "size": options.size,
        "batch": options.batch,
        "peak_mb": peaks,
        "fused_share_of_naive": peaks["fused"] / peaks["naive"],
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
