"""The benchmarks' common ground: fair turns, honest spreads, nothing of the machine but what it can do."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """benchmarks/common.py, its results in a folder of the test."""
    spec = importlib.util.spec_from_file_location(
        "common", Path(__file__).parents[2] / "benchmarks" / "common.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return module


def test_the_sides_take_turns_each_call_after_one_that_is_not_timed(
    common: ModuleType,
) -> None:
    order: list[str] = []
    times = common.take_turns(
        {name: (lambda name=name: order.append(name)) for name in "ab"},
        rounds=3,
        warm=1,
    )
    assert "".join(order) == "ab" + 3 * "aabb"
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert all(value >= 0 for values in times.values() for value in values)


def test_a_spread_is_the_quartiles(common: ModuleType) -> None:
    assert common.spread([5, 1, 2, 4, 3]) == {
        "median": 3,
        "quartile_1": 2,
        "quartile_3": 4,
        "count": 5,
    }


def test_a_report_names_the_machine_by_what_it_can_do(
    common: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common.report(
        "trial", {"rounds": 2}, [{"what": "one", "ms": 1.5}, {"what": "two", "ms": 2.5}]
    )
    text = (tmp_path / "results" / "trial.json").read_text()
    told = json.loads(text)
    assert told["settings"] == {"rounds": 2}
    assert [row["ms"] for row in told["rows"]] == [1.5, 2.5]
    assert told["machine"]["cores"] >= 1
    assert "onnxruntime" in told["machine"]["versions"]
    assert socket.gethostname() not in text
    assert "two" in capsys.readouterr().out
