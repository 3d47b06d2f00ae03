import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import sonoseg
from sonoseg.cli import main
from sonoseg.deploy.calibration import load_calibration
from sonoseg.deploy.export import HEAT_TOLERANCE, TOLERANCE, export_bundle, folded, make_card
from sonoseg.errors import InputError
from sonoseg.files import write_json
from sonoseg.models.catalog import Experiment, find_experiment
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.reader.bundle import Bundle
from sonoseg.train.run_folder import CONFIG, RunConfig, find_run, save_weights

OPTIONS = SimpleNamespace(
    name=None, scores=None, threshold=0.5, min_lesion_fraction=0.0, out="x.onnx"
)


def settled(experiment: Experiment):
    """A network whose batch statistics are not the first ones."""
    torch.manual_seed(0)
    model = experiment.build()
    model(torch.rand(4, 1, 64, 64))
    return model.eval()


def config_of(experiment: Experiment):
    return RunConfig(
        experiment.name,
        experiment.network,
        experiment.recipe,
        "phantoms",
        "grouped",
        "-",
        64,
        0,
        "none",
        "",
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    experiment = find_experiment("sonoseg-1")
    save_weights(folder, settled(experiment))
    write_json(folder / CONFIG, config_of(experiment).to_json())
    return folder


@pytest.fixture(scope="module")
def bundles(run, tmp_path_factory):
    """The run as whole.onnx, with a name, a threshold and scores, and in 16 bits as half.onnx: an export takes long."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "metrics.json").write_text(json.dumps({"images": 3}))
    options = {
        "whole": ["--scores", str(folder / "metrics.json"), "--name", "mine", "--threshold", "0.4"]
    }
    for name, more in {**options, "half": ["--half"]}.items():
        assert main(["export", str(run), "--out", str(folder / f"{name}.onnx"), *more]) == 0
    return folder


@pytest.mark.parametrize(
    ("attention", "presence"), [("none", "parts"), ("cbam", "image"), ("nonlocal", "image")]
)
@pytest.mark.parametrize("half", [False, True])
def test_the_bundle_answers_as_pytorch_does_for_any_batch(tmp_path, attention, presence, half):
    network = FusionUNetConfig(("resnet18",), attention, skips=True, presence=presence)
    experiment = Experiment("trial", network)
    model = settled(experiment)
    agreement = export_bundle(
        model, make_card(config_of(experiment), OPTIONS), tmp_path / "b.onnx", half
    )
    assert agreement.onnx_to_torch <= HEAT_TOLERANCE
    assert half or agreement.rounding <= TOLERANCE
    bundle = Bundle.read(tmp_path / "b.onnx")
    for count in (1, 2, 5):
        image = np.random.default_rng(count).random((count, 1, 64, 64), np.float32)
        with torch.no_grad():
            expected = model(torch.from_numpy(image)).sigmoid().numpy()
        assert np.abs(bundle.run(image)[0] - expected).max() <= (5e-3 if half else TOLERANCE)


@pytest.mark.parametrize(
    ("encoder", "inputs"), [("tf_efficientnet_lite0", 1), ("efficientnet_b0", 3)]
)
def test_a_first_convolution_is_made_gray_where_all_colours_are_scaled_alike(encoder, inputs):
    network = FusionUNetConfig((encoder,), widths=(16, 16, 8, 8))
    model = settled(Experiment("trial", network))
    lighter, image = folded(model), torch.rand(2, 1, 64, 64)
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
        onnxruntime.InferenceSession(bundles / f"{name}.onnx").run(None, {"image": image})[0]
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
        {"images": 3},
    )
    assert card.training_data == ["phantoms, split grouped, 64 pixels"]
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120), np.uint8)).save(
        tmp_path / "scan.png"
    )
    assert (
        main(["segment", str(tmp_path / "scan.png"), "--model", str(bundle), "--out", str(out)])
        == 0
    )
    assert Image.open(out / "scan_mask.png").size == (120, 90)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--threshold", "1.5"], "is not between 0 and 1"),
        (["--scores", "nowhere.json"], "not a readable metrics.json"),
        (["--name", "x" * 200], "name is not a line"),
    ],
)
def test_bad_options_write_no_bundle(run, tmp_path, capsys, more, fault):
    assert main(["export", str(run), "--out", str(tmp_path / "b.onnx"), *more]) == 2
    assert fault in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_cards_recipe_is_a_sentence():
    config = config_of(find_experiment("sonoseg-1"))
    assert make_card(config, OPTIONS).recipe == (
        "sonoseg-1, seed 0: at most 30 epochs at 64 × 64 pixels, 8 images a step, loss bce+image-dice, adam at 0.001 "
        "(one-cycle), augmentation light, epoch kept by dice."
    )
    shipped = RunConfig.read(find_run("default"))
    recipe = make_card(shipped, OPTIONS, load_calibration(find_run("default"))).recipe
    assert recipe.endswith(
        "only the presence learned, started from " + shipped.start_from + ", 23 earlier trainings, "
        "logits divided by 1.68."
    )
    assert len(recipe) < 500 and "{" not in recipe


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "b.onnx")]) == 2
    assert "not the config of a sonoseg run" in capsys.readouterr().err


def test_a_graph_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    experiment = find_experiment("sonoseg-1")
    monkeypatch.setattr("sonoseg.deploy.export.TOLERANCE", -1.0)
    with pytest.raises(InputError, match="graph's probability differs from PyTorch's"):
        export_bundle(
            settled(experiment), make_card(config_of(experiment), OPTIONS), tmp_path / "b.onnx"
        )
    assert list(tmp_path.iterdir()) == []
