"""What a network answers is checked before it is used, and a network that does not end is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

import sonoseg
from sonoseg.cli import main
from sonoseg.errors import InputError
from sonoseg.reader import answers
from sonoseg.reader.bundle import Bundle
from sonoseg.reader.checksum import add_checksum

SHAPE = (2, 1, 96, 112)
BATCH = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
Unsealed = Callable[..., bytes]
NAN, INFINITE = float("nan"), float("inf")


def _with_output(unsealed: Unsealed, name: str, value: Any) -> onnx.ModelProto:
    """The network with a constant as one more output, or as the only one when it is named probability."""
    model = onnx.load_from_string(unsealed())
    array = np.array(value)
    kind = (
        TensorProto.STRING
        if array.dtype == object
        else helper.np_dtype_to_tensor_dtype(array.dtype)
    )
    if name == "probability":
        del model.graph.output[:], model.graph.node[:]
    model.graph.initializer.append(numpy_helper.from_array(array, f"{name}.value"))
    model.graph.node.append(helper.make_node("Identity", [f"{name}.value"], [name]))
    model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return model


def _add_switch(model: onnx.ModelProto, value: Any = False) -> None:
    """The optional input that asks for heat."""
    array = np.array(value)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    model.graph.initializer.append(numpy_helper.from_array(array, "explain"))
    model.graph.input.append(
        helper.make_tensor_value_info("explain", kind, list(array.shape))
    )
    model.graph.node.append(helper.make_node("Identity", ["explain"], ["asked"]))
    model.graph.output.append(helper.make_tensor_value_info("asked", kind, None))


def _write(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(add_checksum(model.SerializeToString()))
    return path


def _map(value: float) -> NDArray[np.float32]:
    return np.full(SHAPE, value, np.float32)


BAD_VECTORS = {
    "NaN": np.array([0, NAN], np.float32),
    "infinite": np.array([0, INFINITE], np.float32),
    "negative": np.array([0, -1], np.float32),
    "one for two": np.zeros(1, np.float32),
    "scalar": np.float32(0),
    "empty": np.zeros(0, np.float32),
    "table": np.zeros((2, 1), np.float32),
}
BAD_MAPS = {
    "NaN": _map(NAN),
    "infinite": _map(INFINITE),
    "minus infinite": _map(-INFINITE),
    "over 1": _map(1.01),
    "under 0": _map(-0.01),
    "scalar": np.float32(1),
    "empty": np.zeros((0, 1, 96, 112), np.float32),
    "one for two": _map(0)[:1],
    "two channels": np.zeros((2, 2, 96, 112), np.float32),
    "turned": _map(0).swapaxes(2, 3),
    "no channel": _map(0)[:, 0],
}


def _refused(opened: Bundle, name: str, explain: bool) -> None:
    with pytest.raises(
        InputError, match=f"model.onnx: its network does not return {name} as"
    ) as error:
        opened.run(BATCH, explain)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", BAD_MAPS)
def test_probabilities_that_are_none_are_refused(
    tmp_path: Path, unsealed: Unsealed, kind: str
) -> None:
    _refused(
        Bundle.read(
            _write(tmp_path, _with_output(unsealed, "probability", BAD_MAPS[kind]))
        ),
        "probability",
        False,
    )


@pytest.mark.parametrize("kind", BAD_VECTORS)
def test_unfamiliarity_that_is_no_number_for_each_image_is_refused(
    tmp_path: Path, unsealed: Unsealed, kind: str
) -> None:
    model = _with_output(unsealed, "unfamiliarity", BAD_VECTORS[kind])
    _refused(Bundle.read(_write(tmp_path, model)), "unfamiliarity", False)


@pytest.mark.parametrize("kind", BAD_MAPS)
def test_heat_that_is_no_map_is_refused_when_it_is_asked_for(
    tmp_path: Path, unsealed: Unsealed, kind: str
) -> None:
    model = _with_output(unsealed, "heat", BAD_MAPS[kind])
    _add_switch(model)
    opened = Bundle.read(_write(tmp_path, model))
    assert opened.run(BATCH).heat is None
    _refused(opened, "heat", True)


def test_good_answers_come_as_they_are(tmp_path: Path, unsealed: Unsealed) -> None:
    model = _with_output(unsealed, "heat", _map(0.25))
    _add_switch(model)
    extra = _with_output(unsealed, "unfamiliarity", np.array([0.5, 1e30], np.float32))
    model.graph.node.append(extra.graph.node[-1])
    model.graph.initializer.append(extra.graph.initializer[-1])
    model.graph.output.append(extra.graph.output[-1])
    told = Bundle.read(_write(tmp_path, model)).run(BATCH, explain=True)
    assert told.heat is not None
    assert told.unfamiliarity is not None
    np.testing.assert_array_equal(told.heat, _map(0.25))
    np.testing.assert_array_equal(told.unfamiliarity, np.array([0.5, 1e30], np.float32))


def test_a_probability_that_rounding_moved_out_of_its_range_is_moved_back(
    tmp_path: Path, unsealed: Unsealed
) -> None:
    for value, expected in ((1.0005, 1), (-0.0005, 0)):
        opened = Bundle.read(
            _write(tmp_path, _with_output(unsealed, "probability", _map(value)))
        )
        np.testing.assert_array_equal(opened.run(BATCH).probability, _map(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("probability", np.zeros(SHAPE, np.float64)),
        ("probability", np.array(["x"], object)),
        ("unfamiliarity", np.zeros(2, np.float64)),
        ("unfamiliarity", np.zeros(2, np.int64)),
        ("unfamiliarity", np.array(["x"], object)),
        ("heat", np.zeros(SHAPE, np.uint8)),
    ],
)
def test_outputs_of_another_type_are_refused_when_the_bundle_is_read(
    tmp_path: Path, unsealed: Unsealed, name: str, value: Any
) -> None:
    path = _write(tmp_path, _with_output(unsealed, name, value))
    with pytest.raises(InputError, match=f'its network has no float output "{name}"'):
        Bundle.read(path)


def test_a_switch_without_heat_is_refused_when_the_bundle_is_read(
    tmp_path: Path, unsealed: Unsealed
) -> None:
    model = onnx.load_from_string(unsealed())
    _add_switch(model)
    with pytest.raises(InputError, match='its network has no float output "heat"'):
        Bundle.read(_write(tmp_path, model))


def test_a_switch_that_is_no_switch_is_told_in_one_line(
    tmp_path: Path, unsealed: Unsealed
) -> None:
    model = _with_output(unsealed, "heat", _map(0))
    _add_switch(model, np.float32(0))
    with pytest.raises(InputError, match="its network cannot be run"):
        Bundle.read(_write(tmp_path, model)).run(BATCH, explain=True)


def _endless(model: onnx.ModelProto) -> None:
    """Puts a loop of 2⁶³ - 1 rounds before the network."""
    body: list[NodeProto] = [
        helper.make_node("Identity", ["go_in"], ["go_out"]),
        helper.make_node("Identity", ["value_in"], ["value_out"]),
    ]
    names = (
        ("round", TensorProto.INT64),
        ("go_in", TensorProto.BOOL),
        ("value_in", TensorProto.FLOAT),
    )
    results = ("go_out", TensorProto.BOOL), ("value_out", TensorProto.FLOAT)
    inputs = [helper.make_tensor_value_info(name, kind, []) for name, kind in names[:2]]
    inputs.append(helper.make_tensor_value_info(*names[2], None))
    outputs = [
        helper.make_tensor_value_info(*results[0], []),
        helper.make_tensor_value_info(*results[1], None),
    ]
    graph = helper.make_graph(body, "body", inputs, outputs)
    loop = helper.make_node("Loop", ["rounds", "go", "image"], ["looped"], body=graph)
    model.graph.node[0].input[0] = "looped"
    model.graph.node.insert(0, loop)
    constants = {"rounds": np.array(2**63 - 1), "go": np.array(True)}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )


def test_a_network_that_does_not_end_is_stopped(
    tmp_path: Path,
    unsealed: Unsealed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = onnx.load_from_string(unsealed())
    _endless(model)
    path = _write(tmp_path, model)
    monkeypatch.setattr(answers, "SECONDS", 0.2)
    monkeypatch.setattr(answers, "SECONDS_MORE", 0.1)
    with pytest.raises(
        InputError,
        match=r"its network was stopped after 0\.3 s without a result; give another",
    ):
        Bundle.read(path).run(BATCH)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    assert (
        main(
            [
                "segment",
                str(tmp_path / "a.png"),
                "--model",
                str(path),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert "stopped after 0.2 s" in line
    assert not (tmp_path / "out").exists()


def test_mask_and_explanation_come_from_one_run_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segmenter = sonoseg.load()
    runs = []

    def counted(*arguments: Any) -> Any:
        runs.append(arguments)
        return answers.run_network(*arguments)

    monkeypatch.setattr("sonoseg.reader.bundle.run_network", counted)
    image = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)
    result = segmenter.segment(image, explain=True)
    assert result.mask.shape == (90, 120)
    assert result.heat is not None and result.heat.max() > 0
    assert len(runs) == 1


def test_a_run_within_its_time_leaves_no_watch_behind(bundle: Path) -> None:
    opened = Bundle.read(bundle)
    for _ in range(3):
        opened.run(BATCH)
    watches = [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer)
    ]
    for watch in watches:
        watch.join(10)
    assert not any(watch.is_alive() for watch in watches)
