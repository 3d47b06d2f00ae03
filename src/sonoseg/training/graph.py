"""Rewrites of an exported ONNX graph: the same answers for less work, or from a smaller file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper, shape_inference

from sonoseg.training.run import LARGE

MANY = 512
"""Channels from which on `convolve_before_doubling` is worth its shifts and sums."""
_END = 2**31 - 1


def convolve_before_doubling(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which a 3×3 convolution of a doubled map of many channels is worked out on the map itself.

    Doubling a map's size and mixing its channels may change places: each of the nine taps becomes a 1×1 convolution
    of the small map, and the nine answers are doubled, shifted and added. The skip connection that is joined to the
    doubled map is convolved by itself. That is a quarter of the work, and reads the weights once; ONNX Runtime
    otherwise reads them anew for each row of the image.
    """
    model = shape_inference.infer_shapes(model)
    graph = model.graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info)
    }
    makers = {name: node for node in graph.node for name in node.output}
    four = [tensor for tensor in graph.initializer if list(tensor.dims) == [4]]
    doubling = {tensor.name for tensor in four if numpy_helper.to_array(tensor).tolist() == [1, 1, 2, 2]}
    nodes: list[NodeProto] = []
    for conv in graph.node:
        double, skip = _joined(conv, makers)
        small, *sizes = double.input if double is not None else [""]
        if double is not None and doubling.intersection(sizes) and shapes.get(small, [0, 0])[1] >= MANY:
            constants, instead = _by_taps(conv, double, skip, shapes)
            graph.initializer.extend(constants)
            nodes += instead
        else:
            nodes.append(conv)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(_needed(nodes, [value.name for value in graph.output]))
    return model


def _joined(conv: NodeProto, makers: Mapping[str, NodeProto]) -> tuple[NodeProto | None, str]:
    """Of a plain 3×3 convolution of two joined maps: the node that makes the first, and the second's name."""
    join = makers.get(conv.input[0]) if _is_plain_3x3(conv) else None
    if join is None or join.op_type != "Concat" or len(join.input) != 2:
        return None, ""
    return makers.get(join.input[0]), join.input[1]


def _is_plain_3x3(node: NodeProto) -> bool:
    asked = {"strides": [1, 1], "dilations": [1, 1], "group": 1}  # what ONNX takes where nothing is said
    plain = asked | {"kernel_shape": [3, 3], "pads": [1] * 4}
    asked |= {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return node.op_type == "Conv" and all(asked.get(name) == value for name, value in plain.items())


def _by_taps(
    conv: NodeProto, double: NodeProto, skip: str, shapes: Mapping[str, Sequence[int]]
) -> tuple[list[TensorProto], list[NodeProto]]:
    """Constants and nodes that give what `conv` gives of the doubled map joined to `skip`."""
    out, weights, bias = conv.output[0], conv.input[1], conv.input[2:]
    channels, (height, width) = shapes[double.input[0]][1], shapes[out][2:]
    constants: list[TensorProto] = []
    nodes: list[NodeProto] = []

    def number(*values: int) -> str:
        constants.append(numpy_helper.from_array(np.array(values, np.int64), f"{out}.constant{len(constants)}"))
        return str(constants[-1].name)

    def add(kind: str, *inputs: str, like: NodeProto | None = None, **attributes: Any) -> str:
        made = helper.make_node(kind, inputs, [f"{out}.part{len(nodes)}"], **attributes)
        made.attribute.extend(like.attribute if like is not None else ())
        nodes.append(made)
        return str(made.output[0])

    # Col2Im adds up as a transposed convolution would: the taps the other way around.
    turned = add(
        "Slice", weights, number(0, -1, -1), number(channels, -_END, -_END), number(1, 2, 3), number(1, -1, -1)
    )
    taps = add("Reshape", add("Transpose", turned, perm=[0, 2, 3, 1]), number(-1, channels, 1, 1))
    answers = add("Resize", add("Conv", double.input[0], taps), *double.input[1:], like=double)
    columns = add("Reshape", answers, number(0, 0, -1))
    one = add("Col2Im", columns, number(height, width), number(3, 3), pads=[1] * 4)
    of_skip = add("Slice", weights, number(channels), number(_END), number(1))
    other = add("Conv", skip, of_skip, *bias, like=conv)
    nodes.append(helper.make_node("Add", [one, other], [out]))
    return constants, nodes


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
    switch is off, the output is empty, of shape (0,).
    """
    graph = model.graph
    nodes = list(graph.node)
    always = _needed(nodes, [value.name for value in graph.output if value.name != output])
    known = {node.output[0] for node in always}
    rest = [node for node in nodes if node.output[0] not in known]
    for node in rest:
        node.output[:] = [f"{output}.on" if name == output else name for name in node.output]
    branches = {}
    empty = helper.make_node("Constant", [], [f"{output}.off"], value=numpy_helper.from_array(np.zeros(0, np.float32)))
    for kind, content in {"on": rest, "off": [empty]}.items():
        value = helper.make_tensor_value_info(f"{output}.{kind}", TensorProto.FLOAT, None)
        branches[kind] = helper.make_graph(content, f"{output}.{kind}", [], [value])
    choice = helper.make_node("If", [switch], [output], then_branch=branches["on"], else_branch=branches["off"])
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*always, choice])
    graph.initializer.append(numpy_helper.from_array(np.array(False), switch))
    graph.input.append(helper.make_tensor_value_info(switch, TensorProto.BOOL, []))
    for value in graph.output:
        if value.name == output:
            value.type.tensor_type.ClearField("shape")


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
