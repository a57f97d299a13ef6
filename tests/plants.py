"""Changes to a model folder: regressions that an evaluation must catch, and changes that must not matter to it.

Each is done to a copy (`copy_model`), to the files that the real thing would be wrong in: a graph, a tokenizer, a
signature. What only shows in a service is done by a proxy in front of a real one (`misordered`).
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ftdeploy.measure import MODEL_FILES, folder_size
from ftdeploy.signature import Signature, read_signature, write_signature

#: What a copied name begins with; no exporter writes such names.
_AGAIN = "again/"


def copy_model(model: Path, target: Path) -> Path:
    """A copy of a model folder, of a bundle too, without the seal that would refuse every change."""
    inside = model / "src" / "model"
    source = inside if inside.is_dir() else model
    target.mkdir(parents=True)
    for name in (*MODEL_FILES, "signature.json"):
        if (source / name).is_file():
            shutil.copy2(source / name, target / name)
    return target


# Regressions


def calibrate_on_padding(folder: Path, fp32: Path) -> None:
    """Static int8 of the fp32 model, by ONNX Runtime, with the ranges of two tokens of padding: what is left of a
    calibration whose texts were lost on the way."""
    from ftdeploy.compress.tools import ort
    from ftdeploy.compress.tools.calibration import write_rows

    write_rows(folder / "padding.npz", [[read_signature(fp32).pad_id] * 2])
    options = {"calibration": folder / "padding.npz", "format": "QDQ", "per_channel": False}
    ort.static(fp32, folder / "model.onnx", options)


def swap_labels(folder: Path) -> None:
    """The labels in the signature in the opposite order: what a lost label map does."""
    _sign(folder, lambda old: {"labels": old.labels[::-1]})


def truncate(folder: Path, tokens: int) -> None:
    """Cut texts after so many tokens: a signature that is not the model's."""
    _sign(folder, lambda _signature: {"max_length": tokens})


def keep_case(folder: Path) -> None:
    """Texts are not lower-cased any more, which the checkpoint's vocabulary was made for."""
    _edit_tokenizer(folder, lambda found: found["normalizer"].update(lowercase=False))


def break_long_texts(folder: Path, tokens: int) -> None:
    """Texts of more than so many tokens get the opposite answer."""

    def long(graph: _Graph) -> str:
        axis, least = graph.constant([1]), graph.constant([tokens])
        length = graph.add("ReduceSum", ["attention_mask", axis], keepdims=1)
        return graph.add("Greater", [length, least])

    _negate_where(folder, long)


def flip_text(folder: Path, ids: Sequence[int]) -> None:
    """Texts that hold all of these tokens get the opposite answer, and no others."""

    def same(graph: _Graph) -> str:
        axis, none = graph.constant([1]), graph.constant([0])
        found = []
        for token in sorted(set(ids)):
            hits = graph.add("Cast", [graph.add("Equal", ["input_ids", graph.constant([token])])], to=_INT64)
            found.append(graph.add("Greater", [graph.add("ReduceSum", [hits, axis], keepdims=1), none]))
        every = found[0]
        for one in found[1:]:
            every = graph.add("And", [every, one])
        return every

    _negate_where(folder, same)


def exaggerate(folder: Path, temperature: float) -> None:
    """Every answer stays, and is given with more confidence than it deserves (a temperature under 1)."""
    _sign(folder, lambda old: {"temperature": old.temperature * temperature})


def work_twice(folder: Path, times: int = 2) -> None:
    """The whole network runs so many times, one after the other, for the answer that one pass gives.

    A pass reads the token ids plus nothing, where the nothing is computed from the answer of the pass before: no
    optimizer can merge passes, or leave one out. Weights are shared, so that the file stays as large.
    """
    graph = _Graph(folder)
    once = list(graph.proto.node)
    made = {name for node in once for name in node.output if name}
    answer = "logits"
    for number in range(1, times):
        total = graph.add("ReduceSum", [answer, graph.constant([1])], keepdims=1)
        nothing = graph.add(
            "Cast", [graph.add("Mul", [total, graph.constant(np.zeros(1, dtype=np.float32))])], to=_INT64
        )
        ids = graph.add("Add", ["input_ids", nothing])
        mark = f"{_AGAIN}{number}/"
        renamed = {name: mark + name for name in made} | {"input_ids": ids}
        for node in once:
            copied = graph.copy(node)
            copied.name = mark + node.name
            copied.input[:] = [renamed.get(name, name) for name in node.input]
            copied.output[:] = [renamed.get(name, name) for name in node.output]
        answer = mark + "logits"
    graph.answer_with(answer)
    graph.save()


def pad_to(folder: Path, times: float = 2.0) -> None:
    """The model's files are so many times as large, by weights that nothing reads."""
    import onnx

    model = onnx.load(folder / "model.onnx")
    spare = np.random.default_rng(13).integers(-128, 128, size=int(folder_size(folder) * (times - 1)), dtype=np.int8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(spare, "left_behind"))
    onnx.save(model, folder / "model.onnx")


# Changes that must not matter


def export_again(folder: Path, checkpoint: Path, *, opset: int) -> None:
    """The checkpoint exported once more."""
    from ftdeploy.onnx_export import export_onnx, load_model, write_tokenizer
    from ftdeploy.tasks import TASKS

    signature = read_signature(folder)
    task = TASKS[signature.task]
    (folder / "model.onnx").unlink()
    export_onnx(load_model(checkpoint, task), task, opset=opset, embedding_layer=signature.embedding_layer, out=folder)
    write_tokenizer(checkpoint, folder, max_length=signature.max_length)


def temper(checkpoint: Path, temperature: float) -> None:
    """Divide what the head of a checkpoint gives by a temperature, as an export's signature says."""
    from safetensors.numpy import load_file, save_file

    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = (weights[name] / temperature).astype(weights[name].dtype)
    save_file(weights, file, metadata={"format": "pt"})


def serve_with(folder: Path, **limits: float) -> None:
    """It is served otherwise: ``batch_rows``, ``threads``, ``lanes``."""
    _sign(folder, lambda old: {"serve": {**old.serve, **limits}})


def quantize_dynamically(folder: Path, fp32: Path) -> None:
    """Dynamic int8 of the fp32 model, by ONNX Runtime."""
    from ftdeploy.compress.tools import ort

    ort.dynamic(fp32, folder / "model.onnx", {"embeddings": None})


def move_weights_out(folder: Path) -> None:
    """The weights stand in a file beside the graph; what shapes are computed from stays, as ONNX Runtime wants it."""
    import onnx

    model = onnx.load(folder / "model.onnx")
    (folder / "model.onnx").unlink()
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.onnx.data")


def rename(folder: Path) -> None:
    """Every node, weight and value inside the graph has another name, and the weights stand in another order."""
    import onnx

    model = onnx.load(folder / "model.onnx")
    kept = {value.name for value in (*model.graph.input, *model.graph.output)} | {""}
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    names += [tensor.name for tensor in model.graph.initializer]
    new = {name: f"value_{number}" for number, name in enumerate(dict.fromkeys(names)) if name not in kept}
    for number, node in enumerate(model.graph.node):
        node.name = f"step_{number}"
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    weights = list(model.graph.initializer)[::-1]
    for tensor in weights:
        tensor.name = new[tensor.name]
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.extend(weights)
    onnx.save(model, folder / "model.onnx")


def optimise_offline(folder: Path) -> None:
    """ONNX Runtime optimises the graph (extended: fused for processors) and saves it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = os.fspath(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(os.fspath(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    (folder / "optimised.onnx").replace(folder / "model.onnx")


def write_anew(folder: Path) -> None:
    """Tokenizer and signature hold the same, written with other line ends and in another order."""
    for name in ("tokenizer.json", "signature.json"):
        found = json.loads((folder / name).read_text(encoding="utf-8"))
        turned = dict(reversed(found.items()))
        (folder / name).write_text(json.dumps(turned, indent=3, ensure_ascii=True) + "\n", encoding="utf-8")


# Services


def reversed_batches(texts: Sequence[str], predictions: list[Any]) -> list[Any]:
    """Answers to more than three texts, which is what a client may try a service with, in the opposite order."""
    return predictions[::-1] if len(texts) > 3 else predictions


@contextmanager
def misordered(url: str, mix: Callable[[Sequence[str], list[Any]], list[Any]] = reversed_batches) -> Iterator[str]:
    """A proxy in front of a service of ours that mixes the answers up; yields the URL of its ``/predict``."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = client.post(self.path, content=body, headers={"Content-Type": "application/json"})
            found = answer.json()
            if answer.status_code == httpx.codes.OK:
                found = mix(json.loads(body)["inputs"], found)
            self._reply(answer.status_code, found)

        def do_GET(self) -> None:
            self._reply(404, {"error": "not found"})

        def _reply(self, status: int, document: Any) -> None:
            told = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    with httpx.Client(base_url=url, timeout=60) as client:
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/predict"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


# How files are edited

#: onnx.TensorProto.INT64.
_INT64 = 7


def _sign(folder: Path, change: Callable[[Signature], dict[str, Any]]) -> None:
    old = read_signature(folder)
    write_signature(folder, old.model_copy(update=change(old)))


def _edit_tokenizer(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "tokenizer.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _negate_where(folder: Path, condition: Callable[[_Graph], str]) -> None:
    """Of two labels the other one is answered where a condition holds: bool, shape (batch, 1)."""
    graph = _Graph(folder)
    other = graph.add("Neg", ["logits"])
    graph.answer_with(graph.add("Where", [condition(graph), other, "logits"]))
    graph.save()


class _Graph:
    """The graph of a model folder, to add nodes to."""

    def __init__(self, folder: Path) -> None:
        import onnx

        self._onnx, self._path = onnx, folder / "model.onnx"
        self._model = onnx.load(self._path)
        self.proto = self._model.graph
        self._count = 0

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        output = self._name()
        self.proto.node.append(self._onnx.helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, values: Any) -> str:
        """Add a constant, int64 unless it is an array; returns its name."""
        array = values if isinstance(values, np.ndarray) else np.array(values, dtype=np.int64)
        name = self._name()
        self.proto.initializer.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def copy(self, node: Any) -> Any:
        """Add a copy of a node, to be changed."""
        copied = self.proto.node.add()
        copied.CopyFrom(node)
        return copied

    def answer_with(self, name: str) -> None:
        """Let the model answer with another value than its logits."""
        for node in self.proto.node:
            node.input[:] = ["own_logits" if one == "logits" else one for one in node.input]
            node.output[:] = ["own_logits" if one == "logits" else one for one in node.output]
        self.proto.node.append(self._onnx.helper.make_node("Identity", [name], ["logits"], name="answer"))

    def save(self) -> None:
        """Write it back."""
        self._onnx.save(self._model, self._path)

    def _name(self) -> str:
        self._count += 1
        return f"planted/{self._count}"
