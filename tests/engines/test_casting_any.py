"""Casting holds for networks nobody thought of: random graphs, run in float32 and in float16."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import onnx
from facestream.engines.casting import cast_network
from facestream.engines.onnx_graphs import dense_to_convolutions, fold_constants
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

onnxruntime: Any = importlib.import_module("onnxruntime")  # has no type hints

WIDTH = 4
UNARY = ("Relu", "Sigmoid", "Identity", "Tanh", "LeakyRelu", "Abs", "Softmax")
BINARY = ("Add", "Mul", "Sub", "Max")
CONSTANT = ("Gemm", "MatMul", "Clip", "AddConstant", "PRelu")

Step = tuple[str, int, int]


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    """A chain of steps, each on one or two of the tensors before it, N×4; 1 to 3 outputs."""
    kinds = st.sampled_from((*UNARY, *BINARY, *CONSTANT, "Concat"))
    steps: list[Step] = draw(
        st.lists(st.tuples(kinds, st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=9)
    )
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    tensors, nodes, weights = ["x"], [], []

    def weight(name: str, *shape: int) -> str:
        values = (rng.standard_normal(shape) * 0.3).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    for number, (kind, one, other) in enumerate(steps):
        a, b = tensors[one % len(tensors)], tensors[other % len(tensors)]
        name = f"t{number}"
        if kind in UNARY:
            node = helper.make_node(kind, [a], [name])
        elif kind in BINARY:
            node = helper.make_node(kind, [a, b], [name])
        elif kind == "Gemm":
            fed = [a, weight(f"w{number}", WIDTH, WIDTH), weight(f"b{number}", WIDTH)]
            node = helper.make_node("Gemm", fed, [name], transB=other % 2)
        elif kind == "MatMul":
            node = helper.make_node("MatMul", [a, weight(f"w{number}", WIDTH, WIDTH)], [name])
        elif kind == "Clip":
            limits = [f"low{number}", f"high{number}"]
            for limit, value in zip(limits, (-1.0, 1e9 if other % 2 else 1.0), strict=True):
                array = np.array(value, np.float32)
                weights.append(numpy_helper.from_array(array, limit))
            node = helper.make_node("Clip", [a, *limits], [name])
        elif kind == "Concat":
            nodes.append(helper.make_node("Concat", [a, b], [f"c{number}"], axis=1))
            fed = [f"c{number}", weight(f"w{number}", 2 * WIDTH, WIDTH)]
            node = helper.make_node("MatMul", fed, [name])
        else:
            op = "PRelu" if kind == "PRelu" else "Add"
            node = helper.make_node(op, [a, weight(f"w{number}", WIDTH)], [name])
        nodes.append(node)
        tensors.append(name)
    made = tensors[1:]
    outputs = {made[-1], *draw(st.lists(st.sampled_from(made), max_size=2))}
    graph = helper.make_graph(
        nodes,
        "any",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH])
            for name in sorted(outputs)
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def with_all_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """One output: all tensors beside each other."""
    every = onnx.ModelProto()
    every.CopyFrom(model)
    tensors = [name for node in every.graph.node for name in node.output]
    every.graph.node.append(helper.make_node("Concat", tensors, ["all"], axis=1))
    del every.graph.output[:]
    every.graph.output.append(helper.make_tensor_value_info("all", TensorProto.FLOAT, ["n", None]))
    return every


def run(model: onnx.ModelProto, x: Any) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x}), strict=True))


@settings(max_examples=80)
@given(networks())
def test_any_network_gives_nearly_the_same_in_float16(model: onnx.ModelProto) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (3, WIDTH)).astype(np.float32)
    assume(np.abs(run(with_all_outputs(model), x)["all"]).max() < 100)  # products of products grow
    exact = run(model, x)
    for precision in ("float16", "bfloat16"):
        cast = cast_network(model, precision)
        onnx.checker.check_model(cast, full_check=True)
        assert [value.name for value in cast.graph.output] == list(exact)
        if precision == "float16":
            for name, values in run(cast, x).items():
                assert values.dtype == np.float32
                np.testing.assert_allclose(values, exact[name], rtol=0.05, atol=0.5)


@settings(max_examples=40)
@given(networks())
def test_any_network_gives_the_same_with_convolutions(model: onnx.ModelProto) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (3, WIDTH)).astype(np.float32)
    exact = run(model, x)
    fold_constants(model.graph)
    dense_to_convolutions(model)
    onnx.checker.check_model(model, full_check=True)
    for name, values in run(model, x).items():
        np.testing.assert_allclose(values, exact[name], rtol=1e-4, atol=1e-5)
