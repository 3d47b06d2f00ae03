from dataclasses import replace

import pytest
import torch

from sonoseg.models.fusion_unet import Ensemble, FusionUNet, FusionUNetConfig
from sonoseg.models.narrow import insides

LIGHT = ("resnet18",)


@pytest.mark.parametrize("attention", ["none", "cbam", "nonlocal"])
@pytest.mark.parametrize("skips", [False, True])
def test_any_parts_give_one_logit_a_pixel(attention, skips):
    network = FusionUNet(FusionUNetConfig(LIGHT, attention, skips=skips)).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 1, 64, 96)).shape == (2, 1, 64, 96)


def test_all_three_encoders_are_joined_in_order():
    network = FusionUNet(FusionUNetConfig()).eval()
    with torch.no_grad():
        bottleneck, skips = network.encoders(torch.rand(1, 3, 64, 64))
    assert bottleneck.shape == (1, 512 + 1024 + 1280, 2, 2)
    assert [scale.shape[1:] for scale in skips] == [
        (144, 32, 32),
        (344, 16, 16),
        (680, 8, 8),
        (1392, 4, 4),
    ]


def test_gray_and_the_same_gray_as_rgb_are_one():
    network = FusionUNet(FusionUNetConfig(LIGHT)).eval()
    gray = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(gray), network(gray.repeat(1, 3, 1, 1)))


def test_presence_holds_every_pixel_down():
    network = FusionUNet(FusionUNetConfig(LIGHT, presence="image")).eval()
    network.presence[1].bias.data.fill_(-50.0)
    with torch.no_grad():
        pixels, presence = network.outputs(torch.rand(2, 1, 64, 64))
        logits = network(torch.rand(2, 1, 64, 64))
    assert presence.shape == (2, 1)
    assert pixels.max() > -40 > logits.max()


def test_frozen_encoders_neither_learn_nor_drift():
    network = FusionUNet(
        FusionUNetConfig(LIGHT, frozen=True)
    )  # without a call to train(), as Lightning takes it
    assert network.training
    before = {
        name: tensor.clone() for name, tensor in network.encoders.state_dict().items()
    }
    network(torch.rand(2, 1, 64, 64)).sum().backward()
    assert all(
        torch.equal(tensor, before[name])
        for name, tensor in network.encoders.state_dict().items()
    )
    assert all(parameter.grad is None for parameter in network.encoders.parameters())
    assert network.stages[0].conv[0].weight.grad is not None


def test_explained_layers_are_bottleneck_and_stages():
    layers = FusionUNet(FusionUNetConfig(LIGHT)).explain_layers()
    assert list(layers) == ["bottleneck", "stage1", "stage2", "stage3", "stage4"]


@pytest.fixture
def members(presence):
    """Three networks of one kind with different weights."""
    config = FusionUNetConfig(
        LIGHT, skips=True, widths=(16, 16, 8, 8), presence=presence
    )
    networks = []
    for seed in range(3):
        torch.manual_seed(seed)
        networks.append(config.build().eval())
    return networks


@pytest.mark.parametrize("presence", ["none", "image", "parts"])
def test_an_ensemble_returns_the_mean_of_its_members_logits(members):
    image = torch.rand(2, 1, 64, 96)
    with torch.no_grad():
        single = [member.outputs(image) for member in members]
        together = Ensemble(members).eval().outputs(image)
    pixels = torch.stack([output.pixels for output in single])
    torch.testing.assert_close(together.pixels, pixels.mean(0))
    assert pixels.std(0).max() > 0.01
    if members[0].presence is None:
        assert together.presence is None


@pytest.mark.parametrize("presence", ["image", "parts"])
def test_presence_heads_of_an_ensemble_judge_the_joint_outline(members):
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        coarse, judged = [], []
        for member in members:
            features, maps = member.encode(image)
            coarse.append(member.head(member.climb(features, maps)))
        joint = torch.stack(coarse).mean(0)
        for member in members:
            features, maps = member.encode(image)
            stage = member.stages[0](features, maps[-1])
            judged.append(member.presence(joint, features, maps[-1], stage))
        presence = Ensemble(members).eval().outputs(image).presence
    torch.testing.assert_close(presence, torch.stack(judged).mean(0))


@pytest.mark.parametrize("presence", ["image"])
def test_layers_of_an_ensemble_have_the_channels_of_all_members(members):
    ensemble = Ensemble(members).eval()
    seen = {}
    for name, layer in ensemble.explain_layers().items():
        layer.register_forward_hook(
            lambda _, __, output, name=name: seen.update({name: output.shape[1]})
        )
    with torch.no_grad():
        ensemble(torch.rand(1, 1, 64, 64))
    assert seen == {"bottleneck": 3 * 512, "stage1": 48, "stage2": 48, "stage3": 24, "stage4": 24}  # fmt: skip


def test_an_ensemble_is_built_from_its_config_and_takes_the_weights_of_another():
    config = FusionUNetConfig(
        ("tf_efficientnet_lite0",), skips=True, widths=(16, 16, 8, 8), members=2
    )
    one, other = config.build().eval(), config.build().eval()
    other.load_state_dict(one.state_dict())
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(other(image), one(image))
    blocks = len(insides(one)) // 2
    slim = replace(config, inner=(*[8] * blocks, *[16] * blocks)).build().eval()
    assert [inside.width for inside in insides(slim)] == [*[8] * blocks, *[16] * blocks]
    with torch.no_grad():
        assert slim(image).shape == image.shape
    with pytest.raises(ValueError):
        replace(config, inner=(8,) * blocks).build()
