"""Opening a model refuses what is broken or reaches outside its folder, in words, and sizes threads itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny import write_model_folder

from ftdeploy.errors import ArtifactError, DeviceError
from ftdeploy.session import open_session
from ftdeploy.signature import SessionOptions


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
