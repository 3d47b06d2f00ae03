"""Weights that are taken away: which ones, at each level, and what is left alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sonoseg.explain.faithfulness import rank_correlations
from sonoseg.explain.gradcam import grad_cam
from sonoseg.explain.randomise import randomised_copies
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig

LEVELS = ["head", "stage4", "stage3", "stage2", "decoder", "all"]


def network(presence: bool) -> FusionUNet:
    """Its batch normalisation is not as new, so that its going back to new can be seen."""
    torch.manual_seed(0)
    config = FusionUNetConfig(
        ("resnet18",), "cbam", frozen=True, widths=(32, 16, 16, 8), presence=presence
    )
    network = FusionUNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network.eval()


@pytest.fixture(scope="module")
def model() -> FusionUNet:
    return network(presence="image")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def changed(model: nn.Module, other: nn.Module) -> set[str]:
    """The first names of the parts whose parameters differ; of stages with their number."""
    there = dict(other.named_parameters())
    names = [
        name
        for name, value in model.named_parameters()
        if not torch.equal(value, there[name])
    ]
    return {
        ".".join(name.split(".")[: 2 if name.startswith("stages") else 1])
        for name in names
    }


def test_each_level_takes_away_what_runs_behind_it(
    model: FusionUNet, images: Tensor
) -> None:
    copies = randomised_copies(model, images, 0)
    assert list(copies) == LEVELS
    gone = [changed(model, copies[level]) for level in LEVELS]
    expected = {"head", "presence"}
    for level, names in zip(LEVELS[:-2], gone, strict=False):
        assert names == expected, level
        expected = expected | {f"stages.{5 - len(expected)}"}
    assert gone[-2] == {
        "head",
        "presence",
        "stages.0",
        "stages.1",
        "stages.2",
        "stages.3",
    }
    assert gone[-1] == gone[-2] | {"encoders"}


def test_no_weight_survives_the_last_level(model: FusionUNet, images: Tensor) -> None:
    other = randomised_copies(model, images, 0)["all"]
    there = dict(other.named_parameters())
    assert not [
        name
        for name, value in model.named_parameters()
        if torch.equal(value, there[name])
    ]


def test_the_network_stays_as_it_was_and_shares_what_is_kept(
    model: FusionUNet, images: Tensor
) -> None:
    before = copy.deepcopy(model.state_dict())
    copies = randomised_copies(model, images, 0)
    assert all(
        torch.equal(value, before[name]) for name, value in model.state_dict().items()
    )
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in model.modules()
    )
    assert (
        copies["decoder"].encoders.parts["resnet18"].conv1.weight
        is model.encoders.parts["resnet18"].conv1.weight
    )
    assert not any(
        module.training for other in copies.values() for module in other.modules()
    )


def test_the_seed_decides_and_the_generator_of_others_is_left_alone(
    model: FusionUNet, images: Tensor
) -> None:
    state = torch.get_rng_state()
    first, again, another = (
        randomised_copies(model, images, seed)["all"](images) for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(first, again)
    assert (first - another).abs().max() > 1e-3


def test_random_networks_still_tell_images_apart(
    model: FusionUNet, images: Tensor
) -> None:
    for level, other in randomised_copies(model, images, 0).items():
        with torch.no_grad():
            features, _ = other.encode(images)
        assert (
            features.isfinite().all() and (features[0] - features[1]).abs().max() > 1e-3
        ), level


def test_one_image_of_a_size_that_leaves_one_pixel_is_enough(model: FusionUNet) -> None:
    copies = randomised_copies(model, torch.rand(1, 1, 32, 32), 0)
    assert copies["all"](torch.rand(1, 1, 32, 32)).isfinite().all()


class Odd(nn.Module):
    """Weights without reset_parameters, and a part whose weights its parent uses without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.arange(1.0, 5).view(1, 4, 1, 1))
        self.bottleneck = nn.Conv2d(1, 4, 8, stride=8)
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.bottleneck(image) * self.scale
        tokens = x.flatten(2).mT
        x = x + self.attend(tokens, tokens, tokens)[0].mT.view_as(x)
        return nn.functional.interpolate(self.head(x), scale_factor=8.0)

    def explain_layers(self) -> dict[str, nn.Module]:
        return {"bottleneck": self.bottleneck}


def test_weights_that_cannot_be_reset_are_shuffled_and_uncalled_parts_go_with_their_parent() -> (
    None
):
    torch.manual_seed(0)
    model = Odd().eval()
    copies = randomised_copies(model, torch.rand(2, 1, 32, 32), 0)
    assert list(copies) == ["decoder", "all"]
    decoder, everything = copies["decoder"], copies["all"]
    assert not torch.equal(decoder.attend.in_proj_weight, model.attend.in_proj_weight)
    assert not torch.equal(decoder.attend.out_proj.weight, model.attend.out_proj.weight)
    assert (
        decoder.scale is model.scale
        and decoder.bottleneck.weight is model.bottleneck.weight
    )
    assert sorted(everything.scale.flatten().tolist()) == [1, 2, 3, 4]
    assert not torch.equal(
        everything.attend.in_proj_weight, model.attend.in_proj_weight
    )


@pytest.mark.parametrize("layer", ["bottleneck", "stage4"])
def test_the_map_is_another_without_the_weights(images: Tensor, layer: str) -> None:
    model = network(
        presence="none"
    )  # at random, a presence head may hold down every pixel, and leave no map
    model.head.weight.data.abs_()  # as may weights that are all against a lesion
    other = randomised_copies(model, images, 0)["all"]
    heat, without = (
        grad_cam(model, images[:1], layer),
        grad_cam(other, images[:1], layer),
    )
    (similarity,) = rank_correlations(heat, [without])
    assert similarity is not None and abs(similarity) < 0.9
