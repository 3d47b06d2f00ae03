"""Grad-CAM against captum's, and on the networks and maps that trip it up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn

from sonoseg.errors import InputError
from sonoseg.explain.gradcam import grad_cam, run_with_grad_cams
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig


class Small(nn.Module):
    """Three convolutions; ReLU in place right behind the layers that are explained."""

    def __init__(self, bias: float = 0.0, no_grad: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(1, 6, 3, stride=4, padding=1)
        self.bottleneck = nn.Identity()
        self.stages = nn.ModuleList(
            [nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(5, 4, 3, padding=1)]
        )
        self.head = nn.Conv2d(4, 1, 1)
        self.bias, self.no_grad = bias, no_grad

    def forward(self, image: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.no_grad):
            x = self.encoder(image)
        x = F.relu(self.bottleneck(x), inplace=True)
        for stage in self.stages:
            x = F.relu(stage(F.interpolate(x, scale_factor=2.0)), inplace=True)
        return self.head(x) + self.bias

    def explain_layers(self) -> dict[str, nn.Module]:
        return {
            "bottleneck": self.bottleneck,
            "stage1": self.stages[0],
            "stage2": self.stages[1],
        }


def make_small(seed: int = 0, bias: float = 0.0, no_grad: bool = False) -> Small:
    torch.manual_seed(seed)
    return Small(bias, no_grad).eval()


def make_image(seed: int = 1, size: tuple[int, int] = (32, 48)) -> Tensor:
    return torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(seed))


def captum_map(model: nn.Module, module: nn.Module, image: Tensor) -> np.ndarray:
    """Captum's map with the same target, scaled to 0..1."""
    with torch.no_grad():
        predicted = model(image) > 0
    if not predicted.any():
        predicted = torch.ones_like(predicted)

    def target(batch: Tensor) -> Tensor:
        return (model(batch) * predicted).sum((1, 2, 3)).unsqueeze(1)

    heat = LayerGradCam(target, module).attribute(
        image, target=0, relu_attributions=True
    )
    heat = F.interpolate(
        heat, size=image.shape[2:], mode="bilinear", align_corners=False
    )[0, 0]
    return (heat / heat.max()).detach().numpy()


@pytest.fixture(scope="module", params=["none", "cbam", "nonlocal"])
def lively(request: pytest.FixtureRequest) -> FusionUNet:
    """The paper's network, untrained, its batch statistics measured and half of the pixels predicted."""
    torch.manual_seed(3)
    model = FusionUNet(FusionUNetConfig(("resnet18",), request.param))
    images = torch.rand(8, 1, 64, 96)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()(images)
        model.eval()
        model.head.weight.abs_()  # what a layer holds speaks for the lesion, not against it
        model.head.bias -= model(images[:1]).median()
    return model


@pytest.mark.parametrize(
    "layer", ["bottleneck", "stage1", "stage2", "stage3", "stage4"]
)
def test_the_papers_network_is_explained_as_captum_does(
    lively: FusionUNet, layer: str
) -> None:
    image = make_image(size=(64, 96))
    expected = captum_map(lively, lively.explain_layers()[layer], image)
    assert expected.max() == 1
    np.testing.assert_allclose(grad_cam(lively, image, layer), expected, atol=1e-4)


@pytest.mark.parametrize("bias", [0.36, -100.0])
def test_the_target_is_the_predicted_pixels_or_all_of_them_where_none_is_predicted(
    bias: float,
) -> None:
    # By hand: captum's hooks cannot bear the in-place ReLU behind the layer.
    model, image = make_small(bias=bias), make_image()
    heat = grad_cam(model, image, "bottleneck")
    features = model.encoder(image).detach().requires_grad_()
    x = F.relu(features)
    for stage in model.stages:
        x = F.relu(stage(F.interpolate(x, scale_factor=2.0)))
    logits = model.head(x) + bias
    (logits[logits > 0] if bias > 0 else logits).sum().backward()
    assert 0 < (logits > 0).float().mean() < 1 if bias > 0 else not (logits > 0).any()
    assert features.grad is not None
    coarse = (
        (features.grad.mean((2, 3), keepdim=True) * features)
        .sum(1, keepdim=True)
        .relu()
    )
    expected = F.interpolate(
        coarse, size=(32, 48), mode="bilinear", align_corners=False
    )[0, 0]
    np.testing.assert_allclose(
        heat, (expected / expected.max()).detach().numpy(), atol=1e-6
    )


def test_fused_is_the_mean_of_the_stages_maps() -> None:
    model, image = make_small(seed=5), make_image()
    mean = (grad_cam(model, image, "stage1") + grad_cam(model, image, "stage2")) / 2
    np.testing.assert_allclose(
        grad_cam(model, image, "fused"), mean / mean.max(), atol=1e-6
    )


@pytest.mark.parametrize("layer", ["bottleneck", "stage1", "stage2", "fused"])
def test_a_map_is_float32_of_the_images_size_from_0_to_1(layer: str) -> None:
    heat = grad_cam(make_small(seed=5), make_image(), layer)
    assert heat.shape == (32, 48) and heat.dtype == np.float32
    assert heat.min() >= 0 and heat.max() == 1


@pytest.mark.parametrize("layer", ["bottleneck", "stage1"])
def test_frozen_encoders_do_not_change_the_map(layer: str) -> None:
    image = make_image()
    free = grad_cam(make_small(), image, layer)
    frozen = make_small(no_grad=True)
    frozen.encoder.requires_grad_(False)
    np.testing.assert_array_equal(grad_cam(frozen, image, layer), free)
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    np.testing.assert_array_equal(grad_cam(frozen, image, layer), free)


def test_a_frozen_network_of_the_catalog_is_explained() -> None:
    torch.manual_seed(0)
    model = FusionUNet(FusionUNetConfig(("resnet18",), "cbam", frozen=True)).eval()
    heat = grad_cam(model, make_image(size=(64, 64)))
    assert heat.shape == (64, 64) and heat.max() == 1


def test_a_map_without_heat_stays_zero() -> None:
    model = make_small()
    nn.init.zeros_(model.head.weight)  # nothing before the head matters to the logits
    for layer in ("bottleneck", "stage2", "fused"):
        heat = grad_cam(model, make_image(), layer)
        assert not heat.any() and np.isfinite(heat).all()


def test_explaining_leaves_the_network_as_it_was() -> None:
    model, image = make_small(), make_image()
    with torch.no_grad():  # also when the caller has switched gradients off
        before = model(image)
        grad_cam(model, image, "fused")
        after = model(image)
    assert torch.equal(before, after)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_taken_off_when_the_network_fails() -> None:
    model = make_small()
    with pytest.raises(RuntimeError):
        grad_cam(model, torch.rand(1, 7, 32, 32))
    assert not any(module._forward_hooks for module in model.modules())


def test_an_unknown_layer_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        InputError, match=r"stage9: no such layer.*bottleneck, stage1, stage2, fused"
    ):
        grad_cam(make_small(), make_image(), "stage9")


def test_prediction_and_explanations_come_from_one_forward_pass() -> None:
    model, image, passes = make_small(), make_image(), []
    model.register_forward_hook(lambda *_: passes.append(True))
    logits, heats = run_with_grad_cams(model, image, ["bottleneck", "stage1", "fused"])
    assert len(passes) == 1
    assert not logits.requires_grad
    with torch.no_grad():
        assert torch.equal(logits, model(image))
    for layer, heat in heats.items():
        np.testing.assert_array_equal(heat, grad_cam(model, image, layer))
