"""Does the reader mark what is no breast ultrasound?

    python benchmarks/strange_images.py                # with `pip install pydicom`, CT and MR by it as well

Photographs, textures, microscopy and pages of text that come with scikit-image, scikit-learn and Matplotlib, whole and
in quarters; slices of CT and MR; blank, noisy and graded frames. Each counts as marked if the shipped network calls it
unlike its training images. How many ultrasound images it marks is what `sonoseg calibrate` says.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import skimage
import sklearn
from common import report
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import sonoseg

Frame = NDArray[Any]
PHOTOGRAPHS = (
    "astronaut.png camera.png chelsea.png coffee.png motorcycle_left.png rocket.jpg coins.png "
    "clock_motion.png"
)
TEXTURES = "brick.png grass.png gravel.png moon.png hubble_deep_field.jpg retina.jpg ihc.png cell.png"
PAGES = "page.png text.png"


def folders() -> dict[str, Path]:
    """Where the packages keep their pictures."""
    data = Path(matplotlib.get_data_path()) / "sample_data"
    skimages, sklearns = (
        Path(package.__file__).parent for package in (skimage, sklearn)
    )
    return {
        "skimage": skimages / "data",
        "sklearn": sklearns / "datasets" / "images",
        "matplotlib": data,
    }


def pictures(folder: Path, names: str) -> Iterator[Frame]:
    """Each picture, gray, whole and in quarters."""
    for name in names.split():
        whole = np.asarray(Image.open(folder / name).convert("L"))
        yield whole
        for half in np.array_split(whole, 2):
            yield from np.array_split(half, 2, axis=1)


def written() -> Iterator[Frame]:
    """Pages of text in several sizes, black on white and white on black."""
    words = "The quick brown fox jumps over the lazy dog. " * 40
    for size in (8, 12, 18, 28, 40):
        page = Image.new("L", (800, 600), 255)
        lines = [words[start : start + 1500 // size] for start in range(0, 600, 30)]
        ImageDraw.Draw(page).multiline_text(
            (20, 20), "\n".join(lines), 0, font_size=size
        )
        yield np.asarray(page)
        yield 255 - np.asarray(page)


def slices(folder: Path) -> Iterator[Frame]:
    """Of CT and MR, as they are and through other windows; one of them from Matplotlib's `folder`."""
    with gzip.open(folder / "s1045.ima.gz") as file:
        found = [np.frombuffer(file.read(), np.uint16).astype(float).reshape(256, 256)]
    try:
        from pydicom import dcmread
        from pydicom.data import get_testdata_file
    except ImportError:
        print("without pydicom, MR only")
    else:
        found += [
            dcmread(get_testdata_file(name)).pixel_array.astype(float)
            for name in ("CT_small.dcm", "MR_small.dcm")
        ]
    for image in found:
        for high in (90, 99, 100):
            low, top = np.percentile(image, (1, high))
            yield (255 * ((image - low) / (top - low)).clip(0, 1)).astype(np.uint8)


def flat() -> Iterator[Frame]:
    """Blank frames."""
    for level in (0, 1, 16, 64, 128, 200, 255):
        yield np.full((480, 640), level, np.uint8)


def noisy() -> Iterator[Frame]:
    """Noise of several kinds and grains."""
    draw = np.random.default_rng(0)
    for grain in (1, 2, 4, 8):
        shape = (480 // grain, 640 // grain)
        for values in (
            draw.uniform(0, 255, shape),
            draw.normal(128, 40, shape),
            60 * draw.rayleigh(1, shape),
        ):
            yield np.kron(
                values.clip(0, 255).astype(np.uint8), np.ones((grain, grain), np.uint8)
            )


def graded() -> Iterator[Frame]:
    """Shades from side to side, from top to bottom, and from the middle out."""
    y, x = np.mgrid[0:480, 0:640] / np.array([479, 639])[:, None, None]
    for shade in (x, y, (x + y) / 2, np.hypot(x - 0.5, y - 0.5).clip(0, 1)):
        yield (255 * shade).astype(np.uint8)
        yield (255 * (1 - shade)).astype(np.uint8)


def main() -> None:
    own = folders()
    kinds: dict[str, list[Frame]] = {
        "photographs": [
            *pictures(own["skimage"], PHOTOGRAPHS),
            *pictures(own["sklearn"], "china.jpg flower.jpg"),
            *pictures(own["matplotlib"], "grace_hopper.jpg"),
        ],
        "textures, sky, microscopy, retina": list(pictures(own["skimage"], TEXTURES)),
        "pages of text": [*pictures(own["skimage"], PAGES), *written()],
        "slices of CT and MR": list(slices(own["matplotlib"])),
        "blank": list(flat()),
        "noise": list(noisy()),
        "graded": list(graded()),
    }
    segmenter = sonoseg.load()
    rows = []
    for kind, frames in kinds.items():
        results = [segmenter.segment(frame) for frame in frames]
        marked = sum(bool(result.doubts) for result in results)
        least = round(min(result.unfamiliarity or 0 for result in results), 2)
        rows.append(
            {
                "kind": kind,
                "images": len(frames),
                "marked": marked,
                "least unfamiliar": least,
            }
        )
    total = {key: sum(row[key] for row in rows) for key in ("images", "marked")}
    lowest = min(row["least unfamiliar"] for row in rows)
    report(
        "strange_images",
        {},
        [*rows, {"kind": "all", **total, "least unfamiliar": lowest}],
    )


if __name__ == "__main__":
    main()
