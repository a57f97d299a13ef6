"""A small model with the parts that are quantized, for tests of what quantizes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny import write_model_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 32
#: More than a table needs to count as a word embedding.
TOKENS = 1200
#: Id of the first word in the tiny tokenizer.
FIRST_WORD = 4


def write_two_layers(folder: Path, *, outlier: float = 1.0, loud: float = 1.0, opset: int = 18,
                     width: int = WIDTH) -> Path:  # fmt: skip
    """Write a model folder with a word embedding, two MatMuls and a transposed Gemm with a bias.

    Args:
        folder: made when missing.
        outlier: one channel of the second MatMul's input is so many times as large as the others, which costs all
            others their resolution.
        loud: the vector of the first of `tiny.WORDS` is so many times as large as the others'.
        opset: of the graph.
        width: of the words' vectors, and of both matrices.
    """
    write_model_folder(folder)
    random = np.random.default_rng(5)
    large = np.ones(width, dtype=np.float32)
    large[3] = outlier
    table = random.normal(0, 1, (TOKENS, width)).astype(np.float32)
    table[FIRST_WORD] *= loud

    def weights(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, shape[0] ** -0.5, shape).astype(np.float32)

    arrays = {
        "table": table, "first": weights(width, width),
        "second": weights(width, width), "head": weights(2, width), "bias": weights(2), "large": large,
        "one": np.array([1]), "two": np.array([2]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], name="words"),
        helper.make_node("MatMul", ["rows", "first"], ["a"], name="first/MatMul"),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "large"], ["c"]),
        helper.make_node("MatMul", ["c", "second"], ["d"], name="second/MatMul"),
        helper.make_node("Tanh", ["d"], ["e"]),
        helper.make_node("Cast", ["attention_mask"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight", "two"], ["mask"]),
        helper.make_node("Mul", ["e", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["embedding"], keepdims=0),
        helper.make_node("Gemm", ["embedding", "head", "bias"], ["logits"], name="head/Gemm", transB=1),
    ]
    tensor = helper.make_tensor_value_info
    inputs = [tensor(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")]
    outputs = [tensor(name, TensorProto.FLOAT, ["batch", width]) for name, width in (("logits", 2), ("embedding", 32))]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "two-layers", inputs, outputs, initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))
    return folder
