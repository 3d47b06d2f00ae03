"""Swin-UNet's blocks and weights against timm's own Swin-T, which is written otherwise."""

import pytest
import timm
import torch

from sonoseg.errors import InputError
from sonoseg.models.swin_unet import (
    TIMM_NAME,
    PatchExpand,
    SwinUNet,
    swin_blocks,
    to_first,
)


@pytest.fixture(scope="module")
def started():
    """timm's Swin-T with random weights, and a Swin-UNet that starts from them."""
    torch.manual_seed(0)
    theirs = timm.create_model(TIMM_NAME, num_classes=0, global_pool="").eval()
    for name, weight in theirs.named_parameters():
        if (
            "norm" in name or "table" in name or "bias" in name
        ):  # which start alike everywhere
            torch.nn.init.normal_(weight, 0.5, 0.1)
    network = SwinUNet().eval()
    network.load_timm(theirs.state_dict())
    return theirs, network


def test_weights_of_timm_go_into_encoder_and_decoder(started):
    theirs, network = (model.state_dict() for model in started)
    pairs = {
        "encoders.patch_embed.proj.weight": "patch_embed.proj.weight",
        "encoders.layers.2.downsample.reduction.weight": "layers.2.downsample.reduction.weight",
        "encoders.layers.3.blocks.1.attn.qkv.weight": "layers.3.blocks.1.attn.qkv.weight",
        "encoders.norm.bias": "norm.bias",
        "stages.0.blocks.1.mlp.0.weight": "layers.2.blocks.1.mlp.fc1.weight",
        "stages.1.blocks.0.attn.relative_position_bias_table": "layers.1.blocks.0.attn.relative_position_bias_table",
        "stages.2.blocks.1.mlp.3.bias": "layers.0.blocks.1.mlp.fc2.bias",
    }
    for own, source in pairs.items():
        assert torch.equal(network[own], theirs[source]), own


def test_every_scale_of_the_encoder_is_timms(started):
    theirs, network = started
    theirs.layers[2].blocks = theirs.layers[2].blocks[
        :2
    ]  # Swin-UNet takes two of the six
    image = torch.rand(1, 1, 224, 224)
    with torch.inference_mode():
        features, maps = network.encode(image)
        normal = network.normalize(image)
        expected, levels = theirs.forward_intermediates(normal)
        torch.testing.assert_close(features, to_first(expected), rtol=1e-3, atol=1e-4)
        merged = [theirs.patch_embed(normal).permute(0, 3, 1, 2)]
        for layer, level in zip(theirs.layers[1:3], levels, strict=False):
            merged.append(to_first(layer.downsample(level.permute(0, 2, 3, 1))))
        for own, other in zip(maps, merged, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4)


def test_a_shifted_window_sees_its_own_neighbours_only():
    """On 14 × 14, windows of 7 that are shifted by 3: no window joins the two edges of the map."""
    torch.manual_seed(0)
    block = swin_blocks(0)[1].eval()
    x = torch.randn(1, 14, 14, 96, requires_grad=True)
    block(x)[0, 0, 0].square().sum().backward()
    seen = x.grad[0].abs().sum(-1) > 1e-6
    assert seen[:3, :3].all()  # what the shift leaves of the corner's window
    assert seen.sum() == 9


def test_the_padding_of_a_map_that_no_windows_fill_changes_no_shape():
    x = torch.randn(2, 9, 16, 96)
    assert swin_blocks(0)(x).shape == x.shape


def test_expanding_puts_each_position_s_parts_beside_one_another():
    expand = PatchExpand(4, 2, 2)
    x = torch.randn(1, 3, 5, 4)
    parts = expand.linear(x).reshape(1, 3, 5, 2, 2, 2)
    out = expand(x)
    assert out.shape == (1, 6, 10, 2)
    torch.testing.assert_close(out[0, 3, 8], expand.norm(parts[0, 1, 4, 1, 0]))


def test_without_network_the_error_is_that_of_the_encoders(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        InputError, match=f"ImageNet weights of {TIMM_NAME}: cannot be downloaded"
    ):
        SwinUNet(pretrained=True)


def test_pretrained_asks_timm(monkeypatch, started):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: started[0])
    network = SwinUNet(pretrained=True)
    own, decoder = (
        part.state_dict()
        for part in (network.encoders.layers[0]["blocks"], network.stages[2].blocks)
    )
    assert all(torch.equal(own[name], decoder[name]) for name in own)
    assert torch.equal(
        own["0.attn.qkv.weight"],
        started[0].state_dict()["layers.0.blocks.0.attn.qkv.weight"],
    )
