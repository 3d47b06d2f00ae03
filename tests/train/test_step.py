import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sonoseg.core.counts import count, stack
from sonoseg.core.metrics import image_scores
from sonoseg.models.network import Output, SegmentationNetwork
from sonoseg.train.losses import LOSSES
from sonoseg.train.step import Objective, monitored_dice


class Known(SegmentationNetwork):
    """Answers what it was given, whatever the image."""

    def __init__(self, pixels, presence=None):
        super().__init__()
        self.pixels = nn.Parameter(pixels)
        self.presence = None if presence is None else nn.Parameter(presence)

    def outputs(self, image):
        return Output(self.pixels, self.presence)


@pytest.fixture
def truth():
    """Of three images, the second without a lesion."""
    truth = torch.zeros(3, 1, 16, 16)
    truth[0, 0, 2:9, 3:9] = 1
    truth[2, 0, 5:14, 5:12] = 1
    return truth


@pytest.fixture
def pixels():
    return torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def loss_of(model, truth, loss="bce+image-dice"):
    objective = Objective(model, loss, bfloat16=False, is_encoded=False)
    value, terms, logits = objective(torch.rand_like(truth), truth, truth)
    assert float(terms.means.sum()) == pytest.approx(float(value.detach()))
    return value, logits


@pytest.mark.parametrize("loss", LOSSES)
def test_without_a_presence_head_the_loss_is_that_of_all_pixels(loss, pixels, truth):
    value, logits = loss_of(Known(pixels), truth, loss)
    assert float(value.detach()) == pytest.approx(
        float(LOSSES[loss](pixels, truth, torch.ones(3)))
    )
    assert torch.equal(logits, pixels)


@pytest.mark.parametrize("loss", LOSSES)
def test_with_one_a_normal_image_teaches_it_alone(loss, pixels, truth):
    presence = torch.tensor([[2.0], [1.0], [-3.0]])
    model = Known(pixels, presence)
    value, logits = loss_of(model, truth, loss)
    rest = 0.3 * F.binary_cross_entropy_with_logits(
        presence, torch.tensor([[1.0], [0.0], [1.0]])
    )
    assert float(value.detach()) == pytest.approx(
        float(LOSSES[loss](pixels[[0, 2]], truth[[0, 2]], torch.ones(2)) + rest)
    )
    value.backward()
    assert (
        model.pixels.grad[1].abs().max() == 0
        and model.pixels.grad[[0, 2]].abs().sum() > 0
    )
    assert model.presence.grad[1] > 0 and model.presence.grad[2] < 0
    assert logits[2].max() <= -3


def test_a_batch_of_normal_images_still_gives_every_weight_a_gradient(pixels, truth):
    """Where several processes share the work they wait for each other's."""
    model = Known(pixels, torch.zeros(3, 1))
    value, _ = loss_of(model, torch.zeros_like(truth))
    value.backward()
    assert float(value.detach()) == pytest.approx(0.3 * 0.6931, abs=1e-4)
    assert model.pixels.grad.abs().max() == 0 and model.presence.grad.abs().min() > 0


def test_the_dice_of_a_training_equals_the_convention_paper(pixels, truth):
    predicted = (pixels > 0).numpy()[:, 0]
    predicted[1] = False  # nothing found on the image without a lesion
    logits = torch.from_numpy(predicted)[:, None].float() - 0.5
    masks = truth.numpy()[:, 0] > 0
    pairs = zip(predicted, masks, strict=True)
    counts = stack(count(found, mask) for found, mask in pairs)
    expected = image_scores(counts, "paper")["dice"].mean()
    assert float(monitored_dice(logits, truth)) == pytest.approx(expected)
