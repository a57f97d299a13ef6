"""Opening a model refuses what is broken or reaches outside its folder, in words, and sizes threads itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from tiny import write_model_folder

from ftdeploy.errors import ArtifactError, DeviceError
from ftdeploy.predictor import Predictor
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.model import open_model
from ftdeploy.session import open_session
from ftdeploy.signature import SessionOptions, read_signature, write_signature


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model_folder(tmp_path / "model")
    return tmp_path / "model" / "model.onnx"


def _with_data_at(model: Path, location: str) -> Path:
    proto = onnx.load(str(model))
    onnx.save(proto, str(model), save_as_external_data=True, location="weights.data", size_threshold=100)
    proto = onnx.load(str(model), load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    model.write_bytes(proto.SerializeToString())
    return model


def test_a_model_opens_and_answers_with_the_options_asked_for(model: Path) -> None:
    """Threads are what was asked for, not the host's processors, and the outputs have the shapes of the contract."""
    session = open_session(model, SessionOptions(graph_optimization="basic"), threads=1)
    assert session.get_session_options().intra_op_num_threads == 1
    assert session.get_providers() == ["CPUExecutionProvider"]
    ones = np.ones((2, 5), dtype=np.int64)
    logits, embedding = session.run(["logits", "embedding"], {"input_ids": ones, "attention_mask": ones})
    assert logits.shape == (2, 2)
    assert embedding.shape[0] == 2


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (SessionOptions(gelu_approximation=True), "optimization.enable_gelu_approximation", "1"),
        (SessionOptions(qdq_cleanup=True), "session.enable_quant_qdq_cleanup", "1"),
        (SessionOptions(prepacking=False), "session.disable_prepacking", "1"),
        (SessionOptions(spinning=False), "session.intra_op.allow_spinning", "0"),
        (SessionOptions(spinning=False), "session.inter_op.allow_spinning", "0"),
        (SessionOptions(dynamic_block_base=4), "session.dynamic_block_base", "4"),
        (SessionOptions(denormal_as_zero=True), "session.set_denormal_as_zero", "1"),
    ],
)
def test_options_reach_onnx_runtime(model: Path, options: SessionOptions, key: str, value: str) -> None:
    """Each one under its key; and the model answers as before."""
    session = open_session(model, options, threads=1)
    assert session.get_session_options().get_session_config_entry(key) == value
    ones = np.ones((2, 5), dtype=np.int64)
    feeds = {"input_ids": ones, "attention_mask": ones}
    plain = open_session(model, threads=1)
    np.testing.assert_allclose(session.run(["logits"], feeds)[0], plain.run(["logits"], feeds)[0], rtol=1e-5)
    with pytest.raises(Exception, match="key"):
        plain.get_session_options().get_session_config_entry(key)


@pytest.mark.parametrize("kept", [True, False])
def test_memory_options_reach_onnx_runtime(model: Path, kept: bool) -> None:
    """Arena and pattern are properties of the session, not entries."""
    found = open_session(model, SessionOptions(memory_arena=kept, memory_pattern=kept)).get_session_options()
    assert (found.enable_cpu_mem_arena, found.enable_mem_pattern) == (kept, kept)


def test_a_signature_of_before_still_loads(model: Path) -> None:
    """Options that it does not name are as they were when there were none."""
    folder = model.parent
    document = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
    document["session"] = {"graph_optimization": "basic", "disabled_optimizers": ["SkipLayerNormFusion"]}
    (folder / "signature.json").write_text(json.dumps(document), encoding="utf-8")
    expected = SessionOptions(graph_optimization="basic", disabled_optimizers=("SkipLayerNormFusion",))
    assert read_signature(folder).session == expected


def test_the_options_of_a_signature_are_those_that_it_is_opened_and_served_with(model: Path) -> None:
    """What was measured with a model goes with it, into the service as well; a search may lay others over it."""
    folder, key = model.parent, "session.intra_op.allow_spinning"
    signature = read_signature(folder)
    write_signature(folder, signature.model_copy(update={"session": SessionOptions(spinning=False)}))
    assert read_signature(folder).session == SessionOptions(spinning=False)
    served, _lanes = open_model(folder, Limits(threads=1))
    for predictor in (Predictor(folder), served):
        assert predictor.session.get_session_options().get_session_config_entry(key) == "0"
    tried = Predictor(folder, session=SessionOptions(memory_arena=False)).session.get_session_options()
    assert tried.enable_cpu_mem_arena is False


def test_a_provider_that_is_not_installed_is_left_out_with_a_warning(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The bundle of one machine serves on another, slower; who reads its log learns why."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    session = open_session(model, SessionOptions(provider="OpenVINOExecutionProvider"), threads=1)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert "OpenVINOExecutionProvider was measured as faster" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "made in 16 bits, which is slower"),
        ({"graph_optimization": "basic"}, "answers differ"),
    ],
)
def test_int8_that_wants_vnni_is_warned_of_once(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, options: Any, words: str
) -> None:
    """Only where the processor has none, only of a model that wants it, and once for all its sessions."""
    wants = SessionOptions(exact_int8=True, **options)
    monkeypatch.setattr("ftdeploy.session.saturates_int8", lambda: False)
    open_session(model, wants, threads=1)
    monkeypatch.setattr("ftdeploy.session.saturates_int8", lambda: True)
    open_session(model, threads=1)
    assert caplog.text == ""
    for _ in range(2):
        open_session(model, wants, threads=1)
    assert caplog.text.count("made for processors with VNNI") == 1
    assert words in caplog.text
    assert "compress.int8: portable" in caplog.text


@pytest.mark.parametrize("saturates", [True, False])
def test_int8_weights_that_two_nodes_read_are_opened_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saturates: bool
) -> None:
    """Layers that share weights (ALBERT's, and the query of a student with fewer tokens), on a processor with VNNI and
    on one without, where ONNX Runtime is asked for exact products and stops at the second reader of a weight."""
    draw = np.random.default_rng(0)
    weights = numpy_helper.from_array(draw.normal(size=(16, 16)).astype(np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], "first"),
        helper.make_node("MatMul", ["y", "w"], ["z"], "then"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 16]) for name in ("x", "z")]
    graph = helper.make_graph(nodes, "twice", ends[:1], ends[1:], [weights])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(whole, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8)
    monkeypatch.setattr("ftdeploy.session.saturates_int8", lambda: saturates)
    session = open_session(tmp_path / "int8.onnx", SessionOptions(exact_int8=True), threads=1)
    with nullcontext() if saturates else pytest.raises(RuntimeError, match="does not have"):
        assert session.get_session_options().get_session_config_entry("session.x64quantprecision") == "1"
    rows = draw.normal(size=(4, 16)).astype(np.float32)
    expected = rows @ numpy_helper.to_array(weights) @ numpy_helper.to_array(weights)
    found = session.run(["z"], {"x": rows})[0]
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_model_is_an_error_in_words(model: Path, keep: int) -> None:
    """Cut anywhere, the file is refused as an artifact, not with an exception of some C++ core."""
    model.write_bytes(model.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        open_session(model)


def test_a_missing_model_is_an_error_in_words(tmp_path: Path) -> None:
    """No file, no traceback of onnx."""
    with pytest.raises(ArtifactError, match="not a readable ONNX model"):
        open_session(tmp_path / "model.onnx")


def test_weights_beside_the_model_are_read(model: Path) -> None:
    """External data in the same folder is the normal case of a large model."""
    assert open_session(_with_data_at(model, "weights.data")).get_outputs()[0].name == "logits"


def test_weights_outside_the_folder_are_refused(model: Path) -> None:
    """A model cannot make the reader open files elsewhere."""
    _with_data_at(model, "../weights.data")
    (model.parent / "weights.data").rename(model.parent.parent / "weights.data")
    with pytest.raises(ArtifactError, match=r"weights\.data'$"):
        open_session(model)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_weights_behind_a_link_are_refused(model: Path, tmp_path_factory: pytest.TempPathFactory, link: object) -> None:
    """Neither a symbolic nor a hard link smuggles in a file of another folder."""
    _with_data_at(model, "linked.data")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret"
    elsewhere.write_bytes((model.parent / "weights.data").read_bytes())
    assert callable(link)
    link(elsewhere, model.parent / "linked.data")
    with pytest.raises(ArtifactError, match=r"linked\.data'$"):
        open_session(model)


def test_missing_weights_are_an_error_in_words(model: Path) -> None:
    """A model copied without its data file says which file it wants."""
    _with_data_at(model, "gone.data")
    with pytest.raises(ArtifactError, match=r"gone\.data"):
        open_session(model)


def test_a_forced_device_that_is_not_there_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forcing CUDA where onnxruntime has none says so instead of running on the processor."""
    monkeypatch.setattr("ftdeploy.hardware.nvidia_devices", lambda: 0)
    with pytest.raises(DeviceError, match="CUDAExecutionProvider"):
        open_session(model, device="cuda")


def test_onnx_runtime_tells_its_makers_nothing(tmp_path: Path) -> None:
    """Where ftdeploy is imported first, a session starts no uploader and leaves no identifier of the machine behind."""
    write_model_folder(tmp_path / "model")
    home = tmp_path / "home"
    home.mkdir()
    code = "import sys, pathlib, ftdeploy.session as s; s.open_session(pathlib.Path(sys.argv[1]))"
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    clean |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-c", code, str(tmp_path / "model" / "model.onnx")]
    subprocess.run(command, check=True, env=clean)
    assert not list(home.rglob("*"))
