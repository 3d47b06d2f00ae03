import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sonoseg.cli import main
from sonoseg.data import load_cases, split_cases
from sonoseg.deploy.slim import choose, refit, slim_run
from sonoseg.files import write_json
from sonoseg.models.catalog import find_experiment
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.narrow import insides
from sonoseg.train.dataset import read_once
from sonoseg.train.run_folder import BEST, CONFIG, RunConfig, load_run, save_weights

SPLIT = "grouped-0"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small network of our kind, with batch statistics of noise."""
    return make_run(
        tmp_path_factory.mktemp("run"),
        "sonoseg-1",
        "tf_efficientnet_lite0",
        inner=(32, *[48] * 15),
    )


def make_run(folder, name, encoder, inner=()):
    torch.manual_seed(0)
    experiment = find_experiment(name)
    network = FusionUNetConfig(
        (encoder,),
        skips=True,
        widths=(16, 16, 8, 8),
        presence="image" if inner else "none",
        inner=inner,
    )
    model = network.build()
    for _ in range(20):
        model(torch.rand(4, 1, 64, 64))
    save_weights(folder, model)
    config = RunConfig(
        name, network, experiment.recipe, "a", SPLIT, "-", 64, 0, "none", ""
    )
    write_json(folder / CONFIG, config.to_json())
    return folder


@pytest.fixture(scope="module")
def cases(phantoms):
    return split_cases(load_cases(phantoms), SPLIT)["train"]


@pytest.fixture
def channels():
    """Samples (5000, 12) of channels that depend on each other, one of them always 0."""
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(5000, 12)) @ generator.normal(size=(12, 12))
    samples[:, 3] = 0
    return samples - samples.mean(0)


def left_over(samples, weight, kept):
    """Variance of `samples` @ `weight`.T that no weights on `kept` make, by NumPy's least squares."""
    made = samples @ weight.T
    found, *_ = np.linalg.lstsq(samples[:, kept], made, rcond=None)
    return float((made - samples[:, kept] @ found).var(0).sum())


def covariance_of(samples):
    covariance = torch.from_numpy(samples.T @ samples / len(samples))
    return covariance + 1e-9 * torch.eye(len(covariance))


def test_what_stays_is_fitted_as_numpys_least_squares_do(channels):
    weight, kept = np.random.default_rng(1).normal(size=(4, 12)), [0, 2, 5, 6, 9]
    fitted = refit(
        torch.from_numpy(weight), covariance_of(channels), torch.tensor(kept)
    ).numpy()
    expected, *_ = np.linalg.lstsq(channels[:, kept], channels @ weight.T, rcond=None)
    np.testing.assert_allclose(fitted, expected.T, rtol=1e-5, atol=1e-6)


def test_each_time_the_channel_goes_whose_loss_is_least(channels, monkeypatch):
    monkeypatch.setattr("sonoseg.deploy.slim.MULTIPLE", 1)
    weight = np.random.default_rng(1).normal(size=(4, 12))
    kept = list(range(12))
    for _ in range(8):  # one after the other, each tried by itself
        losses = {
            gone: left_over(channels, weight, [k for k in kept if k != gone])
            for gone in kept
        }
        kept.remove(min(losses, key=losses.get))
        budget = min(losses.values()) * (1 + 1e-4) + 1e-6
        # `choose` adds up what each step loses; the sum is what all of them together lose.
        assert (
            choose(torch.from_numpy(weight), covariance_of(channels), budget).tolist()
            == kept
        )
    assert 3 not in kept


def test_one_of_two_equal_channels_goes_and_the_other_does_its_work():
    samples = np.random.default_rng(0).normal(size=(1000, 8))
    samples = np.concatenate([samples, samples], 1)
    covariance, weight = covariance_of(samples), torch.rand(3, 16, dtype=torch.float64)
    kept = choose(weight, covariance, 1e-6)
    assert sorted(channel % 8 for channel in kept.tolist()) == list(range(8))
    fitted = refit(weight, covariance, kept)
    torch.testing.assert_close(
        fitted, (weight[:, :8] + weight[:, 8:])[:, kept % 8], rtol=1e-5, atol=1e-5
    )


def test_channels_stay_in_multiples_of_eight_and_never_fewer():
    covariance, weight = (
        torch.eye(40, dtype=torch.float64),
        torch.ones(1, 40, dtype=torch.float64),
    )
    assert [
        len(choose(weight, covariance, gone + 0.5)) for gone in (0, 7, 8, 20, 32, 100)
    ] == [
        40,
        40,
        32,
        24,
        8,
        8,
    ]


def test_every_block_loses_no_more_than_it_may(run, cases, tmp_path):
    share = 0.05
    model = slim_run(run, cases, share, tmp_path / "slim")
    slim, config = load_run(tmp_path / "slim")
    before, after = (
        [inside.width for inside in insides(network)] for network in (model, slim)
    )
    assert list(config.network.inner) == after
    assert sum(after) < 0.8 * sum(before)
    assert all(
        width % 8 == 0 and width <= other
        for width, other in zip(after, before, strict=True)
    )
    images = read_once(tuple(cases), config.size).inputs.float() / 255
    with torch.inference_mode():
        given, wanted = through_blocks(model, images)
        made = [
            answer(inside, image)
            for inside, image in zip(insides(slim), given, strict=True)
        ]
    for own, all_of_it in zip(made, wanted, strict=True):
        difference = own - all_of_it
        assert difference.mean((0, 2, 3)).abs().max() < 1e-3 * all_of_it.std()
        lost, there = (
            float(part.var((0, 2, 3), correction=0).sum())
            for part in (difference, all_of_it)
        )
        assert lost <= 1.01 * share * there


def through_blocks(model, images):
    """What enters each block, before its channels are made, and what leaves it."""
    given, left = [], []
    for inside in insides(model):
        inside.expand.register_forward_hook(
            lambda _, inputs, __: given.append(inputs[0])
        )
        inside.block.register_forward_hook(lambda _, __, output: left.append(output))
    model.encode(images)
    return given, left


def answer(inside, image):
    """What leaves a block; the first one's channels are made outside of it."""
    if inside.expand not in list(inside.block.modules()):
        image = inside.expanded(inside.expand(image))
    return inside.block(image)


def test_the_network_inside_outlines_alike_with_fewer_channels(cases, tmp_path):
    far = []
    for share in (1e-3, 0.3):
        model = slim_run(Path("default"), cases, share, tmp_path / str(share))
        slim, config = load_run(tmp_path / str(share))
        images = read_once(tuple(cases), config.size).inputs.float() / 255
        with torch.inference_mode():
            far.append(
                float((slim(images).sigmoid() - model(images).sigmoid()).abs().mean())
            )
        assert sum(config.network.inner) < sum(
            inside.width for inside in insides(model)
        )
    assert far[0] < 0.002 < far[1]


def test_the_command_writes_a_run_and_says_how_small_it_is(
    run, phantoms, tmp_path, capsys
):
    out = tmp_path / "slim"
    command = [
        "slim",
        str(run),
        "--data",
        str(phantoms),
        "--split",
        SPLIT,
        "--out",
        str(out),
    ]
    assert main(command) == 0
    told, (slim, config) = capsys.readouterr().out, load_run(out)
    assert f"{sum(p.numel() for p in slim.parameters()):,} of " in told
    assert "0.003 slimmer by " in config.start_from
    assert [parent["start_from"] for parent in config.lineage] == [""]
    first = (out / BEST).read_bytes()
    assert main(command) == 0
    assert (out / BEST).read_bytes() == first
    assert main([*command, "--also", str(saved_again(phantoms, tmp_path))]) == 2
    assert "validation or test images of" in capsys.readouterr().err
    assert main([*command, "--share", "0.1"]) == 2
    assert "holds a run with other settings: start_from" in capsys.readouterr().err
    assert (out / BEST).read_bytes() == first


def saved_again(data, tmp_path):
    """The images of a data set as JPEG and under other names."""
    for folder in ("images", "masks"):
        (tmp_path / "again" / folder).mkdir(parents=True)
    for path in (data / "images").iterdir():
        image = tmp_path / "again" / "images" / f"other_{path.stem}.jpg"
        Image.open(path).convert("L").save(image, quality=90)
    for path in (data / "masks").iterdir():
        shutil.copy(path, tmp_path / "again" / "masks" / f"other_{path.name}")
    return tmp_path / "again"


def test_a_slim_run_can_be_trained_on_as_narrow_as_it_is(
    run, cases, phantoms, tmp_path
):
    slim_run(run, cases, 0.05, tmp_path / "slim")
    _, before = load_run(tmp_path / "slim")
    options = [
        "--encoders",
        "tf_efficientnet_lite0",
        "--widths",
        "16",
        "16",
        "8",
        "8",
        "--size",
        "64",
        "--epochs",
        "1",
    ]
    for start in ("--start-from", "--encoder-weights"):
        where = [
            "--data",
            str(phantoms),
            "--split",
            SPLIT,
            "--out",
            str(tmp_path / start),
        ]
        assert (
            main(
                ["train", "sonoseg-1", *where, *options, start, str(tmp_path / "slim")]
            )
            == 0
        )
        model, config = load_run(tmp_path / start)
        assert config.network.inner == before.network.inner
        assert tuple(inside.width for inside in insides(model)) == config.network.inner


def test_other_encoders_in_the_place_of_a_slim_runs_are_as_wide_as_designed(
    run, cases, phantoms, tmp_path, capsys
):
    slim_run(run, cases, 0.05, tmp_path / "slim")
    where = [
        "--data",
        str(phantoms),
        "--split",
        SPLIT,
        "--out",
        str(tmp_path / "other"),
        "--size",
        "64",
    ]
    assert (
        main(["train", "sonoseg-1", *where, "--start-from", str(tmp_path / "slim")])
        == 2
    )
    assert "give a run of the same network" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("share", ["0", "1", "-0.1", "nan"])
def test_a_share_out_of_its_range_is_refused(run, phantoms, tmp_path, capsys, share):
    command = [
        "slim",
        str(run),
        "--data",
        str(phantoms),
        "--split",
        SPLIT,
        f"--share={share}",
    ]
    assert main([*command, "--out", str(tmp_path / "slim")]) == 2
    assert "is not between 0 and 1" in capsys.readouterr().err
    assert not (tmp_path / "slim").exists()


def test_a_network_without_such_blocks_is_refused(phantoms, tmp_path, capsys):
    run = tmp_path / "wide"
    run.mkdir()
    make_run(run, "model-1", "efficientnet_b0")
    command = [
        "slim",
        str(run),
        "--data",
        str(phantoms),
        "--split",
        SPLIT,
        "--out",
        str(tmp_path / "slim"),
    ]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert (
        "has no EfficientNet-Lite encoder, and only these can be slimmed" in told
        and len(told.splitlines()) == 1
    )
    assert not (tmp_path / "slim").exists()
