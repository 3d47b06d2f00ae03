"""What does each part of sonoseg-1 bring? Every variant trained alike and short, and scored on validation.

    python benchmarks/ablation.py BUSI BUSBRA lite2.safetensors results/ablation

A variant is the catalog's sonoseg-1 with one thing changed. All of them train for as many steps on 128-pixel images
of BUSI's split paper-clean, so small differences are worth nothing; seeds tell how small. Run it again after a crash:
what is done is skipped. `lite2.safetensors` comes from benchmarks/lite_weights.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from sonoseg.files import write_json, write_text
from sonoseg.report.tables import Cell, markdown_table

EPOCHS, SIZE, SEEDS = 12, 128, (0, 1)
VARIANTS: dict[str, list[str]] = {
    "sonoseg-1, short": [],
    "encoder at random": ["--encoder-weights", "none"],
    "EfficientNet-Lite0": [
        "--encoders",
        "tf_efficientnet_lite0",
        "--encoder-weights",
        "{folder}/lite0.safetensors",
    ],
    "no skip connections": ["--skips", "False"],
    "no presence head": ["--presence", "False"],
    "separable decoder": ["--convolution", "separable"],
    "CBAM in the decoder": ["--attention", "cbam"],
    "loss: BCE": ["--loss", "bce"],
    "loss: BCE + Dice of the batch": ["--loss", "bce+dice"],
    "no augmentation": ["--augment", "none"],
    "strong augmentation": ["--augment", "ultrasound"],
    "no weight averaging": ["--ema", "0"],
    "with BUS-BRA, as many steps": ["--also", "{busbra}", "--epochs", "3"],
}
"""Name → options of `sonoseg train`; {busbra} and {folder} (of the encoder's weights) are filled in."""


def main(busi: str, busbra: str, weights: str, out: str) -> None:
    """Trains and scores what is missing in `out`, then writes ablation.json and ablation.md."""
    jobs = [(name, seed) for seed in SEEDS for name in VARIANTS]
    with ThreadPoolExecutor(
        max(1, (os.cpu_count() or 2) // 2 * 2)
    ) as pool:  # a core each: two threads slow each other
        list(pool.map(lambda job: run(*job, busi, busbra, Path(weights), Path(out)), jobs))
    rows = [{"variant": name, **score(name, Path(out))} for name in VARIANTS]
    write_json(
        Path(out) / "ablation.json",
        {"epochs": EPOCHS, "size": SIZE, "seeds": len(SEEDS), "variants": rows},
    )
    header = [
        "variant",
        "lesion Dice",
        "± over seeds",
        "gain of the part",
        "normals with a false lesion",
    ]
    full = rows[0]["dice"]
    cells: list[list[Cell]] = [
        [
            row["variant"],
            row["dice"],
            row["spread"],
            f"{full - row['dice']:+.3f}",
            row["false_lesion"],
        ]
        for row in rows
    ]
    write_text(Path(out) / "ablation.md", markdown_table(header, cells) + "\n")
    print(markdown_table(header, cells))


def folder_of(name: str, seed: int, out: Path) -> Path:
    return out / f"{''.join(c if c.isalnum() else '-' for c in name)}-{seed}"


def run(name: str, seed: int, busi: str, busbra: str, weights: Path, out: Path) -> None:
    """One variant, trained and evaluated on validation, on one core."""
    folder = folder_of(name, seed, out)
    if (folder / "validation" / "metrics.json").exists():
        return
    options = [option.format(busbra=busbra, folder=weights.parent) for option in VARIANTS[name]]
    common = ["--data", busi, "--split", "paper-clean"]
    short = ["--size", str(SIZE), "--epochs", str(EPOCHS), "--seed", str(seed), "--ema", "0.97"]
    train = [
        "train",
        "sonoseg-1",
        *common,
        *short,
        "--encoder-weights",
        str(weights),
        "--out",
        str(folder),
        *options,
    ]
    evaluate = [
        "evaluate",
        str(folder),
        *common,
        "--subset",
        "validation",
        "--out",
        str(folder / "validation"),
    ]
    folder.parent.mkdir(parents=True, exist_ok=True)
    for command in (train, evaluate):
        subprocess.run(
            [sys.executable, "-m", "sonoseg.cli", *command],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    print(f"{name}, seed {seed}: {score(name, out, (seed,))}", flush=True)


def score(name: str, out: Path, seeds: tuple[int, ...] = SEEDS) -> dict[str, float]:
    """Means over the seeds, and half the range between them."""
    read = [
        json.loads((folder_of(name, seed, out) / "validation" / "metrics.json").read_text())
        for seed in seeds
    ]
    dice = np.array([metrics["conventions"]["lesion"]["dice"] for metrics in read])
    false_lesion = np.mean([metrics["normals"]["false_lesion"] for metrics in read])
    return {"dice": dice.mean(), "spread": np.ptp(dice) / 2, "false_lesion": float(false_lesion)}


if __name__ == "__main__":
    main(*sys.argv[1:])
