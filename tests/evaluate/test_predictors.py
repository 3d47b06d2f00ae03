"""Which predictor a name stands for, and that each answers with probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from sonoseg.core.resize import enlarge, resize_probability
from sonoseg.errors import InputError
from sonoseg.evaluate.predictors import load_predictor, predicted_mask
from sonoseg.reader.card import CARD_KEY
from sonoseg.reader.checksum import CHECKSUM_KEY, CHECKSUM_MARK, add_checksum
from sonoseg.reader.segmenter import load

CARD = {
    "format": 1,
    "name": "negative",
    "version": "1",
    "input": {"size": [32, 48], "range": [0, 1], "channels": 1},
    "threshold": 0.75,
    "min_lesion_fraction": 0.01,
    "training_data": ["none"],
    "recipe": "probability is darkness",
    "scores": {},
    "intended_use": "tests",
    "limits": ["everything"],
    "licence": "Apache-2.0",
    "created": "2026-11-24",
}


@pytest.fixture
def negative(tmp_path: Path) -> Path:
    """A bundle whose probability is 1 - image."""
    shape = ["batch", 1, *CARD["input"]["size"]]  # type: ignore[index]
    graph = helper.make_graph(
        [helper.make_node("Sub", ["one", "image"], ["probability"])],
        "negative",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, shape)],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    helper.set_model_props(
        model, {CARD_KEY: json.dumps(CARD), CHECKSUM_KEY: CHECKSUM_MARK + "0" * 64}
    )
    onnx.checker.check_model(model)
    path = tmp_path / "negative.onnx"
    path.write_bytes(add_checksum(model.SerializeToString()))
    return path


@pytest.mark.parametrize(
    ("name", "value"), [("all-foreground", 1), ("all-background", 0)]
)
def test_constant_predictors_answer_every_pixel_alike(name: str, value: float) -> None:
    predictor = load_predictor(name)
    images = [np.zeros((20, 30), np.uint8), np.full((17, 16), 200, np.uint8)]
    maps = predictor.probability(images)
    assert predictor.name == name
    for image, probability in zip(images, maps, strict=True):
        assert probability.dtype == np.float32 and probability.shape == image.shape
        assert (probability == value).all()
        assert (predicted_mask(predictor, probability) == bool(value)).all()


def test_a_bundle_answers_on_its_own_grid_with_its_cards_rule(negative: Path) -> None:
    predictor = load_predictor(str(negative))
    assert (predictor.name, predictor.threshold, predictor.min_lesion_fraction) == (
        "negative",
        0.75,
        0.01,
    )
    image = np.full((80, 90), 255, np.uint8)
    image[20:60, 30:70] = 0
    for probability in predictor.probability([image, image.T.copy()]):
        assert probability.shape == (32, 48) and probability.dtype == np.float32
        assert probability.min() == 0 and probability.max() == 1


def test_a_bundles_mask_is_the_one_the_reader_draws(negative: Path) -> None:
    random = np.random.default_rng(0)
    image = (
        np.kron(random.integers(0, 2, (6, 8)), np.ones((16, 12))).astype(np.uint8) * 255
    )
    image[3:5, 3:5] = 0
    predictor = load_predictor(str(negative))
    (probability,) = predictor.probability([image])
    mask = predicted_mask(predictor, resize_probability(probability, image.shape))
    np.testing.assert_array_equal(mask, load(negative).segment(image).mask)
    assert mask.any() and not mask.all()


def test_parts_below_the_smallest_lesion_are_dropped(negative: Path) -> None:
    predictor = load_predictor(str(negative))
    probability = np.zeros((50, 50), dtype=np.float32)
    probability[0, :24] = probability[10:15, 10:15] = (
        0.9  # 24 and 25 pixels, the limit is 25
    )
    probability[30:40, 30:40] = 0.7  # below the threshold
    expected = np.zeros((50, 50), dtype=bool)
    expected[10:15, 10:15] = True
    np.testing.assert_array_equal(predicted_mask(predictor, probability), expected)


def test_scaling_a_map_keeps_its_range_and_leaves_its_own_size_alone() -> None:
    probability = np.random.default_rng(1).random((30, 40)).astype(np.float32)
    assert resize_probability(probability, (30, 40)) is probability
    for size in ((224, 224), (7, 11)):
        scaled = resize_probability(probability, size)
        assert scaled.shape == size and scaled.dtype == np.float32
        assert scaled.min() >= 0 and scaled.max() <= 1
    assert (resize_probability(np.ones((30, 40), np.float32), (224, 224)) == 1).all()


@pytest.mark.parametrize(
    "size", [(7, 11), (15, 80), (60, 20), (90, 120), (29, 40), (1, 1)]
)
def test_a_map_is_scaled_as_the_reader_scales_it_larger_or_smaller(
    size: tuple[int, int],
) -> None:
    probability = np.random.default_rng(2).random((30, 40)).astype(np.float32)
    np.testing.assert_allclose(
        resize_probability(probability, size), enlarge(probability, size), atol=1e-5
    )
    expected = F.interpolate(
        torch.from_numpy(probability)[None, None], size, mode="bilinear"
    )[0, 0].numpy()
    np.testing.assert_allclose(
        resize_probability(probability, size), expected, atol=1e-5
    )


def test_an_unknown_model_is_answered_with_the_choices() -> None:
    with pytest.raises(
        InputError,
        match=r"no-such: no such model; give a run folder, .*, accurate, default, all-foreground",
    ):
        load_predictor("no-such")


def test_files_and_folders_that_are_no_models_are_named(
    negative: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    with pytest.raises(InputError, match=r"text\.onnx"):
        load_predictor(str(text))
    altered = bytearray(negative.read_bytes())
    altered[-1] ^= 1
    negative.write_bytes(altered)
    with pytest.raises(InputError, match="altered"):
        load_predictor(str(negative))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="not the config of a sonoseg run"):
        load_predictor(str(tmp_path))
