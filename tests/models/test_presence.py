"""The heads that judge what is drawn: the image as a whole, or each drawn part by itself."""

import pytest
import torch

from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.models.presence import outlined, spread

LIGHT = ("resnet18",)


@pytest.mark.parametrize("skips", [False, True])
def test_presence_is_judged_from_what_the_pixels_point_at(skips):
    network = FusionUNet(FusionUNetConfig(LIGHT, skips=skips, presence="image")).eval()
    assert network.presence[1].in_features == (768 if skips else 512)
    features, maps = network.encode(torch.rand(2, 1, 64, 96))
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.fill_(100.0)  # everything is outlined
        everywhere = network.decode(features, maps, (64, 96)).presence
        seen = [features, maps[-1]] if skips else [features]
        means = torch.cat([each.mean((2, 3)) for each in seen], 1)
        torch.testing.assert_close(
            everywhere, network.presence[1](means), rtol=1e-3, atol=1e-3
        )
        network.head.bias.fill_(-100.0)  # nothing is
        torch.testing.assert_close(
            network.decode(features, maps, (64, 96)).presence,
            network.presence[1].bias.expand(2, 1),
            rtol=0,
            atol=1e-6,
        )


def test_the_mean_over_an_outline_counts_each_place_by_its_probability_and_moves_no_outline():
    logits = torch.full((1, 1, 32, 48), -1e3)
    logits[..., :16, :16] = 1e3  # one place of the coarser map
    logits[..., 16:, 16:32] = 0.0  # and one by half
    logits.requires_grad_()
    features = torch.rand(1, 5, 2, 3, requires_grad=True)
    found = outlined(logits, features)
    torch.testing.assert_close(
        found, (features[..., 0, 0] + 0.5 * features[..., 1, 1]) / 1.501
    )
    found.sum().backward()
    assert logits.grad is None
    assert features.grad[0, 0].count_nonzero() == 2


def test_judged_parts_hold_every_pixel_down_and_leave_the_gradient_to_the_pixels():
    network = FusionUNet(FusionUNetConfig(LIGHT, presence="parts")).eval()
    network.presence.out.bias.data.fill_(-50.0)
    image = torch.rand(2, 1, 64, 64)
    pixels, presence = network.outputs(image)
    logits = network(image)
    assert presence.shape == (2, 1, 4, 4)
    assert pixels.max() > -40 > logits.max()
    own, held = (
        torch.autograd.grad(each.sum(), network.head.weight)[0]
        for each in (pixels, logits)
    )
    torch.testing.assert_close(held, own)


@pytest.mark.parametrize("skips", [False, True])
def test_the_head_of_parts_sees_the_deep_maps_and_moves_no_outline(skips):
    network = FusionUNet(FusionUNetConfig(LIGHT, skips=skips, presence="parts"))
    assert network.presence.hidden.in_channels == (512 + 256 if skips else 512) + 512
    network.outputs(torch.rand(2, 1, 64, 96)).presence.sum().backward()
    moved = {
        name for name, weight in network.named_parameters() if weight.grad is not None
    }
    assert moved == {
        "presence.hidden.weight",
        "presence.hidden.bias",
        "presence.out.weight",
        "presence.out.bias",
    }


def test_each_drawn_part_is_judged_by_its_own_mean():
    drawn = torch.zeros(1, 1, 12, 12)
    drawn[0, 0, 1:4, 1:4] = 1  # a part
    drawn[0, 0, 7:10, 5:11] = 1  # another, in two halves of different evidence
    evidence = torch.zeros(1, 1, 12, 12)
    evidence[0, 0, 1:4, 1:4] = -5
    evidence[0, 0, 7:10, 5:8], evidence[0, 0, 7:10, 8:11] = 1, 3
    judged = spread(evidence, drawn)[0, 0]
    torch.testing.assert_close(
        judged[1:4, 1:4], torch.full((3, 3), -5.0), atol=0.05, rtol=0
    )
    torch.testing.assert_close(
        judged[7:10, 5:11], torch.full((3, 6), 2.0), atol=0.6, rtol=0
    )
    assert judged[8, 5] > 1.4 and judged[8, 10] < 2.6
