import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import sonoseg
from sonoseg.data.load import load_cases
from sonoseg.deploy.bundle_card import describe_recipe
from sonoseg.deploy.calibration import load_calibration
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.models.catalog import find_experiment
from sonoseg.train.run_folder import (
    BEST,
    CALIBRATION,
    CONFIG,
    SHIPPED,
    find_run,
    load_run,
    save_weights,
)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_run_inside_is_the_bundle_inside(phantoms, name):
    bundle = sonoseg.load(name)
    predictor = RunPredictor(name)
    assert load_calibration(find_run(name)) is not None
    assert predictor.size == bundle.card.size
    images = [case.read_image() for case in load_cases(phantoms)[:6]]
    own = np.stack(predictor.probability(images))
    assert own.max() > 0.5
    theirs = np.stack(list(bundle.probability(images)))
    np.testing.assert_allclose(
        own, theirs, atol=1e-2
    )  # folded, the weights are rounded to 16 bits once more


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_of_the_bundle_inside_says_how_its_run_was_trained(name):
    folder = find_run(name)
    described = describe_recipe(load_run(folder)[1], load_calibration(folder))
    assert sonoseg.load(name).card.recipe == described
    assert (folder / CALIBRATION).exists()


def test_a_path_is_no_shipped_run(tmp_path):
    assert find_run(tmp_path) == tmp_path
    assert set(SHIPPED) == {"default", "accurate"}


def test_half_is_half_the_size_and_nearly_the_same(tmp_path):
    torch.manual_seed(0)
    model = find_experiment("sonoseg-1").build()
    for name, half in {"whole": False, "half": True}.items():
        (tmp_path / name).mkdir()
        save_weights(tmp_path / name, model, half)
    whole, half = (load_file(tmp_path / name / BEST) for name in ("whole", "half"))
    sizes = [
        sum(value.nbytes for value in tensors.values()) for tensors in (whole, half)
    ]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.05)
    for name, value in whole.items():
        assert value.ndim > 1 or half[name].dtype == value.dtype
        np.testing.assert_allclose(
            half[name].astype(value.dtype), value, rtol=1e-3, atol=1e-7
        )


def test_who_may_read_a_config_may_read_the_weights(tmp_path):
    (tmp_path / CONFIG).touch()
    save_weights(tmp_path, find_experiment("sonoseg-1").build())
    assert (tmp_path / BEST).stat().st_mode == (tmp_path / CONFIG).stat().st_mode
