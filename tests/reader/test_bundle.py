"""A bundle is read whole and unaltered, or refused in one line; whatever its bytes are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from sonoseg.errors import InputError
from sonoseg.reader import bundle as bundle_module
from sonoseg.reader.bundle import (
    Bundle,
    default_bundle_path,
    find_bundle,
)
from sonoseg.reader.card import CARD_KEY, Card
from sonoseg.reader.checksum import CHECKSUM_KEY, CHECKSUM_MARK, add_checksum


def test_a_bundle_gives_its_card_and_runs_any_number_of_images(
    bundle: Path, card: dict[str, Any]
) -> None:
    opened = Bundle.read(bundle)
    assert opened.card == Card(**card)
    assert opened.card.size == (96, 112)
    assert (CHECKSUM_MARK + opened.sha256).encode() in bundle.read_bytes()
    for count in (1, 3):
        batch = np.random.default_rng(0).random((count, 1, 96, 112), dtype=np.float32)
        probability = opened.run(batch).probability
        assert probability.shape == batch.shape
        assert probability.dtype == np.float32
        inner = batch[:, 0, 40:49, 40:49].mean((1, 2))
        expected = 1 / (1 + np.exp(-40 * (0.35 - inner)))
        np.testing.assert_allclose(probability[:, 0, 44, 44], expected, atol=1e-5)


def test_the_number_of_threads_does_not_change_the_result(bundle: Path) -> None:
    batch = np.random.default_rng(0).random((2, 1, 96, 112), dtype=np.float32)
    one, two = (Bundle.read(bundle, threads).run(batch)[0] for threads in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_adding_the_checksum_twice_changes_nothing_and_keeps_the_length(
    unsealed: Callable[..., bytes],
) -> None:
    content = unsealed()
    whole = add_checksum(content)
    assert whole != content
    assert len(whole) == len(content)
    assert add_checksum(whole) == whole


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        (CHECKSUM_MARK + "0" * 63).encode(),
        (CHECKSUM_MARK + "0" * 64).encode() * 2,
    ],
)
def test_only_content_with_one_mark_takes_a_checksum(content: bytes) -> None:
    with pytest.raises(ValueError, match="instead of one"):
        add_checksum(content)


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def _refused(path: Path, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as error:
        Bundle.read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_files_that_are_no_bundle_are_refused(
    tmp_path: Path, unsealed: Callable[..., bytes]
) -> None:
    _refused(tmp_path / "gone.onnx", "no such file")
    _refused(tmp_path, "is a folder")
    _refused(_write(tmp_path, b""), "empty file")
    _refused(_write(tmp_path, b"text"), "is not a sonoseg bundle")
    _refused(_write(tmp_path, unsealed(metadata={})), "is not a sonoseg bundle")
    _refused(_write(tmp_path, unsealed()), "has been altered")


def test_a_file_with_a_right_checksum_that_is_no_network_is_refused(
    tmp_path: Path,
) -> None:
    for junk in (b"", b"\x08\x08" * 50, bytes(range(256))):
        _refused(
            _write(tmp_path, add_checksum(junk + (CHECKSUM_MARK + "0" * 64).encode())),
            "holds no network|not a sonoseg bundle",
        )


def test_a_checksum_outside_the_metadata_is_refused(
    tmp_path: Path, unsealed: Callable[..., bytes], card: dict[str, Any]
) -> None:
    content = unsealed(
        metadata={CARD_KEY: json.dumps(card), "elsewhere": CHECKSUM_MARK + "0" * 64}
    )
    _refused(_write(tmp_path, add_checksum(content)), "checksum is in the wrong place")


def test_any_altered_bundle_is_refused_without_opening_it(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        __import__("sys").modules, "onnxruntime", None
    )  # importing it would fail
    content = bundle.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, len(content) - 1, *rng.integers(0, len(content), 60)]:
        altered = bytearray(content)
        altered[place] ^= int(rng.integers(1, 256))
        _refused(
            _write(tmp_path, bytes(altered)), "has been altered|is not a sonoseg bundle"
        )
    for length in (1, len(content) // 2, len(content) - 1):
        _refused(
            _write(tmp_path, content[:length]),
            "has been altered|is not a sonoseg bundle",
        )
    _refused(_write(tmp_path, content + b"\0"), "has been altered")


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300), whole=st.booleans())
def test_random_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, whole: bool
) -> None:
    if whole:
        content = add_checksum(
            content + (CHECKSUM_MARK + "0" * 64).encode() + content[:20]
        )
    path = _write(tmp_path_factory.getbasetemp(), content or b"\0")
    with pytest.raises(InputError):
        Bundle.read(path)


BAD_VALUES: dict[str, list[Any]] = {
    "format": [2, 0, True, "1", None, 1.0],
    "name": ["", " ", "two\nlines", "x" * 41, 3, "\x1b[31m"],
    "version": ["", 1.0],
    "input": [
        {},
        [],
        {"size": [96], "range": [0, 1], "channels": 1},
        {"size": [96, 8], "range": [0, 1], "channels": 1},
        {"size": [96, 112.0], "range": [0, 1], "channels": 1},
        {"size": [96, 112], "range": [0, 255], "channels": 1},
        {"size": [96, 112], "range": [0, 1], "channels": 3},
    ],
    "threshold": [10**400, 0, 1, -0.5, "0.5", None, float("nan"), float("inf")],
    "min_lesion_fraction": [-(10**400), -0.1, 1, "none", None],
    "training_data": ["BUSI", [1], None],
    "recipe": ["", 1, "\x1b[31m", "\ud800", "a\rb", "a\0"],
    "scores": [[], None],
    "intended_use": ["", None],
    "limits": ["none", [""], ["\x9b31m"]],
    "licence": ["", 0],
    "created": ["yesterday", "2026-13-01", 20260101],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key in BAD_VALUES for value in BAD_VALUES[key]]
)
def test_each_key_of_the_card_is_checked(
    card: dict[str, Any], key: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=f"its card's {key} is not"):
        Card.from_json(json.dumps(card | {key: value}))


def test_every_key_of_the_card_must_be_there_and_others_may(
    card: dict[str, Any],
) -> None:
    assert set(BAD_VALUES) == set(card)
    for key in card:
        with pytest.raises(ValueError, match=f"its card's {key} is not"):
            Card.from_json(json.dumps({k: v for k, v in card.items() if k != key}))
    assert Card.from_json(json.dumps(card | {"later": 1})) == Card(**card)
    assert Card.from_json(Card(**card).to_json()) == Card(**card)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("weights", ["sha256:" + "0a" * 32, None], ["", "0a" * 32, 3, "sha256:0A"]),
        ("temperature", [1, 1.5, None], [0, -1, "1", True, float("nan")]),
        ("malignancy", [{}, {"auc": 0.9}], [None, []]),
    ],
)
def test_keys_that_older_cards_lack_are_checked_where_they_are(
    card: dict[str, Any], key: str, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        assert getattr(Card.from_json(json.dumps(card | {key: value})), key) == value
    for value in bad:
        with pytest.raises(ValueError, match=f"its card's {key} is not"):
            Card.from_json(json.dumps(card | {key: value}))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "[" * 100_000, "9" * 9999, " " * 2_000_000]
)
def test_a_card_that_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"its card is (not|over)"):
        Card.from_json(text)


def test_a_bad_card_in_a_whole_bundle_is_told_with_its_key(
    tmp_path: Path, unsealed: Callable[..., bytes], card: dict[str, Any]
) -> None:
    for text, problem in [
        ("no json", "card is not JSON"),
        (json.dumps(card | {"threshold": 7}), "card's threshold"),
    ]:
        content = unsealed(
            metadata={CARD_KEY: text, CHECKSUM_KEY: CHECKSUM_MARK + "0" * 64}
        )
        _refused(_write(tmp_path, add_checksum(content)), problem)


def _change_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "picture"


def _rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "mask"


def _unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "Sigmoids"


def _shrink(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[2].dim_value = 90


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_change_type, "holds no network|float input"),
        (_fix_batch, "not any number of"),
        (_rename_input, 'float input "image"'),
        (_rename_output, 'float output "probability"'),
        (_unknown_operator, "holds no network"),
        (_shrink, "not any number of"),
    ],
)
def test_a_network_of_another_shape_is_refused(
    tmp_path: Path,
    unsealed: Callable[..., bytes],
    change: Callable[[onnx.ModelProto], None],
    problem: str,
) -> None:
    model = onnx.load_from_string(unsealed())
    change(model)
    _refused(_write(tmp_path, add_checksum(model.SerializeToString())), problem)


@pytest.mark.parametrize("last", ["Identity", "Log"])
def test_a_network_that_gives_no_probabilities_is_refused(
    tmp_path: Path, unsealed: Callable[..., bytes], last: str
) -> None:
    model = onnx.load_from_string(unsealed())
    model.graph.node[-1].CopyFrom(helper.make_node(last, ["logits"], ["probability"]))
    opened = Bundle.read(_write(tmp_path, add_checksum(model.SerializeToString())))
    batch = np.random.default_rng(0).random((1, 1, 96, 112), dtype=np.float32)
    with pytest.raises(
        InputError, match="does not return probability as numbers from 0 to 1"
    ):
        opened.run(batch)


def test_a_run_that_fails_is_told_in_one_line(bundle: Path) -> None:
    with pytest.raises(InputError, match="its network cannot be run"):
        Bundle.read(bundle).run(np.zeros((1, 1, 50, 50), np.float32))


def test_models_are_found_by_shipped_name_or_path(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_bundle_path().name == "default.onnx"
    monkeypatch.setattr(bundle_module, "WEIGHTS", tmp_path)
    assert find_bundle(bundle) == find_bundle(str(bundle)) == bundle
    with pytest.raises(
        InputError, match="default: no such model; give the path of a bundle"
    ):
        find_bundle("default")
    (tmp_path / "default.onnx").write_bytes(bundle.read_bytes())
    assert find_bundle("default") == default_bundle_path()
    with pytest.raises(
        InputError,
        match='defualt: no such model; give "default" or the path of a bundle',
    ):
        find_bundle("defualt")
    with pytest.raises(InputError, match="is a folder"):
        find_bundle(tmp_path)
