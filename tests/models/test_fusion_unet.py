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
    assert [scale.shape[1:] for scale in skips] == [(144, 32, 32), (344, 16, 16), (680, 8, 8), (1392, 4, 4)]


def test_gray_and_the_same_gray_as_rgb_are_one():
    network = FusionUNet(FusionUNetConfig(LIGHT)).eval()
    gray = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(gray), network(gray.repeat(1, 3, 1, 1)))


def test_presence_holds_every_pixel_down():
    network = FusionUNet(FusionUNetConfig(LIGHT, presence=True)).eval()
    network.presence[1].bias.data.fill_(-50.0)
    with torch.no_grad():
        pixels, presence = network.parts(torch.rand(2, 1, 64, 64))
        logits = network(torch.rand(2, 1, 64, 64))
    assert presence.shape == (2, 1)
    assert pixels.max() > -40 > logits.max()


@pytest.mark.parametrize("skips", [False, True])
def test_presence_is_judged_from_what_the_pixels_point_at(skips):
    network = FusionUNet(FusionUNetConfig(LIGHT, skips=skips, presence=True)).eval()
    assert network.presence[1].in_features == (768 if skips else 512)
    features, maps = network.encode(torch.rand(2, 1, 64, 96))
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.fill_(100.0)  # everything is outlined
        everywhere = network.decode(features, maps, (64, 96))[1]
        seen = [features, maps[-1]] if skips else [features]
        means = torch.cat([each.mean((2, 3)) for each in seen], 1)
        torch.testing.assert_close(everywhere, network.presence(means), rtol=1e-3, atol=1e-3)
        network.head.bias.fill_(-100.0)  # nothing is
        torch.testing.assert_close(
            network.decode(features, maps, (64, 96))[1], network.presence[1].bias.expand(2, 1), rtol=0, atol=1e-6
        )


def test_the_mean_over_an_outline_counts_each_place_by_its_probability_and_moves_no_outline():
    logits = torch.full((1, 1, 32, 48), -1e3)
    logits[..., :16, :16] = 1e3  # one place of the coarser map
    logits[..., 16:, 16:32] = 0.0  # and one by half
    logits.requires_grad_()
    features = torch.rand(1, 5, 2, 3, requires_grad=True)
    found = FusionUNet.outlined(logits, features)
    torch.testing.assert_close(found, (features[..., 0, 0] + 0.5 * features[..., 1, 1]) / 1.501)
    found.sum().backward()
    assert logits.grad is None
    assert features.grad[0, 0].count_nonzero() == 2


def test_frozen_encoders_neither_learn_nor_drift():
    network = FusionUNet(FusionUNetConfig(LIGHT, frozen=True))  # without a call to train(), as Lightning takes it
    assert network.training
    before = {name: tensor.clone() for name, tensor in network.encoders.state_dict().items()}
    network(torch.rand(2, 1, 64, 64)).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.encoders.state_dict().items())
    assert all(parameter.grad is None for parameter in network.encoders.parameters())
    assert network.stages[0].conv[0].weight.grad is not None


def test_explained_layers_are_bottleneck_and_stages():
    layers = FusionUNet(FusionUNetConfig(LIGHT)).explain_layers()
    assert list(layers) == ["bottleneck", "stage1", "stage2", "stage3", "stage4"]
