import pytest
import torch

from sonoseg.models.blocks import CONVOLUTIONS, DecoderStage, SeparableConv


@pytest.mark.parametrize(("inputs", "outputs"), [(2816, 512), (128, 64)])
def test_a_separable_convolution_has_the_parameters_of_the_formula(inputs, outputs):
    count = sum(
        parameter.numel() for parameter in SeparableConv(inputs, outputs).parameters()
    )
    assert count == 9 * inputs + 2 * inputs + inputs * outputs + 2 * outputs


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_a_stage_doubles_the_resolution_and_joins_the_skip(convolution):
    stage = DecoderStage(8, 4, 16, "cbam", convolution)
    assert stage(torch.rand(2, 8, 5, 3), torch.rand(2, 4, 10, 6)).shape == (
        2,
        16,
        10,
        6,
    )
    assert DecoderStage(8, 0, 6, "none")(torch.rand(2, 8, 5, 3)).shape == (2, 6, 10, 6)


def test_a_stage_cannot_exceed_relu6():
    out = DecoderStage(8, 0, 6, "none")(1000 * torch.rand(2, 8, 5, 3))
    assert out.min() >= 0
    assert out.max() <= 6
