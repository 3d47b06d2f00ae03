"""Views as other hospitals would have taken them: what they change, and what they must not."""

import pytest
import torch

from sonoseg.train import views


@pytest.fixture
def batch():
    """Eight smooth images, each with a lesion of another size whose pixels are dark, and none in the last."""
    torch.manual_seed(0)
    image = 0.5 + 0.1 * torch.nn.functional.interpolate(
        torch.rand(8, 1, 6, 6), size=(96, 96), mode="bilinear"
    )
    mask = torch.zeros(8, 1, 96, 96)
    for row in range(7):
        mask[row, 0, 30 : 36 + 4 * row, 40 : 46 + 5 * row] = 1
    return torch.where(mask > 0, 0.1 * torch.ones_like(image), image), mask


def test_lesions_are_shown_small_and_everywhere_and_masks_stay_on_them(batch):
    image, mask = batch
    torch.manual_seed(1)
    shares = []
    for _ in range(40):
        seen, drawn = views.roam(image, mask, free=0.0)
        assert seen.shape == image.shape and set(drawn.unique().tolist()) <= {0.0, 1.0}
        inside = seen[torch.nn.functional.avg_pool2d(drawn, 5, 1, 2) == 1]
        assert inside.numel() == 0 or inside.median() < 0.2
        shares += [float(share) for share in drawn.mean((1, 2, 3))[:7]]
    first = float(mask[0].mean())
    assert 0 < min(share for share in shares if share > 0) < first / 3
    assert sum(share == 0 for share in shares) < len(shares) / 2


def test_zooming_out_smooths_what_would_be_skipped():
    stripes = (torch.arange(96) % 2).float().view(1, 1, 1, 96).expand(1, 1, 96, 96)
    grid = torch.nn.functional.affine_grid(
        3 * torch.eye(2, 3)[None], [1, 1, 96, 96], align_corners=False
    )
    seen = views.sample(stripes, grid, torch.tensor([3.0]), "reflection")
    assert float(seen.std()) < 0.2 and float(seen.mean()) == pytest.approx(
        0.5, abs=0.05
    )


def test_a_crop_without_lesion_holds_none(batch):
    _, mask = batch
    for _ in range(20):
        theta, possible = views.free_crop(mask)
        assert possible[:4].all() and not possible[7]
        grid = torch.nn.functional.affine_grid(
            theta, list(mask.shape), align_corners=False
        )
        crops = torch.nn.functional.grid_sample(mask, grid, align_corners=False)
        assert float(crops[possible].max()) == 0
        assert (
            float(theta[possible][:, (0, 1), (0, 1)].min())
            >= views.SMALLEST_CROP - 1e-6
        )


def test_pasted_lesions_are_dark_in_image_and_mask_and_touch_no_other(batch):
    image, mask = batch
    torch.manual_seed(2)
    new = 0
    for _ in range(20):
        seen, drawn = views.paste(image, mask, chance=1.0)
        assert (drawn >= mask).all()
        added = drawn - mask
        deep = torch.nn.functional.avg_pool2d(added, 5, 1, 2) == 1
        new += int((added.sum((1, 2, 3)) > 0).sum())
        assert not deep.any() or float(seen[deep].median()) < 0.3
    assert new > 10


def test_gray_levels_come_from_another_image_and_keep_their_order(batch):
    image, _ = batch
    torch.manual_seed(3)
    seen = views.match_grays(image, chance=1.0)
    for before, after in zip(image.flatten(1), seen.flatten(1), strict=True):
        order = before.argsort()
        assert (after[order].diff() >= -1e-6).all()
    assert not torch.allclose(seen, image)


def test_outside_of_a_sector_there_is_neither_image_nor_lesion(batch):
    image, mask = batch
    torch.manual_seed(4)
    seen, drawn = views.sector(image, mask, chance=1.0)
    black = seen == 0
    assert 0.05 < float(black.float().mean()) < 0.8
    assert float(drawn[black].max()) == 0
    assert torch.equal(seen[~black], image[~black])
