"""Checkpoints that must not be loaded are refused by looking at their files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftdeploy.checkpoints import check_checkpoint
from ftdeploy.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint with one real safetensors file."""
    import numpy as np
    from safetensors.numpy import save_file

    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    save_file({"weight": np.zeros((4, 4), dtype=np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


def test_good_checkpoint_passes(folder: Path) -> None:
    """Nothing is said about a folder with everything in place."""
    check_checkpoint(folder)


def test_file_instead_of_a_folder(folder: Path) -> None:
    """`member` may name a file by mistake."""
    with pytest.raises(ModelError, match="not a checkpoint folder"):
        check_checkpoint(folder / "config.json")


@pytest.mark.parametrize(
    ("name", "words"), [("config.json", "no config.json"), ("tokenizer.json", "no tokenizer.json")]
)
def test_missing_part_is_named(folder: Path, name: str, words: str) -> None:
    """A folder without configuration or fast tokenizer is refused, with what to do."""
    (folder / name).unlink()
    with pytest.raises(ModelError, match=words):
        check_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused(folder: Path, name: str) -> None:
    """`auto_map` asks transformers to run Python from the checkpoint."""
    (folder / name).write_text(json.dumps({"auto_map": {"AutoModel": "modeling.Evil"}}))
    with pytest.raises(ModelError, match="auto_map"):
        check_checkpoint(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickles_are_refused(folder: Path, name: str) -> None:
    """Weights that only exist as pickles are named and not read."""
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ModelError, match=name):
        check_checkpoint(folder)


def test_cut_off_weights_are_found_without_loading(folder: Path) -> None:
    """The file's size is held against its header."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ModelError, match="announces"):
        check_checkpoint(folder)


@pytest.mark.parametrize(
    "content", [b"", b"1234567", b"\xff" * 64, b"version https://git-lfs.github.com/spec/v1\n" * 3]
)
def test_weights_that_are_something_else(folder: Path, content: bytes) -> None:
    """An empty file, noise, and a pointer of Git LFS are no safetensors."""
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="not a safetensors file"):
        check_checkpoint(folder)


def test_missing_shard_is_named(folder: Path) -> None:
    """A checkpoint in several files must be whole."""
    index = {"weight_map": {"weight": "model.safetensors", "bias": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="model-00002-of-00002"):
        check_checkpoint(folder)


@pytest.mark.parametrize("content", ["{", "[1]", "\udcff"])
def test_configuration_that_is_not_json(folder: Path, content: str) -> None:
    """A broken config.json is told as such."""
    (folder / "config.json").write_text(content, errors="surrogateescape")
    with pytest.raises(ModelError, match=r"config\.json"):
        check_checkpoint(folder)
