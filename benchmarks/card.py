"""Trainings side by side on one GPU, each with a share of the clock: how the networks of issue "abroad" were made.

    python benchmarks/card.py PACK JOBS.json OUT [NAME ...]

PACK is the folder that `benchmarks/card_pack.py` wrote. Every job of JOBS.json is trained in a process of its own from
`start` to `end` (seconds since the first one began). The learning rate follows the clock, so that each ends in time,
whatever else the card does. A job's folder OUT/NAME gets weights, log and scores on what it never saw.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sonoseg.models.encoders import load_matching, load_tensors
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.training import augment, views
from sonoseg.training.losses import LOSSES

SIZE = 256
LITE2 = "tf_efficientnet_lite2"


def unpack(pack: Path) -> None:
    """all256.bin and .json → images.npy and masks.npy, (N, 256, 256) uint8."""
    import zipfile

    from PIL import Image


    about = json.loads((pack / "rest256.json").read_text())
    data, at = (pack / "rest256.bin").read_bytes(), 0
    blobs = []
    archive = zipfile.ZipFile(pack / "busi224.zip")
    sizes = iter(about["sizes"])
    for row in about["rows"]:
        if row["source"] == "busi":
            stem = f"{row['label']}/{Path(row['name']).stem}"
            blobs += [archive.read(f"{stem}.webp"), archive.read(f"{stem}_mask.png")]
            continue
        for _ in range(2):
            size = next(sizes)
            blobs.append(data[at : at + size])
            at += size
    with multiprocessing.get_context("fork").Pool(14) as pool:
        arrays = pool.map(_decode, blobs, chunksize=32)
    masks = [Image.fromarray(array).resize((SIZE, SIZE), Image.Resampling.NEAREST) for array in arrays[1::2]]
    images = [Image.fromarray(array).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for array in arrays[0::2]]
    np.save(pack / "images.npy", np.stack([np.asarray(image) for image in images]))
    np.save(pack / "masks.npy", (np.stack([np.asarray(mask) for mask in masks]) > 0).astype(np.uint8))


def _decode(blob: bytes) -> Any:
    import io

    from PIL import Image

    return np.array(Image.open(io.BytesIO(blob)).convert("L"))


# ---------------------------------------------------------------------------------------------------------- views
def make_views(levers: list[str]) -> Any:
    """The training views of a job, from the names of its levers."""

    def change(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
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
        if "machine" in levers:
            for step in (augment.time_gain, augment.shadow, augment.speckle, augment.blur, augment.gamma, augment.marks, augment.cut_out):
                image = step(image)
        else:
            image = augment.gamma(augment.time_gain(image))
        return image.clamp(0, 1), mask

    return change


# ---------------------------------------------------------------------------------------------------------- losses
def evidence_loss(evidence: Tensor, pixels: Tensor, truth: Tensor) -> Tensor:
    """Of what is drawn: inside the truth it is a lesion, away from it it is not. `evidence` (N, 1, h, w)."""
    stride = truth.shape[2] // evidence.shape[2]
    drawn = pixels.detach().float().sigmoid()
    near = F.max_pool2d(truth, 9, 1, 4)
    right = F.avg_pool2d(drawn * truth + 0.05 * truth, stride)
    wrong = F.avg_pool2d(drawn * (1 - near), stride)
    right_size, wrong_size = right.sum((1, 2, 3)), wrong.sum((1, 2, 3))
    value = evidence.float()
    yes = (right * value).sum((1, 2, 3)) / (right_size + 1e-3)
    no = (wrong * value).sum((1, 2, 3)) / (wrong_size + 1e-3)
    there = (truth.sum((1, 2, 3)) > 20).float()
    false = (wrong_size > 0.25).float()  # cells
    lost_yes = (F.softplus(-yes) * there).sum() / there.sum().clamp(min=1)
    lost_no = (F.softplus(no) * false).sum() / false.sum().clamp(min=1)
    return lost_yes + lost_no


def build(spec: dict[str, Any]) -> torch.nn.Module:
    kind = spec.get("kind", "fusion")
    if kind == "smp":
        import segmentation_models_pytorch as smp

        return smp.Unet("efficientnet-b0", encoder_weights=None, in_channels=3, classes=1)
    if kind == "catalog":
        from sonoseg.models.catalog import find_experiment

        return find_experiment(spec["model"]).build()
    config = {"encoders": (LITE2,), "skips": True, "widths": (128, 64, 48, 32), "evidence": True}
    config |= {name: tuple(value) if isinstance(value, list) else value for name, value in spec.get("network", {}).items()}
    return FusionUNet(FusionUNetConfig(**config), spec.get("dropout", 0.2))


def run_parts(model: torch.nn.Module, image: Tensor) -> tuple[Tensor, Tensor | None]:
    image = image.contiguous(memory_format=torch.channels_last)
    if hasattr(model, "parts"):
        return model.parts(image)  # type: ignore[operator, no-any-return]
    return model(((image - 0.449) / 0.226).expand(-1, 3, -1, -1)), None


def start_weights(model: torch.nn.Module, spec: dict[str, Any], pack: Path, out: Path) -> str:
    start = spec.get("init", "lite2")
    if start == "none":
        return "none"
    path = pack / f"{start}.safetensors" if start in ("lite2", "fourth") else Path(start) if start.startswith("/") or "/" in start else out / start / "best.safetensors"
    found = load_tensors(path)
    own = model.state_dict()
    fits = {name: value.to(own[name].dtype) for name, value in found.items() if name in own and own[name].shape == value.shape}
    model.load_state_dict(fits, strict=False)
    return f"{path.name}: {len(fits)} of {len(own)} tensors"


class Data:
    """The images of a job on the card, at its size."""

    def __init__(self, pack: Path, size: int, device: torch.device) -> None:
        self.rows = json.loads((pack / "rest256.json").read_text())["rows"]
        self.size, self.device = size, device
        images, masks = (np.load(pack / f"{name}.npy", mmap_mode="r") for name in ("images", "masks"))
        self.images, self.masks = self._fit(images, "area"), self._fit(masks, "nearest-exact")

    def _fit(self, array: Any, mode: str) -> Tensor:
        parts = []
        for at in range(0, len(array), 256):
            part = torch.from_numpy(np.array(array[at : at + 256])).to(self.device)[:, None].float()
            if self.size != SIZE:
                part = F.interpolate(part, (self.size, self.size), mode="bilinear", antialias=True) if mode == "area" else F.interpolate(part, (self.size, self.size), mode=mode)
            parts.append(part.round().clamp(0, 255).to(torch.uint8))
        return torch.cat(parts)

    def select(self, what: list[list[str]]) -> Tensor:
        """Indices of the rows of [[source, subset or *], ...]; one that is listed twice counts twice."""
        found: list[int] = []
        for source, subset in what:
            found += [n for n, row in enumerate(self.rows) if row["source"] == source and subset in ("*", row["subset"]) or source == "paper" and row["paper"] == subset]
        return torch.tensor(found, device=self.device)


def train(spec: dict[str, Any], pack: Path, out: Path, begun: float) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.type == "cuda"
    folder = out / spec["name"]
    folder.mkdir(parents=True, exist_ok=True)
    wait = begun + spec["start_at"] - time.time()
    if wait > 0:
        time.sleep(wait)
    for path in [out / need / "done" for need in spec.get("needs", ())]:
        while not path.exists() and time.time() < begun + spec["end_at"]:
            time.sleep(0.2)
    seed = spec.get("seed", 0)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    size, batch = spec["size"], spec["batch"]
    data = Data(pack, size, device)
    training, held_out = data.select(spec["train"]), data.select(spec["validation"])
    model = build(spec)
    note = start_weights(model, spec, pack, out)
    model = model.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    teachers = []
    for name in spec.get("teachers", ()):
        about = json.loads((out / name / "spec.json").read_text())
        teacher = build(about)
        teacher.load_state_dict({k: v.to(teacher.state_dict()[k].dtype) for k, v in load_tensors(out / name / "best.safetensors").items()})
        teachers.append((teacher.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False), about["size"]))  # type: ignore[call-overload]
    (folder / "spec.json").write_text(json.dumps(spec, indent=1))
    change = make_views(spec.get("levers", []))
    peak = spec.get("rate", 1.5e-3)
    rate = torch.tensor(peak / 25, device=device)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate if cuda else peak / 25, weight_decay=spec.get("decay", 1e-2), capturable=cuda)
    average = [v.detach().clone() for v in model.state_dict().values() if v.is_floating_point()]
    current = [v for v in model.state_dict().values() if v.is_floating_point()]
    keep = spec.get("ema", 0.99)
    image, truth = (torch.zeros(batch, 1, size, size, device=device) for _ in range(2))
    loss_value = torch.zeros((), device=device)
    only_lesions = spec.get("only_lesions", True)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            pixels, extra = run_parts(model, image)
        pixels = pixels.float()
        there = (truth.sum((1, 2, 3)) > 20).float() if only_lesions else torch.ones(batch, device=device)
        told = truth
        if teachers:
            told = torch.zeros_like(truth)
            for teacher, teacher_size in teachers:
                with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
                    seen = image if teacher_size == size else F.interpolate(image, (teacher_size, teacher_size), mode="bilinear", align_corners=False)
                    said = run_parts(teacher, seen)[0].float().sigmoid()
                told = told + (said if teacher_size == size else F.interpolate(said, (size, size), mode="bilinear", antialias=False))
            told = 0.5 * truth + 0.5 / len(teachers) * told
        loss = LOSSES[spec.get("loss", "bce+image-dice")](pixels, told, there)
        if extra is not None:
            loss = loss + 0.3 * evidence_loss(extra, pixels, truth)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        loss_value.copy_(loss.detach())
        torch._foreach_lerp_(average, current, 1 - keep)

    def fill(number: int, order: Tensor) -> None:
        rows = training[order[number * batch : (number + 1) * batch]]
        seen, masks = change(data.images[rows].float() / 255, data.masks[rows].float())
        image.copy_(seen)
        truth.copy_(masks)

    before = [v.clone() for v in model.state_dict().values()]
    order = torch.randperm(len(training), device=device)
    run = step
    graphed = ""
    if cuda:
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for number in range(2):
                    fill(number % max(1, len(training) // batch), order)
                    step()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                step()
            run = graph.replay
            graphed = "graph"
        except Exception as error:  # noqa: BLE001
            graphed = f"eager ({error})"[:200]
            torch.cuda.synchronize()
        for value, old in zip(model.state_dict().values(), before, strict=True):
            value.copy_(old)
        for state in optimizer.state.values():
            for value in state.values():
                value.zero_()
        for value, old in zip(average, current, strict=True):
            value.copy_(old)
    first = time.time()
    length = begun + spec["end_at"] - first
    steps_an_epoch = max(1, len(training) // batch)
    steps, epoch, log = 0, 0, []
    most = spec.get("steps", 10**9)
    while time.time() - first < length and steps < most:
        order = torch.randperm(len(training), device=device)
        total = torch.zeros((), device=device)
        for number in range(steps_an_epoch):
            done = min(1.0, (time.time() - first) / length)
            factor = done / 0.1 if done < 0.1 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.1) / 0.9)
            value = peak * (0.04 + 0.96 * factor) if done < 0.1 else peak * max(factor, 1e-3)
            if cuda:
                rate.fill_(value)
            else:
                optimizer.param_groups[0]["lr"] = value
            fill(number, order)
            run()
            total += loss_value
            steps += 1
            if number % 10 == 9:
                if cuda:
                    torch.cuda.current_stream().synchronize()
                if time.time() - first >= length or steps >= most:
                    break
        epoch += 1
        log.append((epoch, steps, float(total) / (number + 1), time.time() - first))
    if not math.isfinite(log[-1][2]):
        (folder / "broken").write_text("loss")
    floats = iter(average)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(next(floats))
    model.eval()
    save(model, folder)
    (folder / "done").write_text("")
    seconds = time.time() - first
    (folder / "log.csv").write_text("epoch,step,loss,seconds\n" + "\n".join(f"{e},{s},{l:.4f},{t:.1f}" for e, s, l, t in log))
    scores = score(model, data, held_out)
    about = {"name": spec["name"], "epochs": steps / steps_an_epoch, "steps": steps, "seconds": seconds, "images_per_second": steps * batch / max(seconds, 1e-9), "how": graphed, "start": note, "loss": log[-1][2], "scores": scores}
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    short = {k: (round(v, 3) if isinstance(v, float) else v) for k, v in scores.get("all", {}).items()}
    print(f"{time.time() - begun:5.0f}s {spec['name']}: {about['epochs']:.1f} epochs {about['images_per_second']:.0f}/s {graphed} loss {log[-1][2]:.3f} {short}", flush=True)


def save(model: torch.nn.Module, folder: Path) -> None:
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    half = {name: value.half() if value.ndim > 1 and value.numel() >= 1024 else value for name, value in tensors.items()}
    save_file(half, folder / "best.safetensors")


@torch.no_grad()
def score(model: torch.nn.Module, data: Data, rows: Tensor) -> dict[str, Any]:
    """Dice of the pixels alone at 0.5, by source and by the lesion's share; with and without parts of low evidence."""
    from scipy.ndimage import label

    dice, shares, sources, kept_dice, false_raw, false_kept = [], [], [], [], [], []
    for at in range(0, len(rows), 64):
        part = rows[at : at + 64]
        image = data.images[part].float() / 255
        with torch.autocast(data.device.type, torch.bfloat16):
            pixels, extra = run_parts(model, image)
        drawn = (pixels.float() > 0)[:, 0].cpu().numpy()
        truth = data.masks[part][:, 0].bool().cpu().numpy()
        evidence = None if extra is None or extra.ndim != 4 else extra.float()[:, 0].cpu().numpy()
        for n in range(len(part)):
            mask, own = drawn[n], truth[n]
            kept = mask
            if evidence is not None and mask.any():
                parts, count = label(mask)
                big = np.kron(evidence[n], np.ones((mask.shape[0] // evidence.shape[1],) * 2))
                kept = np.zeros_like(mask)
                for number in range(1, count + 1):
                    piece = parts == number
                    if big[piece].mean() > 0:
                        kept |= piece
            share = own.mean()
            sources.append(data.rows[int(part[n])]["source"])
            shares.append(share)
            if share > 0:
                dice.append(2 * (mask & own).sum() / (mask.sum() + own.sum()))
                kept_dice.append(2 * (kept & own).sum() / (kept.sum() + own.sum()))
                false_raw.append(np.nan)
                false_kept.append(np.nan)
            else:
                dice.append(np.nan)
                kept_dice.append(np.nan)
                false_raw.append(float(mask.mean() > 0.001))
                false_kept.append(float(kept.mean() > 0.001))
    d, k, s, src = np.array(dice), np.array(kept_dice), np.array(shares), np.array(sources)
    fr, fk = np.array(false_raw), np.array(false_kept)

    def mean(values: Any) -> float | None:
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else None

    answer = {}
    for name in ("all", *dict.fromkeys(sources)):
        own = np.ones(len(d), bool) if name == "all" else src == name
        answer[name] = {"dice": mean(d[own]), "kept": mean(k[own]), "missed": mean((d[own] < 0.1).astype(float)[s[own] > 0]), "kept_missed": mean((k[own] < 0.1).astype(float)[s[own] > 0]), "normals_raw": mean(fr[own]), "normals_kept": mean(fk[own]), "n": int(own.sum())}
        for low, high in ((0, 0.01), (0.01, 0.02), (0.02, 0.04), (0.04, 0.08), (0.08, 0.16), (0.16, 1)):
            some = own & (s > low) & (s <= high)
            answer[name][f"dice_{low}_{high}"] = mean(d[some])
            answer[name][f"missed_{low}_{high}"] = mean((d[some] < 0.1).astype(float)) if some.any() else None
    return answer


def guarded(spec: dict[str, Any], pack: Path, out: Path, begun: float) -> None:
    try:
        train(spec, pack, out, begun)
    except Exception:  # noqa: BLE001
        (out / spec["name"]).mkdir(parents=True, exist_ok=True)
        (out / spec["name"] / "error.txt").write_text(traceback.format_exc())
        print(f"{spec['name']} FAILED: {traceback.format_exc().splitlines()[-1]}", flush=True)


def main(pack: Path, jobs: Path, out: Path, names: list[str]) -> None:
    if not (pack / "masks.npy").exists():
        unpack(pack)
    out.mkdir(parents=True, exist_ok=True)
    specs = [spec for spec in json.loads(jobs.read_text()) if not names or spec["name"] in names]
    begun = time.time()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=guarded, args=(spec, pack, out, begun)) for spec in specs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(f"{time.time() - begun:.0f}s all done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
