import pytest
import torch

from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig

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
