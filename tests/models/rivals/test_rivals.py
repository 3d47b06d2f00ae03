"""What holds for each of the five networks that the paper is compared with."""

import pytest
import torch

from sonoseg.explain.gradcam import grad_cam
from sonoseg.models.catalog import RIVALS, count_parameters, find_experiment

NAMES = [rival.name for rival in RIVALS]
COUNTS = {
    "swin-unet": 27_168_132,
    "mrfe-cnn": 228_577,
    "adu-net": 31_584_354,
    "ddra-net": 41_317_641,
    "dpnet": 11_899_098,
}


@pytest.fixture(scope="module", params=NAMES)
def network(request):
    """With settled batch statistics, in evaluation mode."""
    torch.manual_seed(0)
    model = find_experiment(request.param).build()
    with torch.no_grad():
        model(torch.rand(4, 1, 64, 64))
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_the_count_is_that_of_the_construction_and_all_of_it_learns(name):
    with torch.device("meta"):
        assert count_parameters(find_experiment(name).build()) == (
            COUNTS[name],
            COUNTS[name],
        )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "swin-unet"])
def test_a_reconstruction_says_so(name):
    experiment = find_experiment(name)
    with torch.device("meta"):
        assert "reconstruction" in type(experiment.build()).__doc__
    assert experiment.note.startswith("reconstruction: ")


def test_any_size_gives_one_logit_a_pixel_and_maps_from_the_finest_down(network):
    with torch.inference_mode():
        for size in ((64, 64), (96, 64)):
            image = torch.rand(2, 1, *size)
            features, maps = network.encode(image)
            output = network.decode(features, maps, size)
            assert output.pixels.shape == (2, 1, *size)
            assert output.presence is None
            areas = [scale.shape[2] * scale.shape[3] for scale in (*maps, features)]
            assert areas == sorted(areas, reverse=True) and maps


def test_gray_and_the_same_gray_as_rgb_are_one(network):
    gray = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(
            network(gray), network(gray.repeat(1, 3, 1, 1)), rtol=1e-4, atol=1e-5
        )


def test_every_layer_can_be_explained(network):
    assert len(network.explain_layers()) > 2
    for layer in ("bottleneck", "fused"):  # which looks at all stages
        heat = grad_cam(network, torch.rand(1, 1, 64, 64), layer)
        assert heat.shape == (64, 64)
        assert 0 <= heat.min() <= heat.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_two_images_by_heart(name):
    torch.manual_seed(0)
    model = find_experiment(name).build(dropout=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    image = 0.5 * torch.rand(2, 1, 64, 64)
    truth = torch.zeros_like(image)
    truth[0, :, 10:30, 16:40] = truth[1, :, 30:50, 24:56] = 1
    losses = []
    for _ in range(4):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            model(image + 0.4 * truth), truth
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(weight.grad is not None for weight in model.parameters())
    assert min(losses[1:]) < 0.9 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_dropout_has_one_place_in_the_decoder(name):
    with torch.device("meta"):
        model = find_experiment(name).build(dropout=0.45)
    rates = [
        module.p
        for module in model.modules()
        if isinstance(module, torch.nn.modules.dropout._DropoutNd)
    ]
    assert rates.count(0.45) == 1
    assert set(rates) <= {0.45, 0.0}
