"""A small evaluation, of which the counts are known."""

from __future__ import annotations

import csv
from pathlib import Path


def write(
    folder: Path,
    tp: list[int],
    fp: list[int],
    truth: list[int],
    groups: list[str] | None = None,
) -> Path:
    """Writes cases.csv of images of 1000 pixels, whose false pixels are one part."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["file", "label", "group", "tp", "fp", "fn", "tn", "largest_false_part"]
        )
        for n, (hit, false, size) in enumerate(zip(tp, fp, truth, strict=True)):
            group = groups[n] if groups else f"case {n}"
            writer.writerow(
                [
                    f"{n}.png",
                    "",
                    group,
                    hit,
                    false,
                    size - hit,
                    1000 - size - false,
                    false,
                ]
            )
    return folder
