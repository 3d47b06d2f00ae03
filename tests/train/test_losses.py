import pytest
import torch
from monai.losses import DiceLoss

from sonoseg.train.losses import LOSSES, presence_terms


@pytest.fixture
def batch():
    torch.manual_seed(0)
    truth = (torch.rand(4, 1, 9, 11) > 0.7).float()
    truth[0] = 0
    return torch.randn(4, 1, 9, 11), truth, torch.ones(4)


def test_dice_is_monais_over_the_batch(batch):
    expected = DiceLoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)(
        *batch[:2]
    )
    assert LOSSES["dice"](*batch) == pytest.approx(float(expected), abs=1e-6)


def test_dice_of_each_image_is_monais(batch):
    expected = DiceLoss(sigmoid=True, batch=False, smooth_nr=1.0, smooth_dr=1.0)(
        *batch[:2]
    )
    own = LOSSES["bce+image-dice"](*batch) - LOSSES["bce"](*batch)
    assert own == pytest.approx(float(expected), abs=1e-6)


def test_hybrid_is_the_sum(batch):
    assert LOSSES["bce+dice"](*batch) == pytest.approx(
        float(LOSSES["bce"](*batch) + LOSSES["dice"](*batch)), abs=1e-6
    )


def test_the_weighted_hybrid_is_the_weighted_sum(batch):
    expected = 0.4 * LOSSES["bce"](*batch) + 0.6 * LOSSES["dice"](*batch)
    assert LOSSES["0.4bce+0.6dice"](*batch) == pytest.approx(float(expected), abs=1e-6)


def test_bce_is_minus_the_mean_log_probability_of_the_truth(batch):
    logits, truth, _ = batch
    probability = torch.where(truth > 0, logits.sigmoid(), 1 - logits.sigmoid())
    assert LOSSES["bce"](*batch) == pytest.approx(
        float(-probability.log().mean()), abs=1e-5
    )


def test_dice_of_a_perfect_answer_is_0_and_of_an_empty_one_on_empty_too():
    truth = torch.zeros(2, 1, 8, 8)
    truth[0, 0, 2:5, 2:5] = 1
    assert LOSSES["dice"](200 * truth - 100, truth, torch.ones(2)) == pytest.approx(
        0, abs=1e-6
    )
    empty = torch.zeros_like(truth)
    assert LOSSES["dice"](empty - 100, empty, torch.ones(2)) == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_images_that_do_not_count_might_as_well_not_be_there(loss, batch):
    logits, truth, _ = batch
    some = LOSSES[loss](logits, truth, torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert some == pytest.approx(
        float(LOSSES[loss](logits[1::2], truth[1::2], torch.ones(2))), abs=1e-6
    )
    assert LOSSES[loss](logits, truth, torch.zeros(4)) == 0


def test_presence_is_wrong_where_a_lesion_is_doubted_and_where_a_false_part_is_believed():
    truth = torch.zeros(2, 1, 32, 32)
    truth[0, 0, 2:10, 2:10] = 1
    pixels = torch.where(truth > 0, 30.0, -30.0)
    pixels[0, 0, 16:, 16:] = (
        30.0  # a false part in the first image; nothing is drawn in the second
    )
    presence = torch.tensor(
        [[[[2.0, -7.0], [5.0, -3.0]]], [[[9.0, 9.0], [9.0, 9.0]]]]
    ).requires_grad_()
    terms = presence_terms(
        presence, pixels.requires_grad_(), truth, torch.tensor([1.0, 0.0])
    )
    assert terms.counts.tolist() == [1, 1]
    loss = terms.means.sum()
    expected = torch.nn.functional.softplus(
        torch.tensor(-2.0)
    ) + torch.nn.functional.softplus(torch.tensor(-3.0))
    assert float(loss.detach()) == pytest.approx(float(expected), abs=2e-3)
    loss.backward()
    assert presence.grad[0, 0, 0, 0] < 0 < presence.grad[0, 0, 1, 1]
    assert presence.grad[1].abs().max() == 0 and pixels.grad is None
