"""How fast are DICOM files segmented, against the same pixels as PNG and MP4?

    python benchmarks/dicom_speed.py

Stills: from the file to mask, overlay, SEG and SR, against a PNG to mask and overlay plus pydicom's own decoding.
Loops: to masks, overlay and video, against an MP4 to table and video. Both sides of a row take turns in one process.
The start is that of a new process. The memory is that of a new process with a long loop.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from common import report, spread, take_turns
from numpy.typing import NDArray
from PIL import Image

from sonoseg.data.phantom import make_phantom
from sonoseg.dicom.regions import Region
from sonoseg.dicom.wrap import make_image
from sonoseg.reader.video_writer import video_writer
from sonoseg.segment_command import segment_command

SIZE = (700, 1000)
MARGIN = 24
SPACING = (0.1, 0.1)
RATE = 25
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command, and prints the most memory that it had, in KB."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--loop-rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--long", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [
            *stills(place, options.rounds),
            *loops(place, options.frames, options.loop_rounds),
            start(place, options.rounds),
            memory(place, options.long),
        ]
    settings = {
        "rounds": options.rounds,
        "loop rounds": options.loop_rounds,
        "frames": options.frames,
        "still": f"{SIZE[1]} x {SIZE[0]} pixels, uncompressed",
    }
    report("dicom_speed", settings, rows)


def stills(place: Path, rounds: int) -> list[dict[str, Any]]:
    """Seconds a file."""
    picture = np.asarray(Image.fromarray(make_phantom(3)[0]).resize(SIZE[::-1]))
    dicom, png = place / "still.dcm", place / "picture.png"
    save_dicom(dicom, picture[None])
    Image.fromarray(picture).save(png)
    sides: dict[str, Callable[[], Any]] = {
        "DICOM still to mask, overlay, SEG and SR": partial(
            into_new_folder, place, dicom, to=("seg", "sr")
        ),
        "PNG to mask and overlay": partial(into_new_folder, place, png),
        "pydicom decodes the still": lambda: pydicom.dcmread(dicom).pixel_array,
    }
    times = take_turns(sides, rounds)
    medians = [spread(values)["median"] for values in times.values()]
    rows = []
    for name, values in times.items():
        rows.append(row(name, spread(values)["median"], "s", values))
    ratio = medians[0] / (medians[1] + medians[2])
    return [*rows, row("still, DICOM over PNG plus decoding", ratio, "times")]


def loops(place: Path, frames: int, rounds: int) -> list[dict[str, Any]]:
    """Frames a second of the same loop in two forms."""
    shifted = np.concatenate(list(moving(frames)))
    dicom, video = place / "loop.dcm", place / "video.mp4"
    save_dicom(dicom, shifted)
    with video_writer(video, Fraction(RATE), Fraction(1, RATE)) as writer:
        for ticks, frame in enumerate(shifted):
            writer.write(np.repeat(frame[..., None], 3, axis=2), ticks)
    sides = {
        "DICOM loop": partial(into_new_folder, place, dicom),
        "MP4 loop": partial(into_new_folder, place, video),
    }
    times = take_turns(sides, rounds, warm=0)
    rows = []
    rates = []
    for name, values in times.items():
        rates.append(frames / spread(values)["median"])
        rows.append(row(name, rates[-1], "frames/s", [frames / one for one in values]))
    return [*rows, row("rate of DICOM over MP4", rates[0] / rates[1], "times")]


def into_new_folder(place: Path, file: Path, **options: Any) -> None:
    """Segments a file into a folder that is not there yet, as both sides of a row do."""
    segment_command([file], out=tempfile.mkdtemp(dir=place), **options)


def memory(place: Path, frames: int) -> dict[str, Any]:
    """The most memory of a process that segments a long loop with its video, SEG and SR."""
    save_dicom(place / "long.dcm", np.concatenate(list(moving(frames))))
    words = [sys.executable, "-m", "sonoseg", "segment", str(place / "long.dcm")]
    words += ["--out", str(place / "f"), "--to", "seg", "sr"]
    # Linux counts the memory of the process that starts another as its child's: a small one starts it.
    command = [sys.executable, "-c", MEASURED, *words]
    environment = os.environ | {"COLUMNS": "100"}
    done = subprocess.run(command, check=True, capture_output=True, env=environment)
    return row(f"memory for {frames} frames", int(done.stdout) / 1000, "MB")


def moving(frames: int) -> Iterator[NDArray[np.uint8]]:
    """Frames (1, H, W) of a screen on which the tissue moves."""
    image = make_phantom(3, size=(320, 400))[0]
    for shift in range(frames):
        yield np.pad(np.roll(image, shift, axis=1), MARGIN)[None]


def start(place: Path, rounds: int) -> dict[str, Any]:
    """Seconds from the start of a process to the files of a still."""
    words = [sys.executable, "-m", "sonoseg", "segment", str(place / "still.dcm")]
    words += ["--out", str(place / "e"), "--to", "seg", "sr"]
    environment = os.environ | {"COLUMNS": "100"}
    call = partial(
        subprocess.run, words, check=True, capture_output=True, env=environment
    )
    (values,) = take_turns({"start": call}, rounds, warm=1).values()
    name = "process start to the files of a DICOM still"
    return row(name, spread(values)["median"], "s", values)


def save_dicom(path: Path, frames: NDArray[np.uint8]) -> None:
    """Frames (N, H, W), of which all but the margin is the B-mode region."""
    height, width = frames.shape[1:]
    region = Region(
        MARGIN, MARGIN, width - 2 * MARGIN, height - 2 * MARGIN, spacing=SPACING
    )
    dataset = make_image(frames, [region], "speed", path.name)
    dataset.save_as(path, enforce_file_format=True)


def row(
    name: str, value: float, unit: str, values: list[float] | None = None
) -> dict[str, Any]:
    """A row of the table."""
    extremes = f"{min(values):.3g} to {max(values):.3g}" if values else ""
    return {"what": name, "value": round(value, 3), "unit": unit, "spread": extremes}


if __name__ == "__main__":
    main()
