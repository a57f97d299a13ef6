"""How much each layer loses by dynamic int8, measured one layer at a time, and which ones stay in float.

A copy of the model is made in which every layer can be switched, at run time, between float and what dynamic
quantization makes of it. So 256 rows and 39 layers cost 40 passes over the rows and one session, where building a model
for each layer would cost several times that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.batching import SERVED, Batching, by_length, pad
from ftdeploy.compress.outcome import Sensitivity
from ftdeploy.compress.tools import graph, int8
from ftdeploy.hardware import plan_lanes, saturates_int8
from ftdeploy.predictor import Predictor

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

#: How many of the worst layers stay in float, one candidate each.
COUNTS = (1, 2, 4, 8)


def sensitivity(folder: Path, texts: Sequence[str], *, rows: int = 256, seed: int = 0, batching: Batching = SERVED,
                embeddings: int | None = None) -> tuple[Sensitivity, ...]:  # fmt: skip
    """What the logits lose when one layer alone is quantized: each MatMul or Gemm with weights, each word embedding.

    Quantized as `onnxruntime.quantization.quantize_dynamic` does it per channel: weights int8 (7 bits where
    products saturate) symmetric per output channel, activations uint8 by the range of the batch, embeddings uint8
    by the range of the table, or in blocks of ``embeddings`` bits. The batches are those that are served, because
    an activation's scale is the batch's.

    Args:
        folder: the fp32 model folder.
        texts: validation-like rows.
        rows: so many of them are taken, without replacement.
        seed: decides which.
        batching: how the service batches.
        embeddings: bits of a word embedding in blocks (`graph.pack`); None is one range for the table.

    Returns:
        Most sensitive first.

    Raises:
        ArtifactError: the folder is incomplete or damaged.
        ValueError: no texts.
    """
    if not texts:
        raise ValueError("sensitivity wants at least one text")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:rows])
    switched = Switched(folder, threads=batching.threads, embeddings=embeddings)
    predictor = Predictor(folder, threads=1, device="cpu")
    ids = [row.ids for row in predictor.encode([texts[index] for index in chosen])]
    trials: list[tuple[str, ...]] = [(), *((layer.name,) for layer in switched.layers)]
    logits = switched.logits(ids, trials, predictor, batching)
    found = [
        Sensitivity(layer=layer.name, parameters=layer.parameters, logit_error=relative_error(one, logits[0]))
        for layer, one in zip(switched.layers, logits[1:], strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (-one.logit_error, one.layer)))


def layers_to_keep(sensitivities: Sequence[Sensitivity],
                   counts: Sequence[int] = COUNTS) -> tuple[tuple[str, ...], ...]:  # fmt: skip
    """Layers that stay in float, as ever longer lists: the worst, the two worst, and so on.

    Args:
        sensitivities: as `sensitivity` found them, in any order.
        counts: lengths of the lists; those that would leave nothing to quantize are left out.
    """
    worst = sorted(sensitivities, key=lambda one: (-one.logit_error, one.layer))
    return tuple(tuple(one.layer for one in worst[:count]) for count in counts if count < len(worst))


def relative_error(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Mean squared difference, relative to the variance of what is expected; both of shape (rows, labels)."""
    variance = float(expected.var(axis=0).mean())
    return float(np.square(logits - expected).mean()) / max(variance, 1e-12)


@dataclass(frozen=True)
class Layer:
    """A node with weights: its name, how many they are, and the graph input that quantizes it."""

    name: str
    parameters: int
    switch: str


class Switched:
    """A float model whose layers can be quantized one by one, at run time.

    Args:
        folder: the fp32 model folder.
        threads: of all lanes, in each of which batches run one by one; 0 takes the processors this process may use.
        embeddings: see `sensitivity`.

    Raises:
        ArtifactError: from the model's reading by `Predictor` later; ONNX's own errors from here.
    """

    def __init__(self, folder: Path, *, threads: int = 0, embeddings: int | None = None) -> None:
        import onnxruntime

        model, self.layers = with_switches(graph.load(folder / "model.onnx"), embeddings=embeddings)
        settings = onnxruntime.SessionOptions()
        self._lanes, settings.intra_op_num_threads = plan_lanes(threads=threads, lanes=0, on_cpu=True)
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3  # errors only: its warnings name nodes that nobody can act on
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )

    def logits(self, ids: Sequence[Sequence[int]], trials: Sequence[Collection[str]], predictor: Predictor,
               batching: Batching = SERVED) -> NDArray[np.float32]:  # fmt: skip
        """Logits, float32 of shape (trials, rows, labels), with the named layers of each trial quantized.

        Args:
            ids: token ids of the rows.
            trials: names of the layers that are quantized in each.
            predictor: of the same folder; it says what the inputs are.
            batching: how rows become batches.
        """
        labels = len(predictor.signature.labels)
        found = np.empty((len(trials), len(ids), labels), dtype=np.float32)
        switches = [{layer.switch: np.array(layer.name in names) for layer in self.layers} for names in trials]

        def run(batch: list[int]) -> list[int]:
            tokens, mask = pad([ids[index] for index in batch], predictor.signature.pad_id)
            feeds = predictor.signature.feeds(tokens, mask)
            for number, one in enumerate(switches):
                found[number, batch] = self._session.run(["logits"], {**feeds, **one})[0]
            return batch

        plan = list(by_length([len(row) for row in ids], tokens=batching.tokens, rows=batching.rows))[::-1]
        with progress.task("sensitivity of the layers", len(ids)) as advance, ThreadPoolExecutor(self._lanes) as lanes:
            for batch in lanes.map(run, plan):
                advance(len(batch))
        return found


def with_switches(model: onnx.ModelProto, *,
                  embeddings: int | None = None) -> tuple[onnx.ModelProto, tuple[Layer, ...]]:  # fmt: skip
    """A model whose layers with weights ask an input of their own (bool, scalar) whether they are quantized."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    tables = set(graph.tables(model))
    layers: list[Layer] = []
    nodes = []
    for node in model.graph.node:
        matrix = _is_layer(node) and node.input[1] in weights
        if not matrix and node.name not in tables:
            nodes.append(node)
            continue
        array = numpy_helper.to_array(weights[node.input[1 if matrix else 0]])
        switch = f"quantize.{len(layers)}"
        layers.append(Layer(name=node.name, parameters=array.size, switch=switch))
        int8, constants = _matrix(node, array, switch) if matrix else _table(node, array, switch, embeddings)
        plain = helper.make_node(node.op_type, node.input, [f"{switch}.plain"])
        plain.attribute.extend(node.attribute)
        float32 = _branch([plain], f"{switch}.float")
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
        model.graph.input.append(helper.make_tensor_value_info(switch, TensorProto.BOOL, []))
        nodes.append(helper.make_node("If", [switch], [node.output[0]], then_branch=int8, else_branch=float32))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model, tuple(layers)


def _is_layer(node: onnx.NodeProto) -> bool:
    """A product that the quantizers take: a Gemm that scales or transposes its input is left alone by them."""
    from onnx import helper

    usual = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return node.op_type in graph.MATMULS and all(settings.get(name, value) == value for name, value in usual.items())


def _matrix(node: onnx.NodeProto, weights: NDArray[np.float32],
            name: str) -> tuple[onnx.GraphProto, dict[str, NDArray[np.generic]]]:  # fmt: skip
    """A MatMul or Gemm as dynamic quantization has it, and the constants that it reads."""
    from onnx import TensorProto, helper

    transposed = any(one.name == "transB" and helper.get_attribute_value(one) for one in node.attribute)
    matrix = weights.T if transposed else weights
    most = int8.levels(reduce_range=saturates_int8())
    scales = np.maximum(np.abs(matrix).max(axis=0) / most, np.finfo(np.float32).tiny).astype(np.float32)
    constants: dict[str, NDArray[np.generic]] = {
        f"{name}.weights": np.ascontiguousarray(np.rint(matrix / scales).clip(-most, most).astype(np.int8)),
        f"{name}.scales": scales,
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [node.input[0]], [f"{name}.x", f"{name}.scale", f"{name}.zero"]),
        helper.make_node("MatMulInteger", [f"{name}.x", f"{name}.weights", f"{name}.zero"], [f"{name}.product"]),
        helper.make_node("Cast", [f"{name}.product"], [f"{name}.cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.scale", f"{name}.scales"], [f"{name}.both"]),
        helper.make_node("Mul", [f"{name}.cast", f"{name}.both"], [f"{name}.result"]),
    ]
    if len(node.input) > 2 and node.input[2]:  # noqa: PLR2004  # a Gemm's third input is its bias
        nodes.append(helper.make_node("Add", [f"{name}.result", node.input[2]], [f"{name}.biased"]))
    return _branch(nodes, f"{name}.int8"), constants


def _table(node: onnx.NodeProto, table: NDArray[np.float32], name: str,
           bits: int | None) -> tuple[onnx.GraphProto, dict[str, NDArray[np.generic]]]:  # fmt: skip
    """A word embedding in uint8 with one scale, or as blocks of so many bits round it; the constants that it reads."""
    from onnx import helper

    if bits is not None:
        lookup = helper.make_node("Gather", [f"{name}.table", node.input[1]], [f"{name}.result"])
        return _branch([lookup], f"{name}.int8"), {f"{name}.table": graph.rounded_table(table, bits=bits)}

    low, high = min(float(table.min()), 0.0), max(float(table.max()), 0.0)
    scale = np.float32(max(high - low, float(np.finfo(np.float32).tiny) * 255) / 255)
    zero = np.uint8(np.rint(-low / scale))
    constants: dict[str, NDArray[np.generic]] = {
        f"{name}.table": (np.rint(table / scale) + zero).clip(0, 255).astype(np.uint8),
        f"{name}.scale": np.array(scale),
        f"{name}.zero": np.array(zero),
    }
    nodes = [
        helper.make_node("Gather", [f"{name}.table", node.input[1]], [f"{name}.rows"]),
        helper.make_node("DequantizeLinear", [f"{name}.rows", f"{name}.scale", f"{name}.zero"], [f"{name}.result"]),
    ]
    return _branch(nodes, f"{name}.int8"), constants


def _branch(nodes: Sequence[onnx.NodeProto], name: str) -> onnx.GraphProto:
    """A branch of an If: it sees what the graph around it computed, and its last node's output is the result."""
    from onnx import TensorProto, helper

    last = helper.make_node("Identity", [nodes[-1].output[0]], [f"{name}.output"])
    result = helper.make_tensor_value_info(f"{name}.output", TensorProto.FLOAT, None)
    return helper.make_graph([*nodes, last], name, [], [result])
