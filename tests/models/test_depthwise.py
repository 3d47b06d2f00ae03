import copy

import pytest
import timm
import torch
from timm.layers import create_conv2d
from torch import nn

from sonoseg.models.depthwise import DepthwiseConv2d, DilatedDepthwiseConv2d, quicken


@pytest.mark.parametrize("padding", ["", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(16, 24), (2, 4)])
def test_output_and_gradients_are_those_of_pytorch(kernel, stride, padding, size):
    plain = create_conv2d(
        6, 6, kernel, stride=stride, padding=padding, groups=6
    ).double()
    quick = DepthwiseConv2d(plain).train()
    image = torch.rand(2, 6, *size, dtype=torch.float64, requires_grad=True)
    expected, out = plain(image), quick(image)
    torch.testing.assert_close(out, expected)
    gradient = torch.rand_like(out)
    for own, theirs in zip(
        torch.autograd.grad(out, [image, quick.weight], gradient),
        torch.autograd.grad(expected, [image, plain.weight], gradient),
        strict=True,
    ):
        torch.testing.assert_close(own, theirs)


def test_the_gradient_is_right_by_finite_differences():
    quick = DepthwiseConv2d(
        nn.Conv2d(3, 3, 5, stride=2, padding=2, groups=3, bias=False).double()
    ).train()
    image = torch.rand(1, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(quick, {"weight": w}, (x,)),
                                    (image, quick.weight))  # fmt: skip


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_b0"])
def test_a_quickened_encoder_keeps_its_weights_names_and_answers(name):
    plain, quick = (
        timm.create_model(name, num_classes=0, global_pool="").double()
        for _ in range(2)
    )
    quick.load_state_dict(plain.state_dict())
    quicken(quick)
    assert list(quick.state_dict()) == list(plain.state_dict())
    assert any(isinstance(module, DepthwiseConv2d) for module in quick.modules())
    image = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(quick(image), plain(image))


def test_autocast_computes_in_bfloat16_and_gives_gradients_in_float32():
    quick = DepthwiseConv2d(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)).train()
    with torch.autocast("cpu", torch.bfloat16):
        out = quick(torch.rand(2, 4, 8, 8))
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert quick.weight.grad is not None
    assert quick.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_a_dilated_ones_gradient_is_right_under_autocast(dilation):
    torch.manual_seed(0)
    conv = DilatedDepthwiseConv2d(32, dilation).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(conv).double()
    image = torch.randn(4, 32, 64, 64).bfloat16().to(memory_format=torch.channels_last)
    gradient = torch.randn(4, 32, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(image)
    out.backward(gradient.to(out.dtype))
    exact(image.double()).backward(gradient.double())
    torch.testing.assert_close(
        conv.weight.grad.double(), exact.weight.grad, rtol=1e-2, atol=1.0
    )


def test_other_convolutions_stay_as_they_are():
    dilated = nn.Conv2d(8, 8, 3, groups=8, dilation=2, bias=False)
    others = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=2), dilated
    )
    before = list(others)
    assert list(quicken(others)) == before
