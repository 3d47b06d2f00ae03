"""Rewritten graphs answer as before, with fewer multiplications."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sonoseg.reader.bundle import default_bundle_path
from sonoseg.training.graph import convolve_before_doubling

RANDOM = np.random.default_rng(0)


def doubling(channels=512, scale=2, bias=True, dilation=1, pads=True):
    """A map is enlarged, joined to a skip connection and convolved."""
    weights = {
        "weight": RANDOM.normal(0, 0.02, (5, channels + 3, 3, 3)).astype(np.float32),
        "bias": RANDOM.normal(0, 1, 5).astype(np.float32),
        "scales": np.array([1, 1, scale, scale], np.float32),
    }
    nodes = [
        helper.make_node("Resize", ["small", "", "scales"], ["large"], mode="linear"),
        helper.make_node("Concat", ["large", "skip"], ["joined"], axis=1),
        helper.make_node(
            "Conv",
            ["joined", "weight", *(["bias"] if bias else [])],
            ["out"],
            kernel_shape=[3, 3],
            **({"pads": [dilation] * 4} if pads else {}),
            dilations=[dilation] * 2,
        ),
        helper.make_node("Relu", ["out"], ["answer"]),
    ]
    inputs = [
        helper.make_tensor_value_info("small", TensorProto.FLOAT, ["n", channels, 4, 6]),
        helper.make_tensor_value_info("skip", TensorProto.FLOAT, ["n", 3, 4 * scale, 6 * scale]),
    ]
    outputs = [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)]
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "doubling", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def kinds(model):
    return [node.op_type for node in model.graph.node]


def answer(model, images, scale=2):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(images)
    small, skip = (
        random.normal(0, 1, (images, *shape)).astype(np.float32)
        for shape in ((session.get_inputs()[0].shape[1], 4, 6), (3, 4 * scale, 6 * scale))
    )
    return session.run(None, {"small": small, "skip": skip})[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("images", [1, 3])
def test_a_convolution_of_a_doubled_map_is_worked_out_on_the_map(bias, images):
    model = doubling(bias=bias)
    fast = convolve_before_doubling(model)
    onnx.checker.check_model(fast)
    assert kinds(fast).count("Conv") == 2
    assert "Concat" not in kinds(fast)
    assert answer(model, images).std() > 0.1
    np.testing.assert_allclose(answer(fast, images), answer(model, images), atol=1e-5)


@pytest.mark.parametrize("options", [{"channels": 64}, {"scale": 4}, {"dilation": 2}, {"pads": False}])
def test_other_convolutions_are_left_as_they_are(options):
    model = doubling(**options)
    same = convolve_before_doubling(model)
    assert kinds(same) == kinds(model)
    assert len(same.graph.initializer) == len(model.graph.initializer)


def test_the_shipped_network_is_worked_out_so():
    model = onnx.load(default_bundle_path())
    assert "Col2Im" in kinds(model)
    assert kinds(convolve_before_doubling(model)) == kinds(model)
