import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sonoseg.cli import main
from sonoseg.files import write_json
from sonoseg.models.catalog import find_experiment
from sonoseg.models.narrow import insides
from sonoseg.train.run_folder import BEST, CONFIG, RunConfig, load_run, save_weights


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs of one network that differ in their weights."""
    experiment = find_experiment("sonoseg-1")
    folders = [tmp_path_factory.mktemp(f"run{seed}") for seed in range(3)]
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        model = experiment.build()
        model(torch.rand(2, 1, 64, 64))
        save_weights(folder, model)
        config = RunConfig(
            "sonoseg-1",
            experiment.network,
            experiment.recipe,
            "a",
            "b",
            "-",
            64,
            seed,
            "none",
            "",
        )
        write_json(folder / CONFIG, config.to_json())
    return folders


def test_the_average_is_the_mean_of_every_weight_and_remembers_its_parents(
    runs, tmp_path
):
    assert main(["average", *map(str, runs), "--out", str(tmp_path / "mean")]) == 0
    weights = [load_file(folder / BEST) for folder in runs]
    mean = load_file(tmp_path / "mean" / BEST)
    assert mean.keys() == weights[0].keys()
    for name, value in mean.items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(
                value, np.mean([w[name] for w in weights], 0), rtol=1e-5, atol=1e-7
            )
    model, config = load_run(tmp_path / "mean")
    assert torch.isfinite(model(torch.rand(1, 1, 64, 64))).all()
    assert [parent["seed"] for parent in config.lineage] == [0, 1, 2]
    assert config.start_from.count("sha256:") == 3


def test_the_network_inside_may_be_averaged_with_one_tuned_from_it_and_stored_in_16_bits(
    tmp_path,
):
    model, config = load_run("default")
    with torch.no_grad():
        model.head.bias += 1
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    save_weights(tuned, model)
    write_json(
        tuned / CONFIG, replace(config, start_from="default", lineage=()).to_json()
    )
    assert (
        main(
            [
                "average",
                "default",
                str(tuned),
                "--out",
                str(tmp_path / "mean"),
                "--half",
            ]
        )
        == 0
    )
    mean, _ = load_run(tmp_path / "mean")
    assert mean.head.bias.item() == pytest.approx(
        model.head.bias.item() - 0.5, abs=1e-6
    )
    assert (tmp_path / "mean" / BEST).stat().st_size < 0.6 * (
        tuned / BEST
    ).stat().st_size


def test_one_run_may_be_stored_in_16_bits(runs, tmp_path):
    assert (
        main(["average", str(runs[0]), "--out", str(tmp_path / "half"), "--half"]) == 0
    )
    whole, half = (load_file(folder / BEST) for folder in (runs[0], tmp_path / "half"))
    assert all(
        np.allclose(half[name].astype(np.float64), value, rtol=1e-3, atol=1e-4)
        for name, value in whole.items()
    )
    assert (tmp_path / "half" / BEST).stat().st_size < 0.6 * (
        runs[0] / BEST
    ).stat().st_size


def test_averaging_again_gives_the_same_file_and_other_runs_are_refused(
    runs, tmp_path, capsys
):
    command = ["average", *map(str, runs[:2]), "--out", str(tmp_path / "mean")]
    assert main(command) == 0
    first = (tmp_path / "mean" / BEST).read_bytes()
    assert main(command) == 0
    assert (tmp_path / "mean" / BEST).read_bytes() == first
    assert main(["average", *map(str, runs[1:]), "--out", str(tmp_path / "mean")]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


def test_runs_that_cannot_be_averaged_leave_nothing_behind(runs, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(runs[0], other)
    config = RunConfig.read(other)
    (other / CONFIG).write_text(json.dumps(replace(config, size=96).to_json()))
    out = tmp_path / "mean"
    for wrong, problem in (
        ([runs[0]], "at least two"),
        ([runs[0], other], "another network or image size"),
    ):
        assert main(["average", *map(str, wrong), "--out", str(out)]) == 2
        assert problem in capsys.readouterr().err
    assert not out.exists()


@pytest.fixture(scope="module")
def ensemble(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("ensemble") / "both"
    assert main(["ensemble", *map(str, runs[:2]), "--out", str(out)]) == 0
    return out


def test_an_ensemble_is_a_run_whose_logits_are_the_mean_of_its_members(runs, ensemble):
    image = torch.rand(2, 1, 64, 64)
    joint, config = load_run(ensemble)
    with torch.no_grad():
        pixels = [load_run(run)[0].outputs(image).pixels for run in runs[:2]]
        found = joint.outputs(image).pixels
    torch.testing.assert_close(found, torch.stack(pixels).mean(0))
    assert config.network.members == 2
    assert [parent["seed"] for parent in config.lineage] == [0, 1]
    assert config.start_from.count("sha256:") == 2


def test_slim_runs_of_different_widths_may_be_members(runs, tmp_path):
    model, config = load_run(runs[0])
    blocks = insides(model)
    for inside in blocks:
        inside.keep(torch.arange(inside.width // 2))
    widths = tuple(inside.width for inside in blocks)
    slim = tmp_path / "slim"
    slim.mkdir()
    save_weights(slim, model)
    narrower = replace(config, network=replace(config.network, inner=widths))
    write_json(slim / CONFIG, narrower.to_json())
    out = tmp_path / "both"
    assert main(["ensemble", str(slim), str(runs[1]), "--out", str(out)]) == 0
    joint, config = load_run(out)
    assert config.network.inner == (*widths, *(2 * width for width in widths))
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        other = load_run(runs[1])[0].outputs(image).pixels
        mean = (model.eval().outputs(image).pixels + other) / 2
        torch.testing.assert_close(joint.outputs(image).pixels, mean)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("one", "at least two different"),
        ("twice", "at least two different"),
        ("ensembles", "cannot be a member"),
        ("sizes", "another network or image size"),
    ],
)
def test_runs_that_make_no_ensemble_are_refused(
    wrong, problem, runs, ensemble, tmp_path, capsys
):
    other = tmp_path / "other"
    shutil.copytree(ensemble if wrong == "ensembles" else runs[0], other)
    if wrong == "sizes":
        config = RunConfig.read(other)
        (other / CONFIG).write_text(json.dumps(replace(config, size=96).to_json()))
    given = {
        "one": [runs[0]],
        "twice": [runs[0], runs[0].parent / ".." / runs[0].parent.name / runs[0].name],
        "ensembles": [ensemble, other],
        "sizes": [runs[0], other],
    }[wrong]
    out = tmp_path / "joint"
    assert main(["ensemble", *map(str, given), "--out", str(out)]) == 2
    assert problem in capsys.readouterr().err
    assert not out.exists()
