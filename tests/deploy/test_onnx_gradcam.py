"""The bundle's Grad-CAM, which needs no PyTorch, against the lab's, which differentiates."""

from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sonoseg
from sonoseg.deploy.bundle_card import make_card
from sonoseg.deploy.export import TOLERANCE, export_bundle
from sonoseg.deploy.onnx_gradcam import WrittenOut, _interpolate, _pool, trace_gradcam
from sonoseg.explain.gradcam import grad_cam
from sonoseg.models import fusion_unet, swin_unet
from sonoseg.models.attention import NonLocal, Transformer
from sonoseg.models.catalog import Recipe, find_experiment
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.rivals import adu_net, ddra_net, dpnet, mrfe_cnn
from sonoseg.models.swin_unet import swin_blocks
from sonoseg.reader.bundle import Bundle
from sonoseg.train.run_folder import RunConfig, load_run

pytestmark = pytest.mark.usefixtures("shallow")


def settled(model):
    """`model` with batch statistics that are not the first ones."""
    with torch.no_grad():
        for _ in range(5):
            model(torch.rand(4, 1, 64, 64))
    return model.eval()


def exported(network, path, change=lambda model: None):
    """A network with settled batch statistics, and its bundle."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = network.build(0.3, False)
    change(model)
    settled(model)
    config = RunConfig(
        "trial", network, Recipe(), "phantoms", "grouped", "-", 64, 0, "none", ""
    )
    export_bundle(model, make_card(config), path)
    return model, Bundle.read(path)


def test_probability_and_heat_are_pytorchs_with_all_that_a_decoder_may_have(
    tmp_path, monkeypatch
):
    """Skips, double convolutions, presence of parts, three kinds of attention, an ensemble: one export does for all.

    The encoder is small; a real one is in `bundles`.
    """

    def put_others_in(model):
        first, second = model.stages[0].parts
        first.attention, second.attention = Transformer(32), NonLocal(32)

    monkeypatch.setattr(fusion_unet, "Encoders", FewMaps)
    network = FusionUNetConfig(
        attention="cbam",
        skips=True,
        widths=(32, 8),
        convolution="double",
        presence="parts",
        members=2,
    )
    check_agreement(*exported(network, tmp_path / "b.onnx", put_others_in))


def test_so_are_those_of_our_own_network(run, bundles):
    """Which has a presence head for the whole image."""
    model, _ = load_run(run)
    check_agreement(model, Bundle.read(bundles / "whole.onnx"))


class FewMaps(nn.Module):
    """In place of DDRA-Net's encoder and our own: maps at strides 2, 4 and 8."""

    channels = (4, 8, 16)

    def __init__(self, *_, **__):
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Conv2d(*pair, 2, stride=2) for pair in pairwise((1, *self.channels))
        )

    def forward(self, image):
        *maps, final = accumulate(self.parts, lambda x, part: part(x), initial=image)
        return final, maps[1:]


SMALL = {
    "mrfe-cnn": (mrfe_cnn, {}),
    "swin-unet": (
        swin_unet,
        {"HEADS": (3, 6), "swin_blocks": lambda level: swin_blocks(level)[1:]},
    ),
    "adu-net": (adu_net, {"WIDTHS": (8, 16)}),
    "ddra-net": (ddra_net, {"Encoders": FewMaps, "WIDTH": 32}),
    "dpnet": (dpnet, {"WIDTHS": (8, 16), "REDUCTIONS": (4, 1), "HEADS": (1, 2)}),
}
"""The same parts, but fewer of them: the exporter takes its time with each."""


@pytest.fixture(params=SMALL)
def small_rival(request, monkeypatch):
    """The configuration of a rival whose modules have small sizes."""
    module, sizes = SMALL[request.param]
    for constant, value in sizes.items():
        monkeypatch.setattr(module, constant, value)
    return find_experiment(request.param).network


def test_a_rivals_traced_heat_is_pytorchs(small_rival):
    """Of every rival; the ONNX exporter, which takes most of an export's time, sees only some of them below."""
    torch.manual_seed(0)
    model = settled(small_rival.build(0.0, False)).requires_grad_(False)
    images = torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        features, maps = model.encode(images)
        heat = trace_gradcam(model, (64, 64), features[:2], [each[:2] for each in maps])
        found = heat(features, *maps).numpy()
    for image, one in zip(images, found, strict=True):
        np.testing.assert_allclose(one[0], grad_cam(model, image[None]), atol=1e-3)


@pytest.mark.parametrize(
    "small_rival", ["swin-unet", "mrfe-cnn", "adu-net", "dpnet"], indirect=True
)
def test_a_rivals_bundle_answers_as_pytorch_does(small_rival, tmp_path, monkeypatch):
    """Windows, a histogram and every kind of attention; what DDRA-Net has, DPNet and our own have as well.

    Shifted windows are exported once, in the encoder: their mask is many nodes of the graph.
    """
    monkeypatch.setattr(
        swin_unet, "swin_blocks", lambda level: swin_blocks(level)[level : level + 1]
    )
    check_agreement(*exported(small_rival, tmp_path / "b.onnx"))


def check_agreement(model, bundle):
    """Probability and heat of the bundle are the network's."""
    for count in (1, 3):
        batch = np.random.default_rng(count).random((count, 1, 64, 64), np.float32)
        answer = bundle.run(batch, explain=True)
        with torch.no_grad():
            expected = model(torch.from_numpy(batch)).sigmoid().numpy()
        np.testing.assert_allclose(answer.probability, expected, atol=TOLERANCE)
        for image, heat in zip(batch, answer.heat, strict=True):
            np.testing.assert_allclose(
                heat[0], grad_cam(model, torch.from_numpy(image[None])), atol=1e-3
            )


def test_it_is_computed_only_when_asked_for_and_at_the_images_size(bundles):
    bundle = Bundle.read(bundles / "whole.onnx")
    assert bundle.run(np.zeros((1, 1, 64, 64), np.float32)).heat is None
    empty = bundle.session.run(
        ["heat"], {"image": np.zeros((1, 1, 64, 64), np.float32)}
    )[0]
    assert empty.shape == (0, 1, 64, 64)
    image = np.random.default_rng(0).integers(0, 255, (90, 130), dtype=np.uint8)
    heat = sonoseg.load(bundles / "whole.onnx").explain(image)
    assert heat.shape == image.shape and heat.dtype == np.float32
    assert 0 <= heat.min() <= heat.max() <= 1


@pytest.mark.parametrize(
    ("old", "new"), [((6, 6), (12, 12)), ((5, 7), (64, 33)), ((8, 8), (3, 8))]
)
def test_interpolation_by_matrices_is_pytorchs(old, new):
    image = torch.rand(2, 3, *old)
    expected = F.interpolate(image, size=new, mode="bilinear", align_corners=False)
    torch.testing.assert_close(
        _interpolate(image, size=new), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("old", "new"), [((7, 7), 6), ((2, 3), 6), ((7, 9), 2), ((5, 6), 1)]
)
def test_pooling_by_matrices_is_pytorchs(old, new):
    image = torch.rand(2, 3, *old)
    torch.testing.assert_close(
        _pool(image, new), F.adaptive_avg_pool2d(image, new), atol=1e-6, rtol=0
    )


def test_only_while_it_is_entered_operations_are_written_out():
    image = torch.rand(1, 2, 4, 4)
    with WrittenOut(), pytest.raises(NotImplementedError, match="bilinear"):
        F.interpolate(image, scale_factor=2.0, mode="nearest")
    with WrittenOut():
        written_out = F.interpolate(image, scale_factor=2.0, mode="bilinear")
    own = F.interpolate(image, scale_factor=2.0, mode="bilinear")
    torch.testing.assert_close(written_out, own, atol=1e-6, rtol=0)
    assert F.interpolate(image, scale_factor=2.0, mode="nearest").shape == (1, 2, 8, 8)
