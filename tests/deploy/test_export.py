import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from tests.deploy.conftest import SCORES

import sonoseg
from sonoseg.cli import main
from sonoseg.data.load import load_cases
from sonoseg.deploy.bundle_card import describe_recipe, make_card
from sonoseg.deploy.calibration import load_calibration
from sonoseg.deploy.card_scores import with_scores
from sonoseg.deploy.deployed import folded
from sonoseg.deploy.export import (
    TOLERANCE,
    Agreement,
    difference,
    example_images,
    export_bundle,
)
from sonoseg.errors import InputError
from sonoseg.evaluate.evaluate import evaluate
from sonoseg.evaluate.predictors import load_predictor
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.reader.bundle import Bundle
from sonoseg.train.run_folder import RunConfig, find_run, load_run, weights_hash

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.mark.parametrize("name", ["whole", "half"])
def test_the_bundle_answers_as_pytorch_does_for_any_batch(run, bundles, name):
    model, _ = load_run(run)
    bundle = Bundle.read(bundles / f"{name}.onnx")
    allowed = {"whole": TOLERANCE, "half": 5e-3}[name]
    for count in (1, 2, 5):
        image = np.random.default_rng(count).random((count, 1, 64, 64), np.float32)
        with torch.no_grad():
            expected = model(torch.from_numpy(image)).sigmoid().numpy()
        assert np.abs(bundle.run(image).probability - expected).max() <= allowed


@pytest.mark.parametrize("shift", [-4.0, -0.5, 0.5, 4.0])
def test_a_presence_shift_is_added_to_the_logit_of_the_presence_head(
    run, bundles, shift
):
    model, _ = load_run(run)
    bundle = Bundle.read(bundles / "whole.onnx")
    image = np.random.default_rng(0).random((3, 1, 64, 64), np.float32)
    with torch.no_grad():
        pixels, presence = model.outputs(torch.from_numpy(image))
    expected = torch.minimum(pixels, presence[:, :, None, None] + shift).sigmoid()
    found = bundle.run(image, presence_shift=shift).probability
    assert np.abs(found - expected.numpy()).max() <= TOLERANCE


def test_the_command_says_how_far_the_bundle_is_from_pytorch(
    run, tmp_path, monkeypatch, capsys
):
    agreement = Agreement(onnx_to_torch=1.2e-7, rounding=3e-4)

    def write(model, card, out, *options):
        out.write_bytes(b"0" * 1_500_000)
        return agreement

    monkeypatch.setattr("sonoseg.deploy.export.export_bundle", write)
    assert main(["export", str(run), "--out", str(tmp_path / "b.onnx"), "--half"]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'b.onnx'}: sonoseg-1, 1.5 MB"
    assert second.startswith("not calibrated")
    assert "1.2e-07" in third
    assert third.endswith("by 3.0e-04, on two synthetic images")


@pytest.mark.parametrize(
    ("encoder", "inputs"), [("tf_efficientnet_lite0", 1), ("efficientnet_b0", 3)]
)
def test_a_first_convolution_is_made_gray_where_all_colours_are_scaled_alike(
    encoder, inputs
):
    network = FusionUNetConfig((encoder,), widths=(16, 16, 8, 8))
    torch.manual_seed(0)
    model = network.build()
    model(torch.rand(4, 1, 64, 64))
    lighter, image = folded(model.eval()), torch.rand(2, 1, 64, 64)
    assert lighter.encoders.parts[encoder].conv_stem.weight.shape[1] == inputs
    assert model.encoders.parts[encoder].conv_stem.weight.shape[1] == 3
    with torch.no_grad():
        torch.testing.assert_close(lighter(image), model(image), rtol=1e-4, atol=1e-5)


def test_the_graph_is_folded_and_says_nothing_of_the_machine_it_was_made_on(bundles):
    graph = onnx.load(bundles / "half.onnx").graph
    operators = {node.op_type for node in graph.node}
    assert "Conv" in operators
    assert "BatchNormalization" not in operators
    content = (bundles / "half.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path(sonoseg.__file__).parent).encode() not in content


def test_half_is_half_the_size_and_runs_the_same_graph(bundles):
    sizes = [(bundles / f"{name}.onnx").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.57 * sizes[0]  # the nodes of the graph weigh the same in both
    image = np.random.default_rng(0).random((1, 1, 64, 64), np.float32)
    answers = [
        onnxruntime.InferenceSession(bundles / f"{name}.onnx").run(
            None, {"image": image}
        )[0]
        for name in ("whole", "half")
    ]
    assert np.abs(answers[0] - answers[1]).max() < 0.01


def test_an_exported_run_segments_a_picture(bundles, tmp_path):
    bundle, out = bundles / "whole.onnx", tmp_path / "out"
    card = Bundle.read(bundle).card
    assert (card.name, card.size, card.threshold, card.scores) == (
        "mine",
        (64, 64),
        0.4,
        SCORES,
    )
    assert card.training_data == ["phantoms, split grouped, 64 pixels"]
    Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (90, 120), np.uint8)
    ).save(tmp_path / "scan.png")
    assert (
        main(
            [
                "segment",
                str(tmp_path / "scan.png"),
                "--model",
                str(bundle),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert Image.open(out / "scan_mask.png").size == (120, 90)


def test_scores_of_a_run_and_of_its_bundle_are_known_as_those_of_one_network(
    run, bundles, phantoms, tmp_path
):
    models = []
    for model in (run, bundles / "half.onnx"):
        out = tmp_path / model.name
        evaluate(load_predictor(str(model)), load_cases(phantoms)[:2], out, (64, 64))
        found = json.loads((out / "metrics.json").read_text())["model"]
        models.append(found | {"name": ""})
    assert models[0] == models[1]
    assert models[0]["weights"] == weights_hash(run)
    assert models[0]["temperature"] == 1
    card = Bundle.read(bundles / "half.onnx").card
    card = with_scores(card, out / "metrics.json", run)
    assert card.scores["model"]["weights"] == card.weights


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--threshold", "1.5"], "is not between 0 and 1"),
        (["--scores", "nowhere.json"], "not a readable metrics.json"),
        (["--scores", "cut.json"], "was measured with threshold 0.5, not 0.4"),
        (["--scores", "calibration.json"], "not a metrics.json"),
        (["--scores", "compared.json"], "not a metrics.json"),
        (["--scores", "odd.json"], "not a metrics.json"),
        (["--scores", "other.json"], "was measured with another network than"),
        (["--scores", "hot.json"], "was calibrated as it is now (temperature 1.5"),
        (["--name", "x" * 200], "name is not a line"),
    ],
)
def test_bad_options_write_no_bundle(run, tmp_path, capsys, monkeypatch, more, problem):
    monkeypatch.chdir(tmp_path)
    at_one_half = {**SCORES, "model": {**SCORES["model"], "threshold": 0.5}}
    Path("cut.json").write_text(json.dumps(at_one_half))
    Path("compared.json").write_text(json.dumps([{"model": "m", "p": 0.1}]))
    Path("odd.json").write_text(json.dumps({**SCORES, "model": "mine"}))
    for name, entry in {
        "other": {"weights": "sha256:" + "0" * 64},
        "hot": {"weights": weights_hash(run), "temperature": 1.5},
    }.items():
        scores = {**SCORES, "model": SCORES["model"] | entry}
        Path(f"{name}.json").write_text(json.dumps(scores))
    Path("calibration.json").write_text(json.dumps({"temperature": 1.5}))
    line = ["export", str(run), "--out", "b.onnx", "--threshold", "0.4", *more]
    assert main(line) == 2
    assert problem in capsys.readouterr().err
    assert not Path("b.onnx").exists()


def test_the_cards_recipe_is_a_sentence(run):
    assert make_card(RunConfig.read(run)).recipe == (
        "sonoseg-1, seed 0: at most 30 epochs at 64 × 64 pixels, 8 images a step, loss bce+image-dice, adam at 0.001 "
        "(one-cycle), augmentation light, epoch kept by dice."
    )
    shipped = RunConfig.read(find_run("default"))
    recipe = make_card(shipped, load_calibration(find_run("default"))).recipe
    assert recipe.endswith(
        "augmentation light, epoch kept by dice, only the presence learned."
    )
    assert recipe.startswith(
        shipped.start_from
        + ", 23 earlier runs, logits divided by 1.68; the first of them: sonoseg-1"
    )
    assert len(recipe) < 500 and "{" not in recipe


def test_the_recipe_of_a_network_that_was_made_of_others_begins_with_them(run):
    """Its config has the settings of the first, which was not trained from the others."""
    config = RunConfig.read(run)
    trained = describe_recipe(config)
    one, other = (f"r{i} sha256:" + 64 * str(i) for i in range(2))
    for made in (
        f"ensemble of {one}, {other}",
        f"mean of {one}",
        f"{one}, 0.1 slimmer by 8 images",
    ):
        recipe = describe_recipe(replace(config, start_from=made))
        assert recipe == f"{made}; the first of them: {trained}"
    for origin in (one, f"the mean of {other}"):
        recipe = describe_recipe(replace(config, start_from=origin))
        assert recipe == f"{trained[:-1]}, started from {origin}."
    short = replace(config, recipe=replace(config.recipe, epochs=1, batch=1))
    assert "at most 1 epoch at" in describe_recipe(short)
    assert ", 1 image a step" in describe_recipe(short)


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "b.onnx")]) == 2
    assert "not the config of a sonoseg run" in capsys.readouterr().err


def test_a_graph_that_answers_otherwise_is_not_written(
    run, bundles, tmp_path, monkeypatch
):
    """The graph is that of a bundle; an export of its own would take as long as all these tests."""
    model, config = load_run(run)
    graph = onnx.load(bundles / "whole.onnx")
    monkeypatch.setattr("sonoseg.deploy.export.trace", lambda *_: graph)
    monkeypatch.setattr("sonoseg.deploy.deployed.trace_gradcam", lambda *_: NoHeat())
    with torch.no_grad():
        model.presence[1].bias -= 1
    with pytest.raises(InputError, match="graph's probability differs from PyTorch's"):
        export_bundle(model, make_card(config), tmp_path / "b.onnx")
    assert list(tmp_path.iterdir()) == []


class NoHeat(torch.nn.Module):
    """In place of the traced Grad-CAM."""

    def forward(self, features, *maps):
        return torch.zeros(len(features), 1, 64, 64)


def test_the_difference_is_a_share_of_large_values_and_nan_where_one_is():
    ones = np.ones(3, np.float32)
    assert difference(ones + 0.5, ones) == 0.5
    assert difference(10 * ones, 8 * ones) == 0.25
    assert np.isnan(difference(np.array([0, np.nan, 0], np.float32), ones))


def test_outputs_are_compared_where_a_network_finds_lesions():
    """On noise the probabilities are near 0, and rounded weights seem to change nothing."""
    images = example_images((192, 192))
    assert images.shape == (2, 1, 192, 192) and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1
    for image in images[:, 0].numpy():
        assert sonoseg.segment(image).lesions
