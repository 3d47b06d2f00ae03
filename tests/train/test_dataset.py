import numpy as np
import pytest
import torch
from PIL import Image

from sonoseg.data import load_cases
from sonoseg.errors import InputError
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.train.dataset import BatchOrder, InMemory, encode_once, read_once
from sonoseg.train.processes import Processes


def test_images_and_masks_are_held_at_training_size(phantoms):
    cases = load_cases(phantoms)
    held = InMemory(cases, 64)
    assert held.inputs.shape == held.masks.shape == (24, 1, 64, 64)
    assert held.inputs.dtype == held.masks.dtype == torch.uint8
    for case, mask in zip(cases, held.masks, strict=True):
        assert bool(mask.any()) == bool(case.read_mask().any())
        assert abs(mask.float().mean() - case.read_mask().mean()) < 0.01


@pytest.mark.parametrize(
    ("images", "sizes"), [(9, [4, 4]), (8, [4, 4]), (4, [4]), (3, [3])]
)
def test_a_batch_that_is_not_whole_is_left_out_unless_it_is_the_only_one(images, sizes):
    order = BatchOrder(images, 4, 0, Processes())
    batches = list(order.of_epoch(0))
    assert [len(rows) for rows in batches] == sizes
    assert len(order) == len(sizes)


def test_many_trainings_read_the_images_once(phantoms, monkeypatch):
    cases = tuple(load_cases(phantoms))
    assert read_once(cases, 32) is read_once(cases, 32)
    assert read_once(cases, 32) is not read_once(cases, 64)


def test_features_of_frozen_encoders_are_those_of_each_image(phantoms):
    model = FusionUNetConfig(("resnet18",), frozen=True).build().eval()
    images = InMemory(load_cases(phantoms), 32)
    features = encode_once(model, images, torch.device("cpu"), bfloat16=False)
    with torch.no_grad():
        expected = model.encode(images.inputs[20:21].float() / 255)[0]
    assert torch.allclose(features.inputs[20:21], expected, atol=1e-5)
    assert features.masks is images.masks
    assert not features.inputs.requires_grad


def test_a_mask_of_another_size_is_refused_by_name(tmp_path):
    for folder, shape in {"images": (40, 50), "masks": (40, 49)}.items():
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / folder / "a.png")
    with pytest.raises(
        InputError, match=r"a\.png: the mask is 49 × 40 pixels, its image is 50 × 40"
    ):
        InMemory(load_cases(tmp_path), 32)
