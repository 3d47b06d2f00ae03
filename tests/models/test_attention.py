import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sonoseg.models.attention import CBAM, NonLocal, Transformer


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("channels", [64, 512])
def test_attention_adds_the_parameters_that_the_paper_gives_away(channels):
    assert parameters(CBAM(channels)) == 2 * channels**2 // 8 + 98
    assert parameters(NonLocal(channels)) == 2 * channels**2 + 2.5 * channels


@pytest.mark.parametrize("channels", [16, 64, 512])
def test_a_transformer_block_has_the_parameters_of_its_formula(channels):
    assert parameters(Transformer(channels)) == 8 * channels**2 + 21 * channels


def test_a_transformer_block_is_pytorchs_encoder_layer_after_the_position_signal():
    torch.manual_seed(0)
    block, x = Transformer(128).eval(), torch.randn(2, 128, 5, 7)
    layer = torch.nn.TransformerEncoderLayer(
        128, 2, 256, activation="gelu", batch_first=True, norm_first=True, dropout=0.0
    ).eval()
    names = {
        "self_attn.in_proj_": "qkv.",
        "self_attn.out_proj.": "out.",
        "linear1.": "mlp.0.",
        "linear2.": "mlp.2.",
        "norm1.": "norm1.",
        "norm2.": "norm2.",
    }
    own = block.state_dict()
    layer.load_state_dict(
        {
            a + kind: own[b + kind]
            for a, b in names.items()
            for kind in ("weight", "bias")
        }
    )
    tokens = (x + block.position(x)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(
        block(x).flatten(2).transpose(1, 2), layer(tokens), rtol=1e-4, atol=1e-5
    )


def test_non_local_is_the_softmax_over_all_dot_products():
    torch.manual_seed(0)
    block, x = NonLocal(16), torch.randn(2, 16, 5, 7)
    theta, phi, g = (embed(x).flatten(2) for embed in (block.theta, block.phi, block.g))
    weights = torch.einsum("nci,ncj->nij", theta, phi).softmax(-1)
    attended = torch.einsum("nij,ncj->nci", weights, g).reshape(2, 8, 5, 7)
    assert torch.allclose(block(x), x + block.out(attended), atol=1e-5)


def test_non_local_lets_a_far_corner_change_every_position():
    torch.manual_seed(0)
    block = NonLocal(8)
    x = torch.randn(1, 8, 6, 6, requires_grad=True)
    block(x)[0, :, 0, 0].sum().backward()
    assert (x.grad[0, :, 5, 5] != 0).any()


def test_cbam_weighs_channels_then_places():
    torch.manual_seed(0)
    block, x = CBAM(16), torch.randn(2, 16, 9, 9)
    first, second = block.mlp[0].weight[:, :, 0, 0], block.mlp[2].weight[:, :, 0, 0]
    pooled = [
        torch.relu(p @ first.T) @ second.T
        for p in (x.mean((2, 3)), x.flatten(2).max(2).values)
    ]
    scaled = x * torch.sigmoid(pooled[0] + pooled[1])[:, :, None, None]
    places = torch.stack([scaled.mean(1), scaled.max(1).values], 1)
    expected = scaled * torch.sigmoid(
        torch.conv2d(places, block.spatial.weight, padding=3)
    )
    assert torch.allclose(block(x), expected, atol=1e-6)


def test_non_local_never_builds_its_matrix():
    """8 images of 56 × 56: the matrix alone would be 315 MB."""
    script = Path(__file__).parents[2] / "benchmarks" / "nonlocal_memory.py"
    options = ["--form", "fused", "--model", "block", "--sizes", "56", "--batch", "8"]
    words = [sys.executable, str(script), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["peak_mb"] < 150
