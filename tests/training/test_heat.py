"""The bundle's Grad-CAM, which needs no PyTorch, against the lab's, which differentiates."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import sonoseg
from sonoseg.explain.gradcam import grad_cam
from sonoseg.models.catalog import Recipe
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.reader.bundle import Bundle
from sonoseg.training.export import export_bundle, make_card
from sonoseg.training.heat import _interpolate
from sonoseg.training.run import RunConfig

OPTIONS = SimpleNamespace(name=None, scores=None, threshold=0.5, min_lesion_fraction=0.0, out="x.onnx")


def exported(network, path):
    """A network with settled batch statistics, and its bundle."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = FusionUNet(network)
    with torch.no_grad():
        for _ in range(5):
            model(torch.rand(4, 1, 64, 64))
    model.eval()
    config = RunConfig("trial", network, Recipe(), "phantoms", "grouped", "-", 64, 0, "none", "")
    export_bundle(model, make_card(config, OPTIONS), path)
    return model, Bundle.read(path)


@pytest.mark.parametrize(
    "network",
    [
        FusionUNetConfig(("resnet18",), "cbam"),
        FusionUNetConfig(("resnet18",), "nonlocal", widths=(32, 16, 16, 8)),
        FusionUNetConfig(
            ("tf_efficientnet_lite0",), skips=True, widths=(32, 16, 16, 8), convolution="double", presence=True
        ),
        FusionUNetConfig(("resnet18", "efficientnet_b0"), skips=True, presence=True),
    ],
    ids=lambda network: "+".join((*network.encoders, network.attention, network.convolution)),
)
def test_the_map_is_the_labs(tmp_path, network):
    model, bundle = exported(network, tmp_path / "b.onnx")
    batch = np.random.default_rng(0).random((3, 1, 64, 64), np.float32)
    found = bundle.run(batch, explain=True).heat
    assert found.shape == batch.shape
    for image, heat in zip(batch, found, strict=True):
        np.testing.assert_allclose(heat[0], grad_cam(model, torch.from_numpy(image[None])), atol=1e-3)


def test_it_is_computed_only_when_asked_for_and_at_the_images_size(tmp_path):
    _, bundle = exported(FusionUNetConfig(("resnet18",)), tmp_path / "b.onnx")
    assert bundle.run(np.zeros((1, 1, 64, 64), np.float32)).heat is None
    empty = bundle.session.run(["heat"], {"image": np.zeros((1, 1, 64, 64), np.float32)})[0]
    assert empty.shape == (0,)
    image = np.random.default_rng(0).integers(0, 255, (90, 130), dtype=np.uint8)
    heat = sonoseg.load(tmp_path / "b.onnx").explain(image)
    assert heat.shape == image.shape and heat.dtype == np.float32
    assert 0 <= heat.min() <= heat.max() <= 1


@pytest.mark.parametrize(("old", "new"), [((6, 6), (12, 12)), ((5, 7), (64, 33)), ((8, 8), (3, 8))])
def test_interpolation_by_matrices_is_pytorchs(old, new):
    image = torch.rand(2, 3, *old)
    expected = F.interpolate(image, size=new, mode="bilinear", align_corners=False)
    torch.testing.assert_close(_interpolate(image, size=new), expected, atol=1e-5, rtol=0)
