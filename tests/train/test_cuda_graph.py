"""CUDA graphs as far as a processor allows: what is replayed and what is not, and that a capture leaves no trace."""

import pytest
import torch

from sonoseg.cli import main
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.train.cuda_graph import replay_steps


@pytest.fixture
def captures(monkeypatch):
    """PyTorch's capture, on a processor: the module itself, after a step on the example. Each call of it is counted."""
    calls = []

    def capture(module, examples, allow_unused_input):
        module(*examples)
        return lambda *inputs: calls.append(True) or module(*inputs)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    return calls


@pytest.mark.parametrize("presence", ["none", "image", "parts"])
def test_training_batches_of_that_shape_are_replayed_and_no_others(captures, presence):
    config = FusionUNetConfig(
        ("tf_efficientnet_lite0",), skips=True, widths=(16, 8, 8, 8), presence=presence
    )
    model = config.build(dropout=0.0)
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    replay_steps(model.train(), torch.rand(2, 1, 32, 32), bfloat16=False)
    assert all(
        torch.equal(buffer, statistics[name]) for name, buffer in model.named_buffers()
    )
    image = torch.rand(2, 1, 32, 32)
    for replayed, own in zip(
        model.outputs(image), type(model).outputs(model, image), strict=True
    ):
        assert replayed is own is None or torch.equal(replayed, own)
    assert len(captures) == 1
    assert model(image).shape == (2, 1, 32, 32)
    model.outputs(torch.rand(3, 1, 32, 32))
    model.eval().outputs(image)
    assert len(captures) == 2  # the second of them was the call of the whole network


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_a_replayed_step_has_the_gradients_of_an_ordinary_one():
    config = FusionUNetConfig(
        ("tf_efficientnet_lite0",), skips=True, widths=(16, 8, 8, 8), presence="image"
    )
    model = config.build(dropout=0.0).cuda().train()
    image = torch.rand(4, 1, 64, 64, device="cuda")

    def gradients():
        model.zero_grad()
        pixels, presence = model.outputs(image)
        (pixels.square().mean() + presence.square().mean()).backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters()}

    ordinary = gradients()
    replay_steps(model, torch.rand_like(image), bfloat16=False)
    torch.testing.assert_close(gradients(), ordinary, rtol=1e-2, atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_refused_in_one_line(phantoms, tmp_path, capsys):
    out = tmp_path / "run"
    options = ("--split", "grouped", "--encoder-weights", "none", "--graph")
    assert (
        main(["train", "model-1", "--data", str(phantoms), "--out", str(out), *options])
        == 2
    )
    assert (
        "--graph: needs a CUDA GPU and a single process; leave it out"
        in capsys.readouterr().err
    )
    assert not out.exists()
