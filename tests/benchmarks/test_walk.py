"""One image passes few files, in the reader and in training; how they are counted is in benchmarks/walk.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "walk.py"


@pytest.fixture(scope="module")
def walk() -> ModuleType:
    """The module benchmarks/walk.py."""
    spec = importlib.util.spec_from_file_location("walk", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["walk"] = module
    spec.loader.exec_module(module)
    return module


def test_one_image_changes_file_at_most_25_times_in_the_reader(
    walk: ModuleType,
) -> None:
    found = walk.walk_reader()
    assert found.changes <= 25
    assert {"core/image.py", "core/resize.py", "core/measure.py"} <= set(found.modules)


def test_one_training_image_passes_at_most_20_modules(walk: ModuleType) -> None:
    found = walk.walk_training()
    assert len(found.modules) <= 20
    assert {"train/dataset.py", "train/step.py", "train/losses.py"} <= set(
        found.modules
    )
