"""A torch network as an ONNX graph: any batch size, large weights stored as float16."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ..errors import TrainingError

OPSET: Final = 18
# Smaller tensors stay float32: they cost nothing, and slopes and biases need no rounding.
HALF_FROM: Final = 1024


def halve(model: onnx.ModelProto) -> None:
    """Store large weights as float16, cast to float32 in the graph (folded when it is loaded)."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < HALF_FROM:
            continue
        name = tensor.name
        half = numpy_helper.from_array(array.astype(np.float16), f"{name}_half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def to_onnx(
    module: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """A network as ONNX, any batch size.

    Args:
        module: in evaluation mode.
        example: its input or inputs, at least two examples.
        inputs: names of the inputs.
        outputs: names of the outputs.
    """
    batch = torch.export.Dim("batch", min=1, max=4096)
    examples = example if isinstance(example, tuple) else (example,)
    with warnings.catch_warnings():
        # torch's exporter warns of its own use of its own deprecated parts.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)
        program = torch.onnx.export(
            module,
            examples,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=tuple({0: batch} for _ in examples),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise TrainingError("torch.onnx.export returned nothing")
    model = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:  # the exporter notes source lines of the building machine
        del node.metadata_props[:]
        node.doc_string = ""
    return model
