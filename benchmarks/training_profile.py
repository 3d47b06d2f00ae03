"""What bounds a training step on a GPU, what share of the card's peak does it reach, and how long do 20 models take?

    python benchmarks/training_profile.py                 # Model 1, 224 pixels, batch 64
    python benchmarks/training_profile.py --all           # and the paper's 20 models, a few steps each

The peak is measured on the spot: a product of two 8192 × 8192 matrices in bfloat16. The operations of a step are three
times those that PyTorch counts in a forward pass, convolutions and matrix products; its kernels' times are the
profiler's. The 20 models' time is that of the steps alone, 50 epochs of the paper's 624 training images, without
validation and files; a model with frozen encoders encodes every image once.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from common import report
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from sonoseg.models.catalog import TABLE_1, Experiment, find_experiment
from sonoseg.train.step import Objective

EPOCHS, IMAGES = 50, 624
KINDS = {
    "convolution": (
        "conv",
        "xmma",
        "cudnn",
        "cutlass",
        "gemm",
        "dgrad",
        "wgrad",
        "implicit",
    ),
    "batch normalisation": ("batch_norm", "bn_", "batchnorm"),
    "copy and cast": ("copy", "memcpy", "memset", "cat", "nchw", "nhwc"),
    "optimiser": ("multi_tensor", "adam"),
}
"""Kind of work → parts of the names of its kernels; the first that fits. The rest is elementwise work."""


def seconds(call: Callable[[], Any], times: int) -> float:
    """Of one call, the mean of `times`, after three that are not timed."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / times


def peak() -> float:
    """The card's FLOP/s in a product of large matrices of bfloat16."""
    a, b = (
        torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2)
    )
    return 2 * 8192**3 / seconds(lambda: a @ b, 20)


class Step:
    """One training step of an experiment on random images (N, 1, size, size), as `sonoseg train` takes it."""

    def __init__(self, experiment: Experiment, batch: int, size: int) -> None:
        self.model = experiment.build().to("cuda", memory_format=torch.channels_last)
        loss, is_encoded = experiment.recipe.loss, experiment.network.frozen
        self.objective = Objective(
            self.model, loss, bfloat16=True, is_encoded=is_encoded
        )
        self.image = torch.rand(batch, 1, size, size, device="cuda")
        self.truth = (torch.rand_like(self.image) > 0.5).float()
        self.seen = self.image
        if experiment.network.frozen:
            self.seen = self.encode()
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(weights, experiment.recipe.learning_rate)

    def encode(self) -> Tensor:
        """What frozen encoders make of the images."""
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            return self.model.encode(self.image.to(memory_format=torch.channels_last))[
                0
            ]

    def forward(self, seen: Tensor, truth: Tensor) -> Tensor:
        seen = seen.to(memory_format=torch.channels_last)
        loss: Tensor = self.objective(seen, truth, truth)[0]
        return loss

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.forward(self.seen, self.truth).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def kinds_of_work(step: Step) -> dict[str, float]:
    """Kind of work → its share of the time that kernels run, and "idle": the share of a step in which none does."""
    step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as record:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
    shares: dict[str, float] = defaultdict(float)
    for kernel in record.key_averages():
        if kernel.device_type == torch.autograd.DeviceType.CUDA:
            name = kernel.key.lower()
            kind = next(
                (
                    kind
                    for kind, parts in KINDS.items()
                    if any(part in name for part in parts)
                ),
                "elementwise",
            )
            shares[kind] += kernel.self_device_time_total / 5e6
    busy = sum(shares.values())
    told = {
        kind: round(share / busy, 3)
        for kind, share in sorted(shares.items(), key=lambda item: -item[1])
    }
    return told | {"idle": round(max(0.0, 1 - busy / seconds(step, 10)), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="model-1")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    most = peak()
    rows: list[dict[str, Any]] = []
    step = Step(find_experiment(options.model), options.batch, options.size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        step.forward(step.seen, step.truth)
    operations = 3 * counter.get_total_flops()
    took = seconds(step, 20)
    kinds = [f"{kind} {share:.0%}" for kind, share in kinds_of_work(step).items()]
    rows.append(
        {
            "step": options.model,
            "images a second": round(options.batch / took, 1),
            "TFLOP/s": round(operations / took / 1e12, 1),
            "share of the peak": round(operations / took / most, 3),
            "kernels' time": ", ".join(kinds),
        }
    )
    settings = vars(options) | {
        "device": torch.cuda.get_device_name(),
        "peak in TFLOP/s": round(most / 1e12),
    }
    report(f"training_profile_{options.model}", settings, rows)
    if options.all:
        rows = []
        for row in TABLE_1:
            step = Step(row, options.batch, options.size)
            once = seconds(step.encode, 2) if row.network.frozen else 0.0
            rate = options.batch / seconds(step, 6)
            minutes = IMAGES * (EPOCHS / rate + once / options.batch) / 60
            rows.append(
                {
                    "model": row.name,
                    "images a second": round(rate),
                    "minutes for 50 epochs": round(minutes, 2),
                }
            )
        total = round(sum(row["minutes for 50 epochs"] for row in rows), 1)
        report(
            "training_twenty",
            settings,
            [*rows, {**rows[0], "model": "all", "minutes for 50 epochs": total}],
        )


if __name__ == "__main__":
    main()
