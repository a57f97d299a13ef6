"""The compression tools on a small encoder of the real kind: each one makes what it says, or says why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny import write_model_folder

from ftdeploy.child import run_module
from ftdeploy.compress.search import AUTO, FAMILIES
from ftdeploy.compress.tools import TOOLS, graph, int8
from ftdeploy.compress.tools.calibration import READ_ROWS, batches, read_rows, write_rows
from ftdeploy.compress.tools.ort import to_float16
from ftdeploy.compress.tools.quantizers import QUANTIZERS
from ftdeploy.errors import DataError, DeviceError
from ftdeploy.recipe.compress import CandidateName
from ftdeploy.signature import Signature, read_signature

WORDS, WIDTH = 1200, 64
EXCLUDED, TABLE = "/encoder/query/MatMul", "/embeddings/Gather"


def _weights(seed: int = 5) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    random = np.random.default_rng(seed)
    shapes = {"query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH), "up": (WIDTH, 2 * WIDTH),
              "down": (2 * WIDTH, WIDTH)}  # fmt: skip
    found = {name: random.normal(0, 0.15, shape) for name, shape in shapes.items()}
    found |= {"table": random.normal(0, 1, (WORDS, WIDTH)), "head": random.normal(0, 0.3, (2, WIDTH)),
              "head_bias": np.array([0.1, -0.1]), "gain": np.ones(WIDTH), "shift": np.zeros(WIDTH)}  # fmt: skip
    return {name: value.astype(np.float32) for name, value in found.items()}


def write_encoder(folder: Path) -> None:
    """A model folder: one layer of attention and feed-forward, the latter twice with the same weights, a Gemm at the
    end, and a mask of the lowest float."""
    write_model_folder(folder)
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["x"], name="/embeddings/Gather"),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Sub", ["unit", "mask"], ["hidden"]),
        node("Mul", ["hidden", "lowest"], ["penalty"]),
        node("Unsqueeze", ["penalty", "one"], ["mask_row"]),
        node("Unsqueeze", ["mask", "two"], ["mask_column"]),
        *(node("MatMul", ["x", name], [f"{name}_out"], name=f"/encoder/{name}/MatMul")
          for name in ("query", "key", "value")),
        node("Transpose", ["key_out"], ["turned"], perm=[0, 2, 1]),
        node("MatMul", ["query_out", "turned"], ["scores"], name="/encoder/scores/MatMul"),
        node("Mul", ["scores", "eighth"], ["scaled"]),
        node("Add", ["scaled", "mask_row"], ["masked"], name="/encoder/mask/Add"),
        node("Softmax", ["masked"], ["shares"], axis=-1),
        node("MatMul", ["shares", "value_out"], ["attended"], name="/encoder/attended/MatMul"),
        node("Add", ["attended", "x"], ["beside"], name="/encoder/beside/Add"),
        node("LayerNormalization", ["beside", "gain", "shift"], ["norm"], name="/encoder/LayerNorm"),
        node("MatMul", ["norm", "up"], ["wide"], name="/encoder/up/MatMul"),
        node("Relu", ["wide"], ["positive"], name="/encoder/Relu"),
        node("Constant", [], ["half"], value=numpy_helper.from_array(np.array(0.5, dtype=np.float32))),
        node("Mul", ["positive", "half"], ["active"], name="/encoder/half/Mul"),  # as GELU ends
        node("MatMul", ["active", "down"], ["narrow"], name="/encoder/down/MatMul"),
        node("Add", ["narrow", "norm"], ["first"], name="/encoder/first/Add"),
        # Once more with the same weights, as ALBERT's layers are one.
        node("LayerNormalization", ["first", "gain", "shift"], ["again_norm"], name="/encoder/again/LayerNorm"),
        node("MatMul", ["again_norm", "up"], ["again_wide"], name="/encoder/again/up/MatMul"),
        node("Relu", ["again_wide"], ["again_positive"], name="/encoder/again/Relu"),
        node("Mul", ["again_positive", "half"], ["again_active"], name="/encoder/again/half/Mul"),
        node("MatMul", ["again_active", "down"], ["again_narrow"], name="/encoder/again/down/MatMul"),
        node("Add", ["again_narrow", "again_norm"], ["last"], name="/encoder/last/Add"),
        node("Mul", ["last", "mask_column"], ["kept"]),
        node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        node("ReduceSum", ["mask_column", "one"], ["count"], keepdims=0),
        node("Div", ["sum", "count"], ["embedding"]),
        node("Mul", ["embedding", "half"], ["pooled"], name="/head/half/Mul"),  # as DeBERTa's pooler ends
        node("Gemm", ["pooled", "head", "head_bias"], ["logits"], name="/head/Gemm", transB=1),
    ]  # fmt: skip
    for number, one in enumerate(nodes):
        one.name = one.name or f"/node_{number}"  # onnx-neural-compressor and others tell nodes by name
    constants = {"one": np.array([1]), "two": np.array([2]), "unit": np.float32(1), "eighth": np.float32(0.125),
                 "lowest": np.float32(np.finfo(np.float32).min)}  # fmt: skip
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in {**_weights(), **constants}.items()]
    value = helper.make_tensor_value_info
    inputs = [value(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")]
    outputs = [
        value("logits", TensorProto.FLOAT, ["batch", 2]),
        value("embedding", TensorProto.FLOAT, ["batch", WIDTH]),
    ]
    made = helper.make_graph(nodes, "encoder", inputs, outputs, initializer=tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "model.onnx"))


def _rows(count: int, seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [list(random.integers(0, WORDS, random.integers(5, 9))) for _ in range(count)]


#: Runs many tools in one process, because importing Neural Compressor takes seconds.
_MAKE_ALL = """
import json, os, sys
from pathlib import Path
from ftdeploy.compress.tools import TOOLS
from ftdeploy.compress.worker import make

source, jobs = Path(sys.argv[1]), json.loads(sys.argv[2])
reasons = {}
for name, (tool, options) in jobs.items():
    folder = Path(name).resolve()
    folder.mkdir()
    os.chdir(folder)
    try:
        make(TOOLS[tool], source, folder / "model.onnx", options)
    except BaseException as error:
        reasons[name] = f"{type(error).__name__}: {error}"
    os.chdir(folder.parent)
Path("reasons.json").write_text(json.dumps(reasons))
"""


@dataclass(frozen=True)
class Made:
    """What all quantizers made of one model; of those in `reasons`, nothing."""

    source: Path
    folder: Path
    reasons: Mapping[str, str]

    def model(self, name: str) -> onnx.ModelProto:
        return onnx.load(str(self.folder / name / "model.onnx"))

    def logits(self, name: str, rows: list[list[int]]) -> np.ndarray[Any, Any]:
        """Of each row alone."""
        path = self.source / "model.onnx" if name == "fp32" else self.folder / name / "model.onnx"
        return _logits(path, rows)


def _logits(path: Path, rows: list[list[int]]) -> np.ndarray[Any, Any]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    found = []
    for row in rows:
        ids = np.array([row], dtype=np.int64)
        found.append(session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    return np.array(found)


#: Tools without the option `exclude`, or that make no smaller matrices.
WHOLE = {"inc-tuned", "optimum-fused", "ort-embeddings", "ort-fp16"}
#: Tools whose signed weights take the full range unless they are asked not to.
SIGNED = {"inc-dynamic", "inc-static", "inc-smooth", "onnx-nc-dynamic", "onnx-nc-static", "onnx-nc-smooth",
          "optimum-dynamic", "ort-dynamic", "ort-static"}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Every quantizer's model of the encoder, for any processor; and every tool's with two matrices and the embedding
    left in float, for those with VNNI."""
    folder = tmp_path_factory.mktemp("tools")
    source = folder / "source"
    write_encoder(source)
    rows = _rows(48, seed=1)
    write_rows(folder / "rows.npz", rows, np.argmax(_logits(source / "model.onnx", rows), axis=1))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "num_attention_heads": 1, "hidden_size": 64}))
    files = {"calibration": str(folder / "rows.npz"), "evaluation": str(folder / "rows.npz"),
             "config": str(folder / "config.json")}  # fmt: skip
    jobs = {name: (one.tool, {**one.options, **files, "reduce_range": True}) for name, one in QUANTIZERS.items()}
    jobs |= {f"exclude-{tool}": (tool, {**files, "alpha": 0.5, "exclude": [EXCLUDED, "/head/Gemm", TABLE],
                                        "embeddings": 8, "reduce_range": False})
             for tool in set(TOOLS) - WHOLE}  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run([sys.executable, "-c", _MAKE_ALL, source, json.dumps(jobs)], cwd=folder, env=environment,
                           capture_output=True, text=True, check=False)  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    return Made(source, folder, json.loads((folder / "reasons.json").read_text()))


def _float_weights(model: onnx.ModelProto) -> int:
    """Elements of float matrices, scales left out."""
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer
               if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
               and "scale" not in tensor.name)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(QUANTIZERS) - {"ort-fp16", "optimum-fused"}))
def test_a_quantizer_makes_a_smaller_model_that_answers_alike(made: Made, name: str) -> None:
    """Its matrices are integers, not floats rounded in place; its answers follow fp32's on rows it has not seen."""
    assert name not in made.reasons, made.reasons[name]
    if name == "inc-tuned":  # it may keep matrices in float to reach its goal
        assert _float_weights(made.model(name)) <= _float_weights(onnx.load(str(made.source / "model.onnx")))
    else:
        assert _float_weights(made.model(name)) <= 2 * WIDTH, "more than the head is left in float"
    rows = _rows(40, seed=2)
    expected, found = made.logits("fp32", rows), made.logits(name, rows)
    assert np.isfinite(found).all()
    assert np.corrcoef(expected[:, 0] - expected[:, 1], found[:, 0] - found[:, 1])[0, 1] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(QUANTIZERS) - {"ort-fp16", "optimum-fused"}))
def test_no_quantizer_makes_weights_that_need_vnni_where_there_is_none(made: Made, name: str) -> None:
    """Whichever tool it is of, no sum of two products can leave int16."""
    assert not int8.may_saturate(made.model(name))


@pytest.mark.slow
@pytest.mark.parametrize("tool", sorted(SIGNED))
def test_a_tool_takes_all_eight_bits_where_it_may(made: Made, tool: str) -> None:
    """Where sums are exact, no bit is given away for nothing."""
    assert int8.may_saturate(made.model(f"exclude-{tool}"))


@pytest.mark.slow
def test_fusing_changes_no_answer(made: Made) -> None:
    """Optimum's optimized model is fp32 in fewer nodes."""
    assert "optimum-fused" not in made.reasons, made.reasons["optimum-fused"]
    rows = _rows(8, seed=2)
    np.testing.assert_allclose(made.logits("optimum-fused", rows), made.logits("fp32", rows), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("tool", sorted(set(TOOLS) - WHOLE))
def test_an_excluded_node_stays_in_float(made: Made, tool: str) -> None:
    """Its matrix stands in the graph as it was, and is read by a MatMul; the others are quantized. Also a Gemm, which
    some tools make a MatMul of another name before they read the names, and an embedding."""
    name = f"exclude-{tool}"
    assert name not in made.reasons, made.reasons[name]
    model = made.model(name)
    floats = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer
              if one.data_type == TensorProto.FLOAT}  # fmt: skip
    shapes = [value.shape for value in floats.values() if value.ndim == 2]
    assert (WIDTH, 2 * WIDTH) not in shapes, "the feed-forward part is quantized"
    read = {name for node in model.graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input}
    kept = [value for name, value in floats.items() if name in read]
    assert any(value.shape == (WIDTH, WIDTH) for value in kept), "the excluded MatMul is float"
    assert any(sorted(value.shape) == [2, WIDTH] for value in kept), "the excluded Gemm is float"
    looked_up = [floats[node.input[0]] for node in model.graph.node if node.name == TABLE and node.op_type == "Gather"]
    assert [value.shape for value in looked_up] == [(WORDS, WIDTH)], "the excluded embedding is float"


@pytest.mark.slow
def test_float16_is_refused_without_a_gpu(made: Made) -> None:
    """With the reason, instead of a model that is slower."""
    assert made.reasons["ort-fp16"].startswith("DeviceError: float16 is of no use here")


def test_float16_keeps_inputs_outputs_and_answers(tmp_path: Path) -> None:
    """What a GPU is given: weights of half the size, outputs still float32."""
    write_encoder(tmp_path)
    model = to_float16(onnx.load(str(tmp_path / "model.onnx")))
    onnx.save(model, str(tmp_path / "half.onnx"))
    assert not _float_weights(model)
    assert {one.type.tensor_type.elem_type for one in model.graph.output} == {TensorProto.FLOAT}
    rows = _rows(4, seed=2)
    np.testing.assert_allclose(_logits(tmp_path / "half.onnx", rows), _logits(tmp_path / "model.onnx", rows), atol=0.05)


def test_weights_in_blocks_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    """Activations are quantized by block of a row, so a row beside others gives what it gives alone."""
    import onnxruntime

    write_encoder(tmp_path)
    TOOLS["ort-weight-only"](tmp_path, tmp_path / "made.onnx", {"bits": 8, "embeddings": 8})
    session = onnxruntime.InferenceSession(str(tmp_path / "made.onnx"), providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(3).integers(0, WORDS, (6, 7))
    together = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    alone = _logits(tmp_path / "made.onnx", [list(row) for row in ids])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_products_and_tables_are_told_from_weights(tmp_path: Path) -> None:
    """Attention's two products hold no weights; the word table is the one large Gather."""
    write_encoder(tmp_path)
    model = graph.load(tmp_path / "model.onnx")
    assert graph.products(model) == ["/encoder/scores/MatMul", "/encoder/attended/MatMul"]
    assert graph.tables(model) == ["/embeddings/Gather"]


def test_a_factor_before_a_matrix_gets_a_number_a_channel_and_each_node_its_weights(tmp_path: Path) -> None:
    """Room for what SmoothQuant and AWQ multiply and divide by; the answers stay as they were, bit for bit."""
    write_encoder(tmp_path / "source")
    graph.with_room_for_factors(tmp_path / "source", tmp_path / "wide")
    model = graph.load(tmp_path / "wide" / "model.onnx")
    shapes = {one.name: list(one.dims) for one in model.graph.initializer}
    factors = [node.input[1] for node in model.graph.node if node.name.endswith("half/Mul")]
    assert [shapes[name] for name in factors] == [[2 * WIDTH], [2 * WIDTH], [WIDTH]]
    read = [name for node in model.graph.node for name in node.input if shapes.get(name)]
    weights = {name for name, dims in shapes.items() if len(dims) > 1 or dims == [WIDTH]}
    assert sorted(name for name in read if name in weights) == sorted(weights), "some weights are read by two nodes"
    assert len([one for one in model.graph.node if one.op_type == "MatMul"]) == 9
    rows = _rows(4, seed=2)
    before, after = (_logits(tmp_path / name / "model.onnx", rows) for name in ("source", "wide"))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("bits", [4, 8])
def test_embeddings_in_blocks_are_within_half_a_step(bits: int) -> None:
    """As ONNX Runtime reads them, also where a row is no whole number of blocks."""
    import onnxruntime

    table = np.random.default_rng(4).normal(0, 1, (WORDS, 200)).astype(np.float32)
    node = helper.make_node("Gather", ["table", "input_ids"], ["rows"], name="lookup")
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n"])]
    outputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 200])]
    made = helper.make_graph([node], "g", inputs, outputs, initializer=[numpy_helper.from_array(table, "table")])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    before = model.ByteSize()
    packed = graph.pack(model, bits=0, block=32, embeddings=bits)
    session = onnxruntime.InferenceSession(packed.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"input_ids": np.arange(WORDS)})[0]
    steps = np.repeat(graph.quantize_table(table, bits=bits)[1], graph.TABLE_BLOCK, axis=1)[:, :200]
    # Half a step of the value, half a step of the zero point.
    assert (np.abs(found - table) <= steps * 1.001).all()
    assert packed.ByteSize() < before * (bits + 1) / 32


@pytest.mark.parametrize("bits", [4, 8])
def test_a_rounded_table_is_stored_without_any_further_loss(bits: int) -> None:
    """What a student learned with is what ONNX Runtime reads, in another representation."""
    table = np.random.default_rng(4).normal(0, 1, (WORDS, 200)).astype(np.float32)
    once = graph.rounded_table(table, bits=bits)
    assert 0 < np.abs(once - table).max() < 1
    np.testing.assert_allclose(graph.rounded_table(once, bits=bits), once, atol=1e-6)
    (integers, scales, _), (again, rescaled, _) = (graph.quantize_table(one, bits=bits) for one in (table, once))
    np.testing.assert_array_equal(again, integers)
    np.testing.assert_allclose(rescaled, scales, rtol=1e-6)


def test_calibration_batches_hold_no_padding(tmp_path: Path) -> None:
    """All rows come back, alike lengths together; with `one_length` all batches have one shape, and a row that was cut
    keeps its closing token."""
    rows = [[1, *range(10, 10 + length), 2] for length in (3, 5, 3, 8, 5, 5)]
    write_rows(tmp_path / "rows.npz", rows, [0, 1, 0, 1, 0, 1])
    found, labels = read_rows(tmp_path / "rows.npz")
    assert [list(row) for row in found] == rows
    assert labels is not None
    assert list(labels) == [0, 1, 0, 1, 0, 1]
    signature = Signature(name="x", task="text-classification", labels=("a", "b"), max_length=32)
    grouped = batches(found, signature)
    assert sorted(tuple(row) for one in grouped for row in one["input_ids"]) == sorted(map(tuple, rows))
    assert all(one["attention_mask"].all() for one in grouped)
    alike = batches(found, signature, one_length=True)
    assert {one["input_ids"].shape[1] for one in alike} == {7}
    assert all((one["input_ids"][:, -1] == 2).all() for one in alike)


def test_of_a_large_file_a_few_hundred_rows_are_read(tmp_path: Path) -> None:
    """At even distances, each with its own label; the file may hold all training rows."""
    rows = [[number] * (1 + number % 3) for number in range(3 * READ_ROWS)]
    write_rows(tmp_path / "rows.npz", rows, range(3 * READ_ROWS))
    found, labels = read_rows(tmp_path / "rows.npz")
    assert labels is not None
    assert list(labels) == list(range(0, 3 * READ_ROWS, 3))
    assert [list(row) for row in found] == [rows[label] for label in labels]


def test_a_missing_calibration_file_is_named(tmp_path: Path) -> None:
    """Not the tool's traceback, but which file is missing."""
    write_encoder(tmp_path)
    with pytest.raises(DataError, match=r"none\.npz"):
        TOOLS["ort-static"](tmp_path, tmp_path / "made.onnx", {"calibration": str(tmp_path / "none.npz")})


def test_float16_names_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says where the model runs."""
    monkeypatch.setenv("FTDEPLOY_DEVICE", "cpu")
    with pytest.raises(DeviceError, match="CPUExecutionProvider"):
        TOOLS["ort-fp16"](tmp_path, tmp_path / "made.onnx", {})


def test_a_recipe_may_name_exactly_what_there_is() -> None:
    """The candidates of a recipe are fp32, the search's families and the quantizers; none more, none less."""
    assert set(get_args(CandidateName)) == {"fp32", *FAMILIES, *QUANTIZERS}
    assert set(AUTO) <= set(QUANTIZERS)


def test_every_quantizer_names_a_tool() -> None:
    """And a tool that calibrates says so, so that the search makes the file."""
    for name, one in QUANTIZERS.items():
        assert one.tool in TOOLS, name
        json.dumps(dict(one.options))


def _worker(folder: Path, tool: str, options: Mapping[str, Any]) -> tuple[int, str]:
    """Exit status and last line of stderr."""
    found = run_module(
        "ftdeploy.compress.worker", [tool, folder, folder / "made.onnx", json.dumps(options)], cwd=folder
    )
    return found.returncode, (found.stderr.strip().splitlines() or [""])[-1]


def test_the_worker_leaves_a_whole_file_or_a_reason(tmp_path: Path) -> None:
    """What is made stands at OUT alone; an option that is wrong is a line, and OUT is not there."""
    write_encoder(tmp_path)
    assert _worker(tmp_path, "ort-weight-only", {"bits": 8})[0] == 0
    assert read_signature(tmp_path).name == "tiny"
    assert not list(tmp_path.glob("unfinished*"))
    (tmp_path / "made.onnx").unlink()
    status, reason = _worker(tmp_path, "ort-weight-only", {"bits": 7})
    assert status == 1
    assert "bits" in reason
    assert not (tmp_path / "made.onnx").exists()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("exit(0)", "ended without an error and without a model (it called exit(0))"),
        ("return None", "CompressionError: ended without an error and without a model"),
        ("open(out, 'wb').close()", "CompressionError: ended without an error and without a model"),
        ("raise RuntimeError('\\n\\nno such operator\\nat line 3')", "RuntimeError: no such operator"),
        ("m = onnx.load(source / 'model.onnx'); del m.graph.output[1]; onnx.save(m, out)",
         "CompressionError: changed the model's outputs from logits, embedding to logits"),
    ],
)  # fmt: skip
def test_a_silent_failure_becomes_a_reason(tmp_path: Path, body: str, expected: str) -> None:
    """Whatever a tool does, the last line says why there is no model."""
    write_model_folder(tmp_path)
    (tmp_path / "run.py").write_text(
        "import sys, onnx\nfrom ftdeploy.compress import tools, worker\n"
        f"def tool(source, out, options):\n    {body}\n"
        "worker.TOOLS = {'fake': tool}\n"
        "sys.exit(worker.main('fake', sys.argv[1], sys.argv[2], '{}'))\n"
    )
    found = subprocess.run([sys.executable, "run.py", tmp_path, tmp_path / "made.onnx"], cwd=tmp_path,
                           capture_output=True, text=True, check=False)  # fmt: skip
    assert found.returncode == 1
    assert found.stderr.strip().splitlines()[-1] == expected
    assert not (tmp_path / "made.onnx").exists()
