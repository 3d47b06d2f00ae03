"""How fast is an archive segmented, what do more workers bring, and what is lost when they are killed?

    python benchmarks/archive_speed.py alone --images 2000 --rounds 3    # one process, beside the network alone
    python benchmarks/archive_speed.py stages --images 200               # where the time of an image goes
    python benchmarks/archive_speed.py workers --images 2000             # 1, 2 and 4 workers of one thread
    python benchmarks/archive_speed.py scheduler --shards 1000           # jobs without work
    python benchmarks/archive_speed.py run --images 100000               # one long run, with its memory and bytes
    python benchmarks/archive_speed.py kills --images 100000 --every 15  # the same, then with kills at random
    python benchmarks/archive_speed.py model                             # a million images on 64 cores, on paper

The archive has phantoms, and with SONOSEG_DATA also the images of BUSI and BUS-BRA. They
are repeated as hard links, so they take no space. Each part writes results/benchmarks/archive_PART.json.

`alone` compares, in turns: the network alone in batches of 16 that are in memory, with all cores; the archive in one
process; and a plain loop with smp.Unet("efficientnet-b0") in PyTorch and Pillow, image by image.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import RESULTS, report, spread, take_turns
from PIL import Image
from pyarrow import parquet

from sonoseg.archive import shard
from sonoseg.archive.table import row_of
from sonoseg.cluster import Workers
from sonoseg.core.image import read_image
from sonoseg.core.paths import IMAGE_SUFFIXES
from sonoseg.core.resize import resize_image, unit_range
from sonoseg.data.phantom import write_phantoms
from sonoseg.jobs import run_jobs
from sonoseg.reader.bundle import Bundle, default_bundle_path
from sonoseg.reader.segmenter import Segmenter

COMMAND = "import sys; from sonoseg.cli import main; sys.exit(main(sys.argv[1:]))"
PHANTOMS = 200
A_FOLDER = 1000
BATCH = 16
SKIPPED = 5
"""The plain loop, which takes long, gets each fifth image."""


def make_archive(folder: Path, count: int) -> Path:
    """Makes an archive of `count` images, one in eight a phantom, in folders of a thousand; returns it."""
    made = folder / "phantoms"
    phantoms = min(PHANTOMS, count // 8 + 1)
    write_phantoms(made, phantoms, size=(448, 512))
    pictures = sorted((made / "images").iterdir())
    data = Path(os.environ.get("SONOSEG_DATA", ""))
    for name in ("busi", "busbra"):
        if data.name and (data / name).is_dir():
            pictures += real_pictures(data / name, folder / name, count // 2)
    archive = folder / "archive"
    for number, picture in enumerate(
        itertools.islice(itertools.cycle(pictures), count)
    ):
        place = archive / f"{number // A_FOLDER:04d}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(picture, place / f"{number:07d}{picture.suffix}")
    return archive


def real_pictures(data: Path, copies: Path, most: int) -> list[Path]:
    """At most `most` images of a data set, without masks, copied to a disk on which they can be linked."""
    copies.mkdir()
    found = []
    for path in sorted(data.rglob("*")):
        if len(found) == most:
            break
        is_mask = "mask" in path.stem.lower() or "mask" in path.parent.name.lower()
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_mask:
            target = copies / f"{len(found):05d}{path.suffix.lower()}"
            shutil.copy(path, target)
            found.append(target)
    return found


def start(
    archive: Path, out: Path, workers: int, **env: str
) -> subprocess.Popen[bytes]:
    """Starts the command."""
    line = ["segment", str(archive), "--out", str(out), "--workers", str(workers)]
    kept = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *line],
        env=kept | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def segment(archive: Path, out: Path, workers: int, **env: str) -> float:
    """Seconds of the whole command."""
    began = time.perf_counter()
    code = start(archive, out, workers, **env).wait()
    assert code in (0, 1), code
    return time.perf_counter() - began


def pictures_of(archive: Path) -> list[Path]:
    return sorted(path for path in archive.rglob("*") if path.is_file())


def alone(folder: Path, images: int, rounds: int) -> None:
    """One process with all cores, beside the network alone and a plain loop."""
    archive = make_archive(folder, images)
    pictures = pictures_of(archive)
    bundle = Bundle.read(default_bundle_path())
    sample = [read_image(path).pixels for path in pictures[:: max(1, images // BATCH)]]
    resized = [resize_image(pixels, bundle.card.size) for pixels in sample[:BATCH]]
    batch = unit_range(np.stack(resized)[:, None])
    fresh = itertools.count()

    def network() -> None:
        for _ in range(images // len(batch)):
            bundle.run(batch)

    def ours() -> None:
        out = folder / f"out-{next(fresh)}"
        shard.open_segmenter.cache_clear()
        names = tuple(str(path.relative_to(archive)) for path in pictures)
        for place in (shard.PARTS, shard.MASKS):
            (out / place).mkdir(parents=True)
        settings = shard.ArchiveSettings(archive, out, bundle.path, bundle.sha256)
        for number, size in enumerate(range(0, len(names), 256)):
            shard.Shard(number, names[size : size + 256], settings).run()

    sides = {
        "network alone": network,
        "archive": ours,
        "plain loop, smp": plain_loop(pictures[::SKIPPED]),
    }
    times = take_turns(sides, rounds, warm=0)
    done = dict.fromkeys(sides, images)
    done["network alone"] = images // len(batch) * len(batch)
    done["plain loop, smp"] = len(pictures[::SKIPPED])
    rows = []
    best = done["network alone"] / spread(times["network alone"])["median"]
    for name, seconds in times.items():
        rate = done[name] / spread(seconds)["median"]
        rows.append(
            {"what": name, "images_a_second": rate, "of the network": rate / best}
        )
    report("archive_alone", {"images": images, "rounds": rounds, "batch": BATCH}, rows)


def plain_loop(pictures: list[Path]) -> Callable[[], None]:
    """What most people would write: open, resize, network, threshold, save."""
    import segmentation_models_pytorch as smp
    import torch

    network = smp.Unet("efficientnet-b0", encoder_weights=None, in_channels=1).eval()
    target = Path(tempfile.mkdtemp(dir=pictures[0].parents[2]))

    def loop() -> None:
        with torch.inference_mode():
            for path in pictures:
                with Image.open(path) as opened:
                    gray = opened.convert("L")
                small = np.asarray(gray.resize((224, 224)), np.float32) / 255
                logits = network(torch.from_numpy(small)[None, None])
                mask = Image.fromarray((logits[0, 0] > 0).numpy()).resize(gray.size)
                mask.save(target / f"{path.stem}.png")

    return loop


def stages(folder: Path, images: int) -> None:
    """Processor time of each step, for one image after the other with one thread."""
    archive = make_archive(folder, images)
    bundle = Bundle.read(default_bundle_path(), threads=1)
    segmenter = Segmenter(bundle)
    spent: dict[str, float] = {}

    def timed(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        began = time.process_time()
        value = call(*arguments)
        spent[name] = spent.get(name, 0.0) + time.process_time() - began
        return value

    for path in pictures_of(archive):
        image = timed("read and decode", read_image, path)
        small = timed("resize", resize_image, image.pixels, bundle.card.size)
        answers = timed("network", bundle.run, unit_range(small[None, None]))
        one = answers._replace(probability=answers.probability[:, 0])
        result = timed("mask", segmenter._result, image, one, 0)
        timed("lesions and row", row_of, path.name, result, None)
        if result.mask.any():
            timed("PNG of the mask", shard.as_png, result.mask)
    whole = sum(spent.values())
    rows = []
    for name, seconds in spent.items():
        each = seconds / images * 1000
        rows.append({"step": name, "ms": each, "share": seconds / whole})
    report("archive_stages", {"images": images, "threads": 1}, rows)


def efficiency(folder: Path, images: int) -> None:
    """Images a second of 1, 2 and 4 workers, each with one thread."""
    archive = make_archive(folder, images)
    rows: list[dict[str, Any]] = []
    for workers in (1, 2, 4):
        out = folder / f"out-{workers}"
        seconds = segment(archive, out, workers, OMP_NUM_THREADS="1")
        rate = images / seconds
        first = rows[0]["images_a_second"] if rows else rate
        cores = min(workers, len(os.sched_getaffinity(0)))
        efficient = rate / first / cores
        rows.append(
            {"workers": workers, "images_a_second": rate, "efficiency": efficient}
        )
        assert same(folder / "out-1", out)
    report("archive_workers", {"images": images}, rows)


@dataclass(frozen=True)
class Nothing:
    """A job without work."""

    name: str

    def run(self) -> None:
        """Does nothing."""


def scheduler(shards: int) -> None:
    """Seconds of the engine for each job, with two workers; the start of the workers is not counted."""
    rows = []
    for workers in (1, 2):
        ended = run_jobs(
            [Nothing(str(number)) for number in range(shards)], Workers(workers)
        )
        next(ended)
        began = time.perf_counter()
        count = sum(1 for _ in ended)
        each = (time.perf_counter() - began) / count
        rows.append({"workers": workers, "shards": shards, "ms_a_shard": each * 1000})
    report("archive_scheduler", {"shards": shards}, rows)


def watch(process: subprocess.Popen[bytes], peak: dict[str, float]) -> None:
    """Notes the largest memory (MB) of the command and of its workers until it ends."""
    root = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            sizes = [
                each.memory_info().rss / 1e6 for each in root.children(recursive=True)
            ]
            own = root.memory_info().rss / 1e6
        except psutil.Error:
            continue
        peak["command_mb"] = max(peak.get("command_mb", 0), own)
        peak["worker_mb"] = max(peak.get("worker_mb", 0), *sizes, 0)
        time.sleep(0.5)


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run(archive: Path, out: Path, images: int, workers: int) -> float:
    """One long run: images an hour, largest memory, bytes that were written; returns its seconds."""
    peak: dict[str, float] = {}
    began = time.perf_counter()
    process = start(archive, out, workers, OMP_NUM_THREADS="1" if workers > 1 else "")
    watch(process, peak)
    seconds = time.perf_counter() - began
    manifest = json.loads((out / "manifest.json").read_text())
    row = {
        "images": manifest["images"],
        "failed": manifest["failed"],
        "seconds": seconds,
    }
    row |= {"images_an_hour": images / seconds * 3600, **peak}
    for part in ("masks", "parts", "files.txt", "results.parquet"):
        place = out / part
        row[f"{part}_mb"] = (
            bytes_in(place) if place.is_dir() else place.stat().st_size
        ) / 1e6
    rows = [{"what": key, "value": value} for key, value in row.items()]
    report("archive_run", {"images": images, "workers": workers}, rows)
    return seconds


def kills(folder: Path, images: int, workers: int, every: float, seed: int = 0) -> None:
    """A long run; then another in which workers and commands are killed at random times until it is done."""
    archive = make_archive(folder, images)
    calm, out = folder / "calm", folder / "out"
    calm_seconds = run(archive, calm, images, workers)
    chance = random.Random(seed)
    killed = {"workers": 0, "commands": 0}
    began = time.perf_counter()
    process = start(archive, out, workers, OMP_NUM_THREADS="1")
    while not (out / "results.parquet").exists():
        try:
            process.wait(chance.expovariate(1 / every))
        except subprocess.TimeoutExpired:
            children = psutil.Process(process.pid).children(recursive=True)
        else:  # the end, or a shard was given up: the same command does it again
            if not (out / "results.parquet").exists():
                process = start(archive, out, workers, OMP_NUM_THREADS="1")
            continue
        if chance.random() < 0.2 or not children:
            process.kill()
            process.wait()
            killed["commands"] += 1
            process = start(archive, out, workers, OMP_NUM_THREADS="1")
        else:
            chance.choice(children).kill()
            killed["workers"] += 1
    process.wait()
    seconds = time.perf_counter() - began
    row = {"images": images, "calm_seconds": calm_seconds, "seconds": seconds, **killed}
    row |= {"lost": len(files_in(calm) - files_in(out)), "same": same(calm, out)}
    row["twice"] = parquet.read_metadata(out / "results.parquet").num_rows - len(
        files_in(out)
    )
    rows = [{"what": key, "value": value} for key, value in row.items()]
    report(
        "archive_kills", {"images": images, "workers": workers, "every": every}, rows
    )


def files_in(out: Path) -> set[str]:
    """The files of the table."""
    return set(
        parquet.read_table(out / "results.parquet", columns=["file"])[
            "file"
        ].to_pylist()
    )


def same(one: Path, other: Path) -> bool:
    """Whether two tables have the same rows in the same order."""
    tables = [parquet.read_table(out / "results.parquet") for out in (one, other)]
    return bool(tables[0].equals(tables[1]))


def model() -> None:
    """A million images on 64 cores: what was measured on one, and the assumption that workers stay as efficient."""
    rates = stored("archive_workers")
    overhead = stored("archive_scheduler")[-1]["ms_a_shard"] / 1000
    shards = 1_000_000 / 256
    rows = []
    for assumed in ("as measured", "half of it"):
        share = min(row["efficiency"] for row in rates[:2])
        share *= 1 if assumed == "as measured" else 0.5
        seconds = 1_000_000 / (rates[0]["images_a_second"] * 64 * share)
        scheduling = shards * overhead
        rows.append(
            {
                "efficiency": assumed,
                "share": share,
                "hours": max(seconds, scheduling) / 3600,
                "scheduler_hours": scheduling / 3600,
            }
        )
    report("archive_model", {"images": 1_000_000, "cores": 64, "shard": 256}, rows)


def stored(name: str) -> list[dict[str, Any]]:
    """The rows that an earlier part has written."""
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text())[
        "rows"
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("alone", "stages", "workers", "scheduler", "run", "kills", "model")
    parser.add_argument("part", choices=parts)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument(
        "--every", type=float, default=60.0, help="seconds between kills"
    )
    parser.add_argument("--folder", type=Path, help="a disk with room for the results")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        if asked.part == "alone":
            alone(folder, asked.images, asked.rounds)
        elif asked.part == "stages":
            stages(folder, asked.images)
        elif asked.part == "workers":
            efficiency(folder, asked.images)
        elif asked.part == "scheduler":
            scheduler(asked.shards)
        elif asked.part == "run":
            archive = make_archive(folder, asked.images)
            run(archive, folder / "out", asked.images, asked.workers)
        elif asked.part == "kills":
            kills(folder, asked.images, asked.workers, asked.every)
        else:
            model()


if __name__ == "__main__":
    main()
