"""Rewrites of an exported ONNX graph: an output that is only worked out on demand, and a smaller file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sonoseg.train.run_folder import LARGE


def _needed(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """Those of `nodes` that the outputs depend on, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(_inputs(node))
            kept.append(node)
    return kept[::-1]


def _inputs(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, in its branches too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _inputs(inner)


def on_demand(model: onnx.ModelProto, output: str, switch: str) -> None:
    """Moves what only `output` needs behind a switch: an optional boolean input, false unless it is given.

    ONNX Runtime computes a whole graph whatever is asked of it; but of an If only the branch that is taken. Where the
    switch is off, the output holds no image: of (N, …) it is (0, …).
    """
    graph = model.graph
    nodes = list(graph.node)
    always = _needed(nodes, [value.name for value in graph.output if value.name != output])
    known = {node.output[0] for node in always}
    rest = [node for node in nodes if node.output[0] not in known]
    for node in rest:
        node.output[:] = [f"{output}.on" if name == output else name for name in node.output]
    branches = {}
    (shape,) = (value.type.tensor_type.shape for value in graph.output if value.name == output)
    nothing = numpy_helper.from_array(
        np.zeros((0, *(axis.dim_value for axis in shape.dim[1:])), np.float32)
    )
    empty = helper.make_node("Constant", [], [f"{output}.off"], value=nothing)
    for kind, content in {"on": rest, "off": [empty]}.items():
        value = helper.make_tensor_value_info(f"{output}.{kind}", TensorProto.FLOAT, None)
        branches[kind] = helper.make_graph(content, f"{output}.{kind}", [], [value])
    choice = helper.make_node(
        "If", [switch], [output], then_branch=branches["on"], else_branch=branches["off"]
    )
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*always, choice])
    graph.initializer.append(numpy_helper.from_array(np.array(False), switch))
    graph.input.append(helper.make_tensor_value_info(switch, TensorProto.BOOL, []))
    shape.dim[0].dim_param = f"{output}s"  # as many as the images, or none


def store_half(model: onnx.ModelProto) -> None:
    """Stores large weights in 16 bits, each behind a Cast that the runtime folds away when it loads the graph."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LARGE:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    for position, node in enumerate(casts):
        model.graph.node.insert(position, node)
