"""What the benchmarks share: sides that take turns, the machine they ran on, a table and a JSON file."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import count, stack
from sonoseg.core.metrics import image_scores
from sonoseg.files import write_json
from sonoseg.report.tables import text_table

RESULTS = Path(__file__).parent.parent / "results" / "benchmarks"
PAUSE = 0.06
"""Seconds; ONNX Runtime's and OpenMP's threads spin for some milliseconds after their last work."""
PACKAGES = (
    "sonoseg",
    "onnxruntime",
    "torch",
    "lightning-fabric",
    "segmentation-models-pytorch",
    "openvino",
    "av",
    "numpy",
)


def take_turns(
    sides: Mapping[str, Callable[[], Any]], rounds: int, warm: int = 3
) -> dict[str, list[float]]:
    """Seconds of each call, the sides in turns, so that what slows the machine slows all of them.

    Before each there is a pause, in which the threads of the side before stop spinning for more work, and a call that
    is not timed, which wakes its own.
    """
    for _ in range(warm):
        for call in sides.values():
            call()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            time.sleep(PAUSE)
            call()
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    return times


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and number of `values`."""
    low, median, high = np.percentile(values, (25, 50, 75)).tolist()
    return {
        "median": median,
        "quartile_1": low,
        "quartile_3": high,
        "count": len(values),
    }


def lesion_dice(
    drawn: Iterable[NDArray[np.bool_]], truths: Iterable[NDArray[np.bool_]]
) -> float:
    """Mean Dice of masks (H, W) over the images with a lesion."""
    return float(
        image_scores(stack(map(count, drawn, truths)), "lesion")["dice"].mean()
    )


def in_openvino(
    file: Path, image: NDArray[np.float32], precision: str
) -> Callable[..., Any] | None:
    """A bundle's graph in OpenVINO, for images of the shape of `image`; None if OpenVINO is not there."""
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    model = core.read_model(file)
    model.reshape({model.input("image"): image.shape})
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled: Callable[..., Any] = core.compile_model(model, "CPU", settings)
    return compiled


def machine() -> dict[str, Any]:
    """Processor, system and versions, without a name or a path."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (
            line.partition(":")[2].strip()
            for line in lines
            if line.startswith("model name")
        ),
        "unknown",
    )


def report(
    name: str, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Prints `rows`, dicts of the same simple keys, as a table and writes them with the machine to NAME.json."""
    print(text_table(list(rows[0]), [list(row.values()) for row in rows]))
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(
        RESULTS / f"{name}.json",
        {"settings": dict(settings), "rows": list(rows), "machine": machine()},
    )
    print(f"\nwritten to {RESULTS / f'{name}.json'}")
