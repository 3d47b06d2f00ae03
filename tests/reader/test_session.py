"""A network that would never open or fill the memory is refused; a right checksum is no reason to trust it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sonoseg.errors import InputError
from sonoseg.reader import session
from sonoseg.reader.bundle import Bundle, default_bundle_path
from sonoseg.reader.checksum import add_checksum
from sonoseg.reader.session import _has_field, open_session

Unsealed = Callable[..., bytes]


def _write(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(add_checksum(model.SerializeToString()))
    return path


def _call(name: str, source: str, target: str) -> onnx.NodeProto:
    return helper.make_node(name, [source], [target], domain="own")


def _with_functions(unsealed: Unsealed, depth: int) -> onnx.ModelProto:
    """A network before which stand 2^depth operations, as functions that each call the next one twice."""
    model = onnx.load_from_string(unsealed())
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for level in range(depth):
        twice = [_call(f"f{level + 1}", "a", "b"), _call(f"f{level + 1}", "b", "c")]
        model.functions.append(
            helper.make_function("own", f"f{level}", ["a"], ["c"], twice, opsets)
        )
    end = [helper.make_node("Identity", ["a"], ["c"])]
    model.functions.append(
        helper.make_function("own", f"f{depth}", ["a"], ["c"], end, opsets)
    )
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[0].input[0] = "long"
    model.graph.node.insert(0, _call("f0", "image", "long"))
    return model


@pytest.mark.parametrize("depth", [0, 60])
def test_a_network_with_functions_of_its_own_is_refused(
    tmp_path: Path, unsealed: Unsealed, depth: int
) -> None:
    with pytest.raises(
        InputError,
        match=r"model\.onnx: has a network with ONNX functions, which are not supported; export it again",
    ):
        Bundle.read(_write(tmp_path, _with_functions(unsealed, depth)))


def test_fields_are_found_as_onnx_finds_them(unsealed: Unsealed) -> None:
    for content in (unsealed(), default_bundle_path().read_bytes()):
        found = {
            field.number for field, _ in onnx.load_from_string(content).ListFields()
        }
        assert {
            number for number in range(1, 40) if _has_field(content, number)
        } == found
    assert _has_field(_with_functions(unsealed, 0).SerializeToString(), 25)


def test_what_is_no_protobuf_has_no_field() -> None:
    random = np.random.default_rng(0)
    for content in (
        b"",
        b"\xff" * 50,
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        random.bytes(9999),
    ):
        assert not _has_field(content, 10**9)


def test_a_network_that_does_not_open_in_time_is_refused(
    tmp_path: Path, unsealed: Unsealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load_from_string(unsealed())
    names = ["image", *(f"copy {number}" for number in range(40_000))]
    model.graph.node[0].input[0] = names[-1]
    copies = [
        helper.make_node("Identity", [old], [new])
        for old, new in itertools.pairwise(names)
    ]
    nodes = [*copies, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    monkeypatch.setattr(session, "LOAD_SECONDS", 0.01)
    with pytest.raises(
        InputError, match=r"holds a network that cannot be opened within 0\.01 s"
    ):
        Bundle.read(_write(tmp_path, model))


def _doubling() -> onnx.GraphProto:
    """The body of a loop that doubles its value in every round."""
    names = ("round", TensorProto.INT64), ("go_in", TensorProto.BOOL)
    inputs = [helper.make_tensor_value_info(name, kind, []) for name, kind in names]
    inputs.append(helper.make_tensor_value_info("value_in", TensorProto.FLOAT, None))
    outputs = [helper.make_tensor_value_info("go_out", TensorProto.BOOL, [])]
    outputs.append(helper.make_tensor_value_info("value_out", TensorProto.FLOAT, None))
    nodes = [
        helper.make_node("Identity", ["go_in"], ["go_out"]),
        helper.make_node("Concat", ["value_in", "value_in"], ["value_out"], axis=0),
    ]
    return helper.make_graph(nodes, "body", inputs, outputs)


SMALL_MACHINE = """
import os, sys
pages = {"SC_PHYS_PAGES": 65536, "SC_PAGE_SIZE": 4096}  # 256 MiB
os.sysconf = pages.get
from sonoseg.cli import main
sys.exit(main(["segment", "a.png", "--model", "model.onnx"]))
"""


def test_a_network_that_wants_ever_more_memory_is_stopped(
    tmp_path: Path, unsealed: Unsealed
) -> None:
    from PIL import Image

    model = onnx.load_from_string(unsealed())
    model.graph.node[0].input[0] = "looped"
    model.graph.node.insert(
        0,
        helper.make_node(
            "Loop", ["rounds", "go", "image"], ["looped"], body=_doubling()
        ),
    )
    constants = {"rounds": np.array(60), "go": np.array(True)}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    _write(tmp_path, model)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    ended = subprocess.run(
        [sys.executable, "-c", SMALL_MACHINE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("sonoseg: a.png: ")
    assert "out of memory" in line


def test_external_data_is_refused_and_no_other_file_read(
    tmp_path: Path, unsealed: Unsealed
) -> None:
    (tmp_path / "secret").write_bytes(np.float32(1).tobytes())
    for location in (
        "secret",
        str(tmp_path / "secret"),
        "../secret",
        "*/_ORT_MEM_ADDR_/*",
    ):
        model = onnx.load_from_string(unsealed())
        level = model.graph.initializer[0]
        level.ClearField("raw_data")
        level.data_location = TensorProto.EXTERNAL
        entry = level.external_data.add()
        entry.key, entry.value = "location", location
        with pytest.raises(
            InputError, match="holds no network that onnxruntime can load"
        ):
            Bundle.read(_write(tmp_path, model))


def test_operators_of_an_unknown_domain_are_refused(
    tmp_path: Path, unsealed: Unsealed
) -> None:
    model = onnx.load_from_string(unsealed())
    model.opset_import.append(helper.make_opsetid("unknown", 1))
    model.graph.node[-1].domain = "unknown"
    with pytest.raises(InputError, match="holds no network that onnxruntime can load"):
        Bundle.read(_write(tmp_path, model))


def test_junk_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no network that onnxruntime can load"):
        open_session(tmp_path / "model.onnx", b"\x08\x08" * 50, 1)


@pytest.mark.parametrize(
    ("asked", "given"), [("1", 1), ("99999999", None), ("0", 0), ("4,2", 0), ("", 0)]
)
def test_the_threads_that_the_environment_asks_for(
    asked: str, given: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as it says, but no more than there are cores; 0 leaves the choice to ONNX Runtime."""
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    options = Bundle.read(default_bundle_path()).session.get_session_options()
    assert options.intra_op_num_threads == (os.cpu_count() if given is None else given)
    options = Bundle.read(default_bundle_path(), 1).session.get_session_options()
    assert options.intra_op_num_threads == 1
