import pytest
import torch

from sonoseg.train import augment


@pytest.fixture
def batch():
    torch.manual_seed(0)
    mask = torch.zeros(32, 1, 64, 64)
    for number, picture in enumerate(mask):
        picture[0, 20:40, 5 + number // 2 : 20 + number // 2] = 1
    return 0.3 + 0.4 * torch.rand(32, 1, 64, 64), mask


@pytest.mark.parametrize(
    "change", augment.AUGMENTATIONS.values(), ids=augment.AUGMENTATIONS
)
def test_what_comes_out_is_still_an_image_and_a_mask(batch, change):
    image, mask = change(*batch)
    assert image.shape == mask.shape == (32, 1, 64, 64)
    assert image.min() >= 0
    assert image.max() <= 1
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert image.isfinite().all()


def test_the_seed_decides_everything(batch):
    views = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        views.append(augment.augment_ultrasound(*batch)[0])
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_image_and_mask_move_together(batch):
    _, mask = batch
    image, moved = augment.move(mask, mask, strength=1, crops=0.2)
    assert ((image > 0.5).float() - moved).abs().mean() < 1e-6
    assert not torch.equal(moved, mask)


def test_without_strength_and_crops_nothing_but_flips_is_left(batch):
    image, mask = batch
    moved, truth = augment.move(image, mask, strength=0, crops=0)
    kept = (moved - image).abs().amax((1, 2, 3)) < 1e-5
    flipped = (moved - image.flip(3)).abs().amax((1, 2, 3)) < 1e-5
    assert (kept ^ flipped).all()
    assert kept.any()
    assert flipped.any()
    assert torch.equal(truth[kept], mask[kept])


def test_a_crop_beside_the_lesion_holds_none_of_it(batch):
    _, mask = batch
    theta, possible = augment.lesion_free_crop(mask)
    grid = torch.nn.functional.affine_grid(theta, list(mask.shape), align_corners=False)
    crop = torch.nn.functional.grid_sample(mask, grid, align_corners=False)
    assert possible.all()
    assert crop.amax() == 0
    assert grid.abs().max() <= 1


def test_without_room_or_without_lesion_there_is_no_crop():
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, :, :, 10:60] = 1
    assert not augment.lesion_free_crop(masks)[1].any()


@pytest.mark.parametrize(
    "name", ["time_gain", "shadow", "speckle", "blur", "gamma", "marks", "cut_out"]
)
def test_each_change_touches_some_pictures_and_leaves_its_input_alone(batch, name):
    image = batch[0].clone()
    changed = getattr(augment, name)(image)
    touched = (changed != batch[0]).flatten(1).any(1)
    assert 0 < touched.sum() < 32
    assert torch.equal(image, batch[0])
