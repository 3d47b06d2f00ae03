"""Runs and bundles that several tests look at: an export takes many seconds."""

import json

import onnx
import pytest
import torch
from tests.shallow import shallow_encoders

from sonoseg.cli import main
from sonoseg.data.phantom import write_phantoms
from sonoseg.deploy.export import trace
from sonoseg.files import write_json
from sonoseg.models.catalog import find_experiment
from sonoseg.train.run_folder import CONFIG, RunConfig, save_weights


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """A folder of 24 small synthetic images."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, 24, seed=1, size=(128, 160))
    return folder


@pytest.fixture(scope="module")
def shallow():
    """Shallow encoders for the tests of a module that use it, and for their fixtures."""
    with shallow_encoders():
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of sonoseg-1 with shallow encoders, random weights and batch statistics that are not the first ones."""
    folder = tmp_path_factory.mktemp("run")
    experiment = find_experiment("sonoseg-1")
    torch.manual_seed(0)
    with shallow_encoders():
        model = experiment.build()
    model(torch.rand(4, 1, 64, 64))
    save_weights(folder, model.eval())
    config = RunConfig(
        "sonoseg-1", experiment.network, experiment.recipe, "phantoms", "grouped", "-", 64, 0,
        "none", "",
    )  # fmt: skip
    write_json(folder / CONFIG, config.to_json())
    return folder


@pytest.fixture(scope="session")
def bundles(run, made_once):
    """The run as whole.onnx, with a name, a threshold and scores, and in 16 bits as half.onnx."""
    return made_once("bundles", lambda folder: export_both(run, folder))


SCORES = {
    "images": 3,
    "conventions": {},
    "normals": {},
    "model": {"name": "mine", "threshold": 0.4, "min_lesion_fraction": 0},
}


def export_both(run, folder):
    scores = folder / "metrics.json"
    scores.write_text(json.dumps(SCORES))
    traced = []

    def trace_once(*arguments):
        """Both bundles are made of the same graph; tracing it takes most of the time."""
        if not traced:
            traced.append(trace(*arguments))
        graph = onnx.ModelProto()
        graph.CopyFrom(traced[0])
        return graph

    whole = ["--scores", str(scores), "--name", "mine", "--threshold", "0.4"]
    with pytest.MonkeyPatch.context() as patch, shallow_encoders():
        patch.setattr("sonoseg.deploy.export.trace", trace_once)
        for name, options in {"whole": whole, "half": ["--half"]}.items():
            out = str(folder / f"{name}.onnx")
            assert main(["export", str(run), "--out", out, *options]) == 0
