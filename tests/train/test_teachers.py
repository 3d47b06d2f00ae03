"""Teachers: what networks of other sizes say, mixed with the mask."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from sonoseg.errors import InputError
from sonoseg.models.network import Output
from sonoseg.train import teachers
from sonoseg.train.run_folder import load_run
from sonoseg.train.teachers import Teachers


@pytest.fixture
def image():
    return torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask(image):
    return (image > 0.5).float()


def test_without_teachers_the_masks_are_the_truth(image, mask):
    assert Teachers().truth(image, mask) is mask


def test_half_is_the_masks_and_half_the_teachers_mean(image, mask, monkeypatch):
    """Two teachers: the network inside, and one whose pixels are sure of nothing."""
    inside, config = load_run("default")
    unsure, _ = load_run("default")
    monkeypatch.setattr(
        unsure, "outputs", lambda image: Output(torch.zeros_like(image))
    )
    runs = {
        "a": (inside, replace(config, size=64)),
        "b": (unsure, replace(config, size=128)),
    }
    monkeypatch.setattr(teachers, "load_run", runs.__getitem__)
    truth = Teachers(["a", "b"]).truth(image, mask)
    square = F.interpolate(image, size=(64, 64), mode="bilinear", antialias=True)
    with torch.no_grad():
        told = F.interpolate(
            inside.outputs(square).pixels.sigmoid(),
            size=(64, 96),
            mode="bilinear",
            antialias=True,
        )
    torch.testing.assert_close(truth, mask / 2 + told / 4 + 0.125)
    assert not truth.requires_grad
    assert not any(weight.requires_grad for weight in inside.parameters())


def test_a_teacher_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="not the config of a sonoseg run"):
        Teachers([tmp_path])
