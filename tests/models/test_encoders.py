import os
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save, save_file

from sonoseg.errors import InputError
from sonoseg.models.encoders import (
    ENCODERS,
    Encoders,
    build_encoder,
    load_matching,
    load_tensors,
)
from sonoseg.models.fusion_unet import FusionUNetConfig


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet18", 11_176_512), ("densenet121", 6_953_856)]
)
def test_encoders_have_no_classifier(name, parameters):
    with torch.device("meta"):
        assert (
            sum(weight.numel() for weight in build_encoder(name, False).parameters())
            == parameters
        )


@pytest.mark.parametrize("name", ENCODERS)
def test_channels_are_those_of_timms_feature_maps(name):
    final, skips = Encoders((name,), frozen=False, pretrained=False).eval()(
        torch.rand(1, 3, 64, 64)
    )
    assert (*(scale.shape[1] for scale in skips), final.shape[1]) == ENCODERS[name]


@pytest.mark.parametrize("name", ENCODERS)
def test_each_encoder_sees_the_grey_levels_that_its_imagenet_weights_were_trained_on(
    name,
):
    encoders = Encoders((name,), frozen=False, pretrained=False).eval()
    settings = timm.data.resolve_model_data_config(timm.create_model(name))
    image = torch.rand(1, 3, 64, 64)
    mean, std = (
        torch.tensor(settings[key]).view(1, 3, 1, 1) for key in ("mean", "std")
    )
    expected = encoders.parts[name]((image - mean) / std)
    torch.testing.assert_close(encoders(image)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_light_encoder_is_timms_up_to_its_last_convolution():
    name = "tf_efficientnet_lite0"
    own, plain = (
        build_encoder(name, pretrained=False).eval(),
        timm.create_model(name).eval(),
    )
    assert not plain.load_state_dict(own.state_dict(), strict=False).unexpected_keys
    image = torch.rand(1, 3, 64, 64)
    *_, last = plain.forward_intermediates(image, intermediates_only=True)
    torch.testing.assert_close(own(image), last, rtol=1e-4, atol=1e-4)


def test_without_network_the_error_names_the_choices_in_one_line(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError) as caught:
        build_encoder("resnet18", True)
    (line,) = str(caught.value).splitlines()
    assert "--encoder-weights none" in line
    assert ".safetensors" in line


def test_weights_in_a_folder_whose_name_is_not_utf8_are_loaded(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (tmp_path / "x").write_bytes(save({"a": torch.ones(2)}))
    (tmp_path / "x").rename(folder / "best.safetensors")
    assert torch.equal(load_tensors(folder)["a"], torch.ones(2))


def test_weights_of_a_file_are_loaded_by_name(tmp_path):
    source, target = (
        Encoders(("resnet18",), frozen=False, pretrained=False) for _ in range(2)
    )
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    assert load_matching(target, tmp_path / "weights.safetensors") == len(
        source.state_dict()
    )
    assert all(
        torch.equal(a, b)
        for a, b in zip(source.parameters(), target.parameters(), strict=True)
    )


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(
        {"parts.resnet18.conv1.weight": torch.zeros(3, 3)},
        tmp_path / "other.safetensors",
    )
    with pytest.raises(InputError, match="has no weights that fit"):
        load_matching(
            Encoders(("resnet18",), False, False), tmp_path / "other.safetensors"
        )


def test_a_presence_head_that_does_not_fit_starts_at_random_and_that_is_said(
    tmp_path, caplog
):
    parts = FusionUNetConfig(("resnet18",), skips=True, widths=(32, 16, 16, 8))
    source, target = parts.build(), replace(parts, presence="image").build()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    begun = target.presence[1].weight.clone()
    assert load_matching(target, tmp_path / "weights.safetensors") == len(
        source.state_dict()
    )
    assert torch.equal(target.presence[1].weight, begun)
    assert torch.equal(target.head.weight, source.head.weight)
    assert "presence.1.weight, presence.1.bias start at random" in caplog.text


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 100])
def test_a_file_that_is_no_safetensors_is_refused_and_never_unpickled(
    tmp_path, content
):
    (tmp_path / "evil.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_tensors(tmp_path / "evil.safetensors")


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(InputError, match=r"best\.safetensors: no such weights"):
        load_tensors(tmp_path)
