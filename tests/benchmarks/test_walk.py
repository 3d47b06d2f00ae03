"""One image in the reader passes few files; how it is counted is in benchmarks/walk.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

FILE = Path(__file__).parents[2] / "benchmarks" / "walk.py"


def test_one_image_changes_file_at_most_25_times_in_the_reader() -> None:
    spec = importlib.util.spec_from_file_location("walk", FILE)
    assert spec is not None
    assert spec.loader is not None
    walk = importlib.util.module_from_spec(spec)
    sys.modules["walk"] = walk
    spec.loader.exec_module(walk)
    found = walk.walk_reader()
    assert found.changes <= 25
    assert {"core/image.py", "core/resize.py", "core/measure.py"} <= set(found.modules)
