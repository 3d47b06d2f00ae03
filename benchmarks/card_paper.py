"""The paper's trainings side by side on one GPU: all images on the card, every step one CUDA graph.

    python benchmarks/card_paper.py BUSI encoders out --workers 8 --stop 400 model-1:paper:0 model-3:paper:0

BUSI is the data set or its pack at 224 × 224 pixels. `encoders` is a folder with the first weights of the encoders,
one .safetensors file each. The recipe is the catalog's, which is the paper's, as `sonoseg train` runs it: images
unchanged, shuffled by seed and epoch, whole batches, the epoch of the lowest validation loss kept, early stop.
`out/runs/MODEL-SPLIT-SEED` gets what `sonoseg reproduce` writes, so that
`sonoseg reproduce --data BUSI --out out --report-only` makes the report. After `--stop` seconds no training begins an
epoch: those that are cut off say so in result.json (`cut_off_at`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import queue
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonoseg.core.resize import resize_image, resize_mask
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.splits import SUBSETS, split_cases
from sonoseg.evaluate.evaluate import evaluate
from sonoseg.files import output_folder, write_json
from sonoseg.models.catalog import find_experiment
from sonoseg.reproduction.cost import measure_cost
from sonoseg.reproduction.jobs import RESULT, SETTINGS, Job
from sonoseg.reproduction.material import Material, digest_of
from sonoseg.reproduction.settings import ReproductionSettings, recipe_of
from sonoseg.reproduction.training import configured
from sonoseg.reproduction.work import settings_of
from sonoseg.train.log import write_log
from sonoseg.train.losses import LOSSES
from sonoseg.train.record import pixels_of
from sonoseg.train.run_folder import save_weights
from sonoseg.train.step import monitored_dice

SIZE = 224
ABOUT = "stand-ins trained on BUS-BRA and BrEaST for under two minutes each"
ENCODERS = "encoders.safetensors"
Step = Callable[[], None]


class Answers:
    """Probabilities that the card has worked out, as a predictor."""

    threshold = 0.5
    min_lesion_fraction = 0.0

    def __init__(self, name: str, maps: Sequence[NDArray[np.float32]]) -> None:
        self.name = name
        self.maps = list(maps)

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The next maps in the order of the cases."""
        answers = self.maps[: len(images)]
        self.maps = self.maps[len(images) :]
        return answers


@dataclass(frozen=True)
class Data:
    """All images on the card.

    Attributes:
        cases: of the data set.
        images, masks: (N, 1, SIZE, SIZE) uint8.
        device: the card, or the CPU.
    """

    cases: list[Case]
    images: Tensor
    masks: Tensor
    device: torch.device

    @classmethod
    def read(cls, folder: Path) -> Data:
        """Reads every image once."""
        cases = load_cases(folder)
        images = []
        masks = []
        for case in cases:
            image, mask = case.read()
            images.append(resize_image(image, (SIZE, SIZE)))
            masks.append(resize_mask(mask, (SIZE, SIZE)).astype(np.uint8))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        pixels = torch.from_numpy(np.stack(images))[:, None].to(device)
        truth = torch.from_numpy(np.stack(masks))[:, None].to(device)
        return cls(cases, pixels, truth, device)

    def rows(self, chosen: Sequence[Case]) -> Tensor:
        """Where the chosen cases are."""
        place = {case.name: row for row, case in enumerate(self.cases)}
        return torch.tensor([place[case.name] for case in chosen], device=self.device)


def merge_encoders(folder: Path, out: Path) -> dict[str, str]:
    """Writes the encoders' first weights as one file that `--encoder-weights` takes; returns name → sha256."""
    found: dict[str, Tensor] = {}
    hashes = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors = load_file(file)
        names = {
            name.split(".")[2] for name in tensors if name.startswith("encoders.parts.")
        }
        for name in names:
            hashes[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        for name, tensor in tensors.items():
            if name.startswith("encoders.parts."):
                found[name] = tensor
    output_folder(out)
    save_file(found, out / ENCODERS)
    return hashes


def load_encoders(model: torch.nn.Module, file: Path) -> None:
    """Copies the first weights into the model's encoders.

    Raises:
        ValueError: the file lacks some.
    """
    own = model.state_dict()
    found = load_file(file)
    wanted = {name for name in own if name.startswith("encoders.parts.")}
    missing = wanted - found.keys()
    if missing:
        raise ValueError(f"no first weights for {sorted(missing)[:3]}")
    taken = {name: found[name].to(own[name].dtype) for name in wanted}
    model.load_state_dict(taken, strict=False)


def graphed(
    step: Step,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> Step:
    """`step` as a CUDA graph. Weights and optimiser are afterwards as they were."""
    if device.type != "cuda":
        return step
    before = [value.clone() for value in model.state_dict().values()]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    for value, old in zip(model.state_dict().values(), before, strict=True):
        value.copy_(old)
    for state in optimizer.state.values():
        for value in state.values():
            value.zero_()
    replay: Step = graph.replay
    return replay


def train(  # noqa: C901 - one training, top to bottom
    job: Job, data: Data, encoders: Path, stop: float
) -> tuple[torch.nn.Module, list[dict[str, float]], bool]:
    """One training as the catalog says.

    Args:
        job: which.
        data: its images.
        encoders: first weights.
        stop: the time (as `time.time`) after which no epoch begins.

    Returns:
        the model with the weights of its best epoch, the log, and whether it was cut off.
    """
    device = data.device
    experiment = find_experiment(job.model)
    recipe = recipe_of(job.model)
    loss_of = LOSSES[recipe.loss]
    batch = recipe.batch
    subsets = split_cases(data.cases, job.split)
    training = data.rows(subsets["train"])
    validation = data.rows(subsets["validation"])
    torch.manual_seed(job.seed)
    model: Any = experiment.network.build(recipe.dropout, False)
    load_encoders(model, encoders)
    model = model.to(device).to(memory_format=torch.channels_last).train()
    frozen = experiment.network.frozen
    inputs = encode_all(model, data, batch) if frozen else data.images
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(
        weights, lr=recipe.learning_rate, capturable=device.type == "cuda"
    )
    seen = torch.zeros(
        (batch, *inputs.shape[1:]),
        device=device,
        dtype=inputs.dtype if frozen else torch.float32,
    )
    truth = torch.zeros(batch, 1, SIZE, SIZE, device=device)
    sums = torch.zeros(2, device=device)

    def answer(image: Tensor) -> Tensor:
        image = image.to(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            output = (
                model.decode(image, [], (SIZE, SIZE))
                if frozen
                else model.outputs(image)
            )
        logits: Tensor = output.pixels.float()
        return logits

    def prepare(rows: Tensor) -> Tensor:
        return inputs[rows] if frozen else inputs[rows].float() / 255

    def fill(rows: Tensor) -> None:
        seen.copy_(prepare(rows))
        truth.copy_(data.masks[rows].float())

    def step() -> None:
        logits = answer(seen)
        loss = loss_of(logits, truth, torch.ones(batch, device=device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        sums.add_(torch.stack([loss.detach(), monitored_dice(logits.detach(), truth)]))

    fill(training[:batch])
    run = graphed(step, model, optimizer, device)
    log: list[dict[str, float]] = []
    lowest = float("inf")
    better_at = 0
    kept: list[Tensor] = []
    for epoch in range(1, recipe.epochs + 1):
        began = time.time()
        model.train()
        order = torch.randperm(
            len(training), generator=torch.Generator().manual_seed(job.seed + epoch - 1)
        )
        sums.zero_()
        steps = len(order) // batch
        for rows in torch.split(order[: steps * batch].to(device), batch):
            fill(training[rows])
            run()
        trained = (sums / steps).tolist()
        model.eval()
        found = torch.zeros(2, device=device)
        with torch.no_grad():
            for rows in torch.split(validation, batch):
                wanted = data.masks[rows].float()
                logits = answer(prepare(rows))
                loss = loss_of(logits, wanted, torch.ones(len(rows), device=device))
                found += torch.stack([loss, monitored_dice(logits, wanted)]) * len(rows)
        loss_now, dice_now = (found / len(validation)).tolist()
        log.append(
            {
                "epoch": epoch,
                "train_dice": trained[1],
                "train_loss": trained[0],
                "validation_dice": dice_now,
                "validation_loss": loss_now,
                "learning_rate": recipe.learning_rate,
                "seconds": time.time() - began,
            }
        )
        if loss_now < lowest:
            lowest = loss_now
            better_at = epoch
            kept = [tensor.clone() for tensor in model.state_dict().values()]
        if epoch - better_at >= recipe.patience or time.time() > stop:
            break
    for tensor, best in zip(model.state_dict().values(), kept, strict=True):
        tensor.copy_(best)
    cut_off = len(log) < recipe.epochs and len(log) - better_at < recipe.patience
    return model.eval(), log, cut_off


def encode_all(model: Any, data: Data, batch: int) -> Tensor:
    """The features of frozen encoders, (N, C, h, w)."""
    parts = []
    with torch.no_grad(), torch.autocast(data.device.type, torch.bfloat16):
        for images in torch.split(data.images, batch):
            pixels = (images.float() / 255).to(memory_format=torch.channels_last)
            parts.append(model.encode(pixels)[0])
    return torch.cat(parts)


def probabilities(model: torch.nn.Module, data: Data) -> NDArray[np.float32]:
    """(N, SIZE, SIZE) float32 in 0..1, computed in float32."""
    parts = []
    with torch.inference_mode():
        for images in torch.split(data.images, 32):
            pixels = (images.float() / 255).to(memory_format=torch.channels_last)
            parts.append(model(pixels).float().sigmoid()[:, 0].cpu())
    return torch.cat(parts).numpy()


def do_job(job: Job, data: Data, out: Path, about: dict[str, Any], stop: float) -> None:
    """Trains, evaluates on all three subsets, and writes what `sonoseg reproduce` would."""
    began = time.time()
    folder = output_folder(job.folder(out))
    model, log, cut_off = train(job, data, out / ENCODERS, stop)
    seconds = time.time() - began
    write_log(folder, log)
    save_weights(folder, model, half=True)
    maps = probabilities(model, data)
    for name, cases in split_cases(data.cases, job.split).items():
        answers = Answers(job.model, maps[data.rows(cases).cpu().numpy()])
        words = {"data": about["data"], "split": job.split, "subset": name}
        evaluate(
            answers, cases, folder / name, progress=False, about=words, pictures=False
        )
    recipe = recipe_of(job.model)
    cost = measure_cost(
        find_experiment(job.model).network, recipe.dropout, SIZE, recipe.batch
    )
    record(
        job, Path(about["folder"]), out, log, seconds, cost, cut_off, about["encoders"]
    )
    end = f"cut off at epoch {len(log)}" if cut_off else f"ended at epoch {len(log)}"
    print(f"{job.name}: {end}, {seconds:.0f} s", flush=True)


def record(
    job: Job,
    source: Path,
    out: Path,
    log: Sequence[dict[str, float]],
    seconds: float,
    cost: dict[str, Any],
    cut_off: bool,
    encoders: dict[str, str],
) -> None:
    """Writes config.json, settings.json and result.json.

    Args:
        job: which training.
        source: the data set.
        out: the reproduction's folder, with the merged encoders.
        log: its epochs.
        seconds: of its training.
        cost: of its network.
        cut_off: whether the clock ended it.
        encoders: encoder → sha256 of the file of its first weights.
    """
    asked = ReproductionSettings(
        data=source, encoder_weights=str(out / ENCODERS), encoder_about=ABOUT
    )
    config, _, _ = configured(job, asked)
    folder = job.folder(out)
    write_json(folder / "config.json", config.to_json())
    cases = load_cases(source)
    subsets = split_cases(cases, job.split)
    hashes = {case.name: pixels_of(case) for part in SUBSETS for case in subsets[part]}
    material = Material(
        {job.split: subsets}, (), {job.split: digest_of(subsets, hashes)}
    )
    settings = settings_of(job, asked, material)
    write_json(folder / SETTINGS, settings)
    best = min(log, key=lambda row: row["validation_loss"])
    own = find_experiment(job.model).network.encoders
    result = {
        **asdict(job),
        "settings": settings,
        "epochs": len(log),
        "best_epoch": int(best["epoch"]),
        "cut_off_at": len(log) if cut_off else None,
        "training_seconds": seconds,
        "encoder_weights": ABOUT,
        "encoder_sha256": {name: encoders[name] for name in own},
        "cost": cost,
    }
    write_json(folder / RESULT, result)


def work(
    jobs: Any, source: Path, out: Path, about: dict[str, Any], stop: float
) -> None:
    """One worker: takes jobs until there are none, or until the time is over."""
    data = Data.read(source)
    while time.time() < stop:
        try:
            job = jobs.get(timeout=0.5)
        except queue.Empty:
            return
        try:
            do_job(job, data, out, about, stop)
        except Exception as error:  # the other trainings go on
            job.fail(out, error)
            print(
                f"{job.name} failed: {traceback.format_exc().splitlines()[-1]}",
                flush=True,
            )


def parse_job(word: str) -> Job:
    """MODEL:SPLIT:SEED as a job."""
    model, split, seed = word.split(":")
    return Job(model, split, int(seed))


def main() -> None:
    """Reads the command line and starts the workers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("encoders", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("jobs", nargs="+", type=parse_job)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--stop", type=float, default=float("inf"), help="seconds")
    asked = parser.parse_args()
    stop = time.time() + asked.stop
    hashes = merge_encoders(asked.encoders, asked.out)
    about = {"data": asked.data.stem, "folder": str(asked.data), "encoders": hashes}
    print(json.dumps(hashes, indent=2), flush=True)
    context = multiprocessing.get_context("spawn")
    jobs = context.Queue()
    for job in asked.jobs:
        jobs.put(job)
    processes = []
    for _ in range(asked.workers):
        process = context.Process(
            target=work, args=(jobs, asked.data, asked.out, about, stop)
        )
        process.start()
        processes.append(process)
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
