"""The network of a run folder as a predictor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sonoseg.core.resize import resize_image
from sonoseg.evaluate.predictors import load_predictor
from sonoseg.files import write_json
from sonoseg.models.catalog import Recipe
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.train.run_folder import CONFIG, RunConfig, save_weights


@pytest.fixture
def one_thread() -> None:
    """On few cores that other work keeps busy, threads of small convolutions wait for each other."""
    torch.set_num_threads(1)


@pytest.mark.usefixtures("one_thread")
def test_a_run_answers_with_the_probabilities_of_its_network(tmp_path: Path) -> None:
    network = FusionUNetConfig(("resnet18",), "cbam")
    torch.manual_seed(0)
    model = FusionUNet(network).eval()
    config = RunConfig(
        "model-7", network, Recipe(), data="d", split="paper", cases="", size=64, seed=0,
        encoder_weights="none", start_from="",
    )  # fmt: skip
    write_json(tmp_path / CONFIG, config.to_json())
    save_weights(tmp_path, model)
    predictor = load_predictor(str(tmp_path))
    assert (predictor.name, predictor.threshold, predictor.min_lesion_fraction) == (
        "model-7",
        0.5,
        0,
    )

    random = np.random.default_rng(0)
    images = [
        random.integers(0, 256, shape, dtype=np.uint8)
        for shape in ((90, 70), (64, 64), (33, 120))
    ]
    maps = predictor.probability(images)
    for image, probability in zip(images, maps, strict=True):
        assert probability.dtype == np.float32 and probability.shape == (64, 64)
        pixels = torch.from_numpy(resize_image(image, (64, 64)) / 255.0).float()[
            None, None
        ]
        with torch.no_grad():
            expected = model(pixels).sigmoid()[0, 0].numpy()
        np.testing.assert_allclose(probability, expected, atol=1e-5)
