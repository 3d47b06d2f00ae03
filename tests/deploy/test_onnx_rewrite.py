"""What is asked on demand is worked out only then; what is stored in 16 bits answers as before."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sonoseg.deploy.onnx_rewrite import on_demand, store_half

WEIGHT = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)


@pytest.fixture
def model():
    """image · weight → an answer, and heat."""
    nodes = [
        helper.make_node("MatMul", ["image", "weight"], ["shared"]),
        helper.make_node("Relu", ["shared"], ["answer"]),
        helper.make_node("Neg", ["shared"], ["turned"]),
        helper.make_node("Add", ["turned", "small"], ["heat"]),
    ]
    constants = {"weight": WEIGHT, "small": np.ones(64, np.float32)}
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 64])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64])
            for name in ("answer", "heat")
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )


def run(model, **inputs):
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["answer", "heat"], inputs)


def test_an_output_on_demand_is_empty_unless_it_is_asked_for(model):
    image = np.random.default_rng(1).normal(0, 1, (3, 64)).astype(np.float32)
    answer, heat = run(model, image=image)
    on_demand(model, "heat", "explain")
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Relu", "If"]
    for asked, expected in (({}, heat[:0]), ({"explain": np.array(True)}, heat)):
        got = run(model, image=image, **asked)
        np.testing.assert_array_equal(got[0], answer)
        np.testing.assert_array_equal(got[1], expected)


def test_large_weights_are_stored_in_16_bits_and_small_ones_as_they_are(model):
    store_half(model)
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert stored == {"weight.half": TensorProto.FLOAT16, "small": TensorProto.FLOAT}
    image = np.eye(64, dtype=np.float32)
    answer, _ = run(model, image=image)
    np.testing.assert_array_equal(
        answer, np.maximum(WEIGHT.astype(np.float16).astype(np.float32), 0)
    )
