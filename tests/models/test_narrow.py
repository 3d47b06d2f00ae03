import pytest
import torch

from sonoseg.models.encoders import Encoders
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.narrow import insides, narrow

WIDTHS = (32, 96, *[144] * 3, *[288] * 3, *[528] * 4, *[720] * 4, *[1248] * 5)
"""EfficientNet-Lite2's, six times the channels that enter each block but the first (Tan and Le 2019)."""


@pytest.fixture
def lite():
    torch.manual_seed(0)
    return Encoders(("tf_efficientnet_lite2",), frozen=False, pretrained=False).eval()


def test_every_block_of_a_light_encoder_has_its_channels_inside(lite):
    assert tuple(inside.width for inside in insides(lite)) == WIDTHS
    assert tuple(len(inside.depthwise.weight) for inside in insides(lite)) == WIDTHS


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnet_b0"])
def test_other_encoders_have_none_that_nothing_else_sees(name):
    assert insides(Encoders((name,), frozen=False, pretrained=False)) == []


def test_channels_that_nothing_is_made_of_may_go_without_any_change(lite):
    image, blocks = torch.rand(2, 1, 64, 64), insides(lite)
    for inside in blocks:
        with torch.no_grad():
            inside.project.weight[:, ::3] = 0
    features, maps = lite(image)
    for inside in blocks:
        inside.keep(
            torch.tensor([channel for channel in range(inside.width) if channel % 3])
        )
    fewer, narrower = lite(image)
    torch.testing.assert_close(fewer, features, rtol=1e-4, atol=1e-5)
    for one, other in zip(narrower, maps, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert all(inside.expand.weight.shape[0] == inside.width for inside in blocks)


def test_frozen_weights_stay_frozen():
    encoders = Encoders(("tf_efficientnet_lite0",), frozen=True, pretrained=False)
    narrow(encoders, [inside.width // 2 for inside in insides(encoders)])
    assert not any(weight.requires_grad for weight in encoders.parameters())


def test_a_network_is_built_as_narrow_as_its_config_says_and_can_learn():
    widths = tuple(8 * (1 + number % 3) for number in range(len(WIDTHS)))
    config = FusionUNetConfig(
        ("tf_efficientnet_lite2",), skips=True, widths=(16, 16, 8, 8), inner=widths
    )
    model = config.build()
    assert tuple(inside.width for inside in insides(model)) == widths
    model.train()(torch.rand(2, 1, 64, 64)).mean().backward()
    assert all(weight.grad is not None for weight in model.encoders.parameters())
    other = config.build()
    other.load_state_dict(model.state_dict())
