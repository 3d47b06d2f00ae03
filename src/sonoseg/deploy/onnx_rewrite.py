"""Rewrites of an exported ONNX graph: an output that is computed only on demand, and a smaller file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from sonoseg.train.run_folder import LARGE


def on_demand(model: onnx.ModelProto, output: str, switch: str) -> None:
    """Computes `output` only if an input `switch` is true; changes the graph in place.

    ONNX Runtime always computes the whole graph, even for one output. But it computes only one branch of an If. So all
    operations that only `output` needs are moved into a branch. If the switch is false, the output is empty: its shape
    is (0, …) instead of (N, …).

    Args:
        model: the graph; its first axis is the number of images.
        output: name of an output.
        switch: name of the new input, an optional boolean that is false by default.
    """
    graph = model.graph
    nodes = list(graph.node)
    others = [value.name for value in graph.output if value.name != output]
    always = _needed(nodes, others)
    always_known = {node.output[0] for node in always}
    rest = [node for node in nodes if node.output[0] not in always_known]

    # Both branches return a value of their own name; the If returns it as `output`.
    for node in rest:
        for position, name in enumerate(node.output):
            if name == output:
                node.output[position] = f"{output}.on"
    shape = _output_shape(graph, output)
    sizes = [axis.dim_value for axis in shape.dim[1:]]
    nothing = numpy_helper.from_array(np.zeros([0, *sizes], np.float32))
    empty = helper.make_node("Constant", [], [f"{output}.off"], value=nothing)
    choice = helper.make_node(
        "If",
        [switch],
        [output],
        then_branch=_branch(f"{output}.on", rest),
        else_branch=_branch(f"{output}.off", [empty]),
    )
    del graph.node[:]
    del graph.value_info[
        :
    ]  # shapes of values inside, which would now be declared outside their branch
    graph.node.extend(always)
    graph.node.append(choice)
    graph.input.append(helper.make_tensor_value_info(switch, TensorProto.BOOL, []))
    make_optional(model, switch, np.array(False))
    shape.dim[0].dim_param = f"{output}s"  # as many as the images, or none


def make_optional(
    model: onnx.ModelProto, name: str, default: NDArray[np.generic]
) -> None:
    """Gives an input of the graph a default, in place."""
    # In ONNX an input is optional if an initializer has the same name.
    model.graph.initializer.append(numpy_helper.from_array(default, name))


def _needed(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """The nodes that the outputs depend on, in their order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(_inputs(node))
            kept.append(node)
    kept.reverse()
    return kept


def _inputs(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, in its branches too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _inputs(inner)


def _output_shape(graph: GraphProto, name: str) -> onnx.TensorShapeProto:
    (value,) = [value for value in graph.output if value.name == name]
    shape: onnx.TensorShapeProto = value.type.tensor_type.shape
    return shape


def _branch(output: str, nodes: Sequence[NodeProto]) -> GraphProto:
    """The branch of an If: a graph without inputs, which may use every value of the graph around it."""
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, output, [], [value])


def store_half(model: onnx.ModelProto) -> None:
    """Stores large weights in 16 bits, in place, each with a Cast that the runtime computes once, at loading."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LARGE:
            continue
        name = tensor.name
        half = numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        tensor.CopyFrom(half)
        casts.append(
            helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT)
        )
    for position, node in enumerate(casts):
        model.graph.node.insert(position, node)
