"""Trainings side by side on one GPU, each with a share of the clock: how `results/abroad` was made.

    python benchmarks/card.py DATA JOBS.json OUT [NAME ...]

DATA holds the folders busi, busbra and breast. JOBS.json is a list of jobs; `results/abroad/jobs.json` is the one that
ran. A job is trained in a process of its own from `start_at` to `end_at`, in seconds since the first one began. Its
learning rate follows the clock, so that it ends in time whatever else the card does. OUT/NAME gets the weights, the log
and the scores on images that the job never saw.
"""

from __future__ import annotations

import csv
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from card_paper import graphed
from safetensors.torch import save_file
from torch import Tensor

from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.splits import split_cases
from sonoseg.models.encoders import load_tensors
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.train import augment, views
from sonoseg.train.dataset import InMemory
from sonoseg.train.losses import LOSSES, presence_terms

SPLITS = {
    "busi": "paper-clean",
    "busbra": "results/busbra-fold5.csv",
    "breast": "results/abroad/breast.csv",
}
LITE2 = "tf_efficientnet_lite2"
NETWORK: dict[str, Any] = {
    "encoders": (LITE2,),
    "skips": True,
    "widths": (128, 64, 48, 32),
    "presence": "parts",
}
BOUNDS = (0, 0.01, 0.02, 0.04, 0.08, 0.16, 1)
"""Shares of the image between which lesions are of one size."""
MISSED = 0.1
"""A lesion whose Dice is lower is missed."""

View = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Spec = dict[str, Any]


def gather(data: Path, wanted: Sequence[Sequence[str]]) -> list[Case]:
    """The cases of [[source, subset], ...], in which * stands for all of a source; what stands twice counts twice."""
    found: list[Case] = []
    for source, subset in wanted:
        cases = load_cases(data / source)
        found += cases if subset == "*" else split_cases(cases, SPLITS[source])[subset]
    return found


def make_view(levers: Sequence[str]) -> View:
    """The training views that the names of some levers stand for."""

    def view(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if "roam" in levers:
            image, mask = views.roam(image, mask)
        else:
            image, mask = augment.move(image, mask, strength=1, crops=0.2)
        if "paste" in levers:
            image, mask = views.paste(image, mask)
        if "grays" in levers:
            image = views.match_grays(image)
        if "sector" in levers:
            image, mask = views.sector(image, mask)
        machine = (
            augment.time_gain,
            augment.shadow,
            augment.speckle,
            augment.blur,
            augment.gamma,
            augment.marks,
        )
        for change in (
            (*machine, augment.cut_out)
            if "machine" in levers
            else (augment.time_gain, augment.gamma)
        ):
            image = change(image)
        return image.clamp(0, 1), mask

    return view


def build(spec: Spec) -> FusionUNet:
    """The network of a job, its weights at random."""
    given = {
        name: tuple(part) if isinstance(part, list) else part
        for name, part in spec.get("network", {}).items()
    }
    return FusionUNet(FusionUNetConfig(**(NETWORK | given)), spec.get("dropout", 0.2))


def begin(model: FusionUNet, start: str) -> None:
    """Copies what fits from a file of weights; "none" leaves the weights at random."""
    if start == "none":
        return
    own = model.state_dict()
    found = load_tensors(Path(start))
    fits = {
        name: value.to(own[name].dtype) for name, value in found.items() if name in own
    }
    model.load_state_dict(fits, strict=False)


class Teachers:
    """Earlier jobs, whose mean answer the pixels learn as much from as from the masks."""

    def __init__(self, folders: Sequence[Path], device: torch.device) -> None:
        self.models: list[tuple[FusionUNet, int]] = []
        for folder in folders:
            spec = json.loads((folder / "spec.json").read_text())
            model = build(spec)
            begin(model, str(folder / "best.safetensors"))
            model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.models.append((model.eval().requires_grad_(False), spec["size"]))

    @torch.no_grad()
    def truth(self, image: Tensor, mask: Tensor) -> Tensor:
        """(N, 1, H, W) twice → what the pixels are to learn, (N, 1, H, W) in 0..1."""
        if not self.models:
            return mask
        told = torch.zeros_like(mask)
        for model, size in self.models:
            seen = F.interpolate(
                image, (size, size), mode="bilinear", align_corners=False
            )
            output = model.outputs(seen.contiguous(memory_format=torch.channels_last))
            said = output.pixels.float().sigmoid()
            told += F.interpolate(
                said, tuple(mask.shape[2:]), mode="bilinear", align_corners=False
            )
        return 0.5 * mask + 0.5 / len(self.models) * told


def rate_at(done: float, peak: float) -> float:
    """The learning rate after a share `done` of the time: up over the first tenth, then down as a cosine."""
    if done < 0.1:
        return peak * (0.04 + 0.96 * done / 0.1)
    return peak * max(0.5 + 0.5 * math.cos(math.pi * (done - 0.1) / 0.9), 1e-3)


def train(spec: Spec, data: Path, out: Path, began: float) -> None:
    """One job, from its start to its scores."""
    folder = out / spec["name"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec, indent=1))
    time.sleep(max(0.0, began + spec["start_at"] - time.time()))
    for needed in spec.get("needs", ()):
        while not (out / needed / "best.safetensors").exists():
            time.sleep(0.2)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(spec.get("seed", 0))
    size, batch = spec["size"], spec["batch"]
    images = InMemory(gather(data, spec["train"]), size).on(device)
    model = build(spec)
    begin(model, spec.get("init", "none"))
    model = model.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    teachers = Teachers([out / name for name in spec.get("teachers", ())], device)
    view, peak = make_view(spec.get("levers", ())), spec.get("rate", 1.5e-3)
    rate = torch.tensor(peak, device=device)
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(
        weights, lr=rate, weight_decay=1e-2, capturable=device.type == "cuda"
    )
    current = [
        value for value in model.state_dict().values() if value.is_floating_point()
    ]
    average = [value.detach().clone() for value in current]
    keep = spec.get("ema", 0.99)
    image, truth = (torch.zeros(batch, 1, size, size, device=device) for _ in range(2))
    latest = torch.zeros((), device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            pixels, presence = model.outputs(
                image.contiguous(memory_format=torch.channels_last)
            )
            told = teachers.truth(image, truth)
        pixels, there = pixels.float(), (truth.sum((1, 2, 3)) > 20).float()
        loss = LOSSES["bce+image-dice"](pixels, told, there)
        if presence is not None:
            judged = presence_terms(presence.float(), pixels, truth, there)
            loss = loss + 0.3 * judged.means.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        latest.copy_(loss.detach())
        torch._foreach_lerp_(average, current, 1 - keep)

    run = graphed(step, model, optimizer, device)
    for value, old in zip(average, current, strict=True):
        value.copy_(old)
    first, steps, log = time.time(), 0, []
    length = began + spec["end_at"] - first
    while time.time() - first < length:
        order = torch.randperm(len(images), device=device)[
            : len(images) // batch * batch
        ]
        for rows in order.split(batch):
            rate.fill_(rate_at(min(1.0, (time.time() - first) / length), peak))
            seen, masks = view(
                images.inputs[rows].float() / 255, images.masks[rows].float()
            )
            image.copy_(seen)
            truth.copy_(masks)
            run()
            steps += 1
            if steps % 10 == 0 and time.time() - first >= length:
                break
        log.append(
            {"step": steps, "loss": float(latest), "seconds": time.time() - first}
        )
    for value, mean in zip(current, average, strict=True):
        value.copy_(mean)
    write_log(folder / "log.csv", log)
    save(model.eval(), folder / "best.safetensors")
    about = {
        "name": spec["name"],
        "epochs": steps * batch / len(images),
        "steps": steps,
        "seconds": log[-1]["seconds"],
    }
    about["scores"] = score(model, gather(data, spec["validation"]), size, device)
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    print(
        f"{time.time() - began:.0f} s {spec['name']}: {about['epochs']:.1f} epochs, {about['scores']}",
        flush=True,
    )


def write_log(path: Path, log: Sequence[dict[str, float]]) -> None:
    """Writes one row per epoch."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(log[0]))
        writer.writeheader()
        writer.writerows(log)


def save(model: torch.nn.Module, path: Path) -> None:
    """Writes the weights, large ones in 16 bits."""
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
    }
    large = {
        name
        for name, value in tensors.items()
        if value.ndim > 1 and value.numel() >= 1024
    }
    save_file(
        {
            name: value.half() if name in large else value
            for name, value in tensors.items()
        },
        path,
    )


@torch.no_grad()
def score(
    model: FusionUNet, cases: Sequence[Case], size: int, device: torch.device
) -> dict[str, Any]:
    """Dice of the pixels alone at 0.5 and the share of missed lesions, over all lesions and by their size."""
    images = InMemory(cases, size)
    dice, shares = [], []
    for rows in torch.arange(len(images)).split(64):
        seen = images.inputs[rows].to(device).float() / 255
        with torch.autocast(device.type, torch.bfloat16):
            pixels, _ = model.outputs(
                seen.contiguous(memory_format=torch.channels_last)
            )
        drawn, truth = (
            (pixels.float() > 0).cpu().flatten(1),
            images.masks[rows].bool().flatten(1),
        )
        total = (drawn.sum(1) + truth.sum(1)).clamp(min=1)
        dice.append(2 * (drawn & truth).sum(1) / total)
        shares.append(truth.float().mean(1))
    found, share = torch.cat(dice).numpy(), torch.cat(shares).numpy()
    answer = {"all": summary(found[share > 0])}
    for low, high in pairwise(BOUNDS):
        answer[f"{low} to {high}"] = summary(found[(share > low) & (share <= high)])
    return answer


def summary(dice: Any) -> dict[str, float | int | None]:
    """Mean Dice, share of missed lesions, and how many lesions there are."""
    if not len(dice):
        return {"dice": None, "missed": None, "images": 0}
    return {
        "dice": float(np.mean(dice)),
        "missed": float(np.mean(dice < MISSED)),
        "images": len(dice),
    }


def main(data: Path, jobs: Path, out: Path, names: Sequence[str]) -> None:
    """Runs all jobs, or those that are named, each in a process of its own."""
    specs = [
        spec
        for spec in json.loads(jobs.read_text())
        if not names or spec["name"] in names
    ]
    began, context = time.time(), multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=train, args=(spec, data, out, began)) for spec in specs
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
