"""What does the reader cost to start, to hold and to install?

    python benchmarks/reader_start.py                     # starts, memory
    python benchmarks/reader_start.py --install --many    # and the size of a fresh installation, and 1,000 images

Processes are started anew for each row. Memory is the greatest resident size; Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
from common import report, spread, take_turns
from PIL import Image

from sonoseg.data.phantom import make_phantom

ROOT = Path(__file__).parent.parent
SONOSEG = [sys.executable, "-m", "sonoseg.cli"]
PEAK = "import re; print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--many", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.png"
        save_scan(scan)
        rows = [
            *starts(scan, options.rounds),
            memory("memory, one image of 1000 × 700", 1),
        ]
    if options.many:
        rows += [
            memory("memory, 100 images", 100),
            memory("memory, 1,000 images", 1000),
        ]
    if options.install:
        rows.append(installation())
    report("reader_start", {"rounds": options.rounds}, rows)


def starts(scan: Path, rounds: int) -> list[dict[str, Any]]:
    """Seconds from the start of the process to its end."""
    sides = {
        "sonoseg --help": [*SONOSEG, "--help"],
        "sonoseg segment, one image": [
            *SONOSEG,
            "segment",
            str(scan),
            "--out",
            str(scan.parent / "out"),
        ],
        "python alone": [sys.executable, "-c", "pass"],
    }
    calls = {
        name: (lambda words=words: quietly(words)) for name, words in sides.items()
    }
    return [
        row(name, spread(times)["median"], "s", f"{min(times):.2f} to {max(times):.2f}")
        for name, times in take_turns(calls, rounds, warm=1).items()
    ]


def quietly(words: list[str]) -> str:
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "100"},
    ).stdout


def memory(name: str, count: int) -> dict[str, Any]:
    """Peak of a process that segments `count` files."""
    code = "import sys; from sonoseg.reader.segment_files import segment_files; "
    code += "segment_files(sys.argv[1:2], 'default', sys.argv[2])"
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            save_scan(Path(folder) / f"scan{number}.png", number)
        kilobytes = quietly(
            [sys.executable, "-c", f"{code}; {PEAK}", folder, str(Path(folder) / "out")]
        )
    return row(name, int(kilobytes.split()[-1]) / 1000, "MB", "")


def save_scan(path: Path, number: int = 0) -> None:
    """One of eight phantoms at 1000 × 700, moved aside by `number` pixels: no two files alike."""
    picture = np.roll(make_phantom(number % 8)[0], number, axis=1)
    Image.fromarray(picture).resize((1000, 700)).save(path, compress_level=1)


def installation() -> dict[str, Any]:
    """Size of what `pip install .` puts into an empty environment, pip itself not counted."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        before = size_of(Path(folder))
        pip = [
            str(Path(folder) / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-cache-dir",
        ]
        subprocess.run(
            [*pip, "-c", str(ROOT / "constraints.txt"), str(ROOT)], check=True
        )
        return row(
            "installed, bundle and all",
            (size_of(Path(folder)) - before) / 1e6,
            "MB",
            "",
        )


def size_of(folder: Path) -> int:
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def row(what: str, value: float, unit: str, between: str) -> dict[str, Any]:
    return {"what": what, "median": round(value, 2), "unit": unit, "between": between}


if __name__ == "__main__":
    main()
