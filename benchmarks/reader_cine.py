"""What rate does the reader hold on a cine loop, from the file to the finished overlay video?

    python benchmarks/reader_cine.py

A synthetic loop of 1000 × 700 pixels is decoded, segmented, drawn and encoded, some times over; needs sonoseg[video].
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from common import report, spread
from PIL import Image

import sonoseg
from sonoseg.data.phantom import make_phantom
from sonoseg.reader.cine import segment_clip
from sonoseg.reader.video_writer import video_writer


def write_loop(path: Path, frames: int) -> None:
    """A phantom that moves to and fro."""
    picture = Image.fromarray(make_phantom(0)[0]).convert("RGB").resize((1000, 700))
    still = np.asarray(picture)
    with video_writer(path, Fraction(25), Fraction(1, 25)) as video:
        for tick in range(frames):
            video.write(np.roll(still, abs(tick % 50 - 25) * 4, axis=1), tick)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    segmenter = sonoseg.load()
    with tempfile.TemporaryDirectory() as folder:
        loop = Path(folder) / "loop.mp4"
        write_loop(loop, options.frames)
        rates = [
            segment_clip(segmenter, loop, Path(folder))["rate_held"]
            for _ in range(options.rounds)
        ]
    told = {name: round(value, 1) for name, value in spread(rates).items()}
    report(
        "reader_cine",
        vars(options),
        [{"what": "frames a second, file to video", **told}],
    )


if __name__ == "__main__":
    main()
