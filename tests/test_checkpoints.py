"""Checkpoints that must not be loaded are refused by looking at their files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.checkpoints import check_checkpoint, check_trainable
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


SOUND: dict[str, Any] = {"model_type": "bert", "num_hidden_layers": 4, "max_position_embeddings": 512}


def trainable(folder: Path, config: dict[str, Any], *, max_length: int = 128, embedding_layer: int | None = 2) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    check_checkpoint(folder)
    layers = {"export.embedding_layer": embedding_layer or 0}
    check_trainable(folder, task="text-classification", max_length=max_length, layers=layers)


@pytest.mark.parametrize(
    ("config", "usable"),
    [
        (SOUND, 512),
        (SOUND | {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        (SOUND | {"model_type": "mpnet", "max_position_embeddings": 514}, 512),
        ({"model_type": "gpt2", "n_layer": 3, "n_positions": 1024}, 1024),
    ],
)
def test_longest_input_that_a_checkpoint_takes(folder: Path, config: dict[str, Any], usable: int) -> None:
    """One token more is refused with the number that fits; torch would fail at the first long text."""
    trainable(folder, config, max_length=usable)
    with pytest.raises(ModelError, match=f"positions for {usable} tokens") as caught:
        trainable(folder, config, max_length=usable + 1)
    assert str(usable) in caught.value.fix


@pytest.mark.parametrize("name", ["RobertaModel", "MPNetModel"])
def test_positions_are_counted_as_transformers_counts_them(folder: Path, name: str) -> None:
    """A real model runs with the usable length and fails with one token more."""
    import torch
    import transformers

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    made = getattr(transformers, name.replace("Model", "Config"))(vocab_size=20, max_position_embeddings=18, **sizes)
    made.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    network = getattr(transformers, name)(made).eval()
    trainable(folder, config, max_length=16, embedding_layer=1)
    network(torch.full((1, 16), 5))
    with pytest.raises(ModelError, match="positions for 16 tokens"):
        trainable(folder, config, max_length=17, embedding_layer=1)
    with pytest.raises(IndexError):
        network(torch.full((1, 17), 5))


def test_relative_positions_are_no_limit(folder: Path) -> None:
    """DeBERTa-v3 takes longer texts than its number of positions; T5 and XLNet state none."""
    deberta = SOUND | {"model_type": "deberta-v2", "position_biased_input": False}
    trainable(folder, deberta, max_length=2048)
    with pytest.raises(ModelError, match="positions"):
        trainable(folder, deberta | {"position_biased_input": True}, max_length=2048)
    trainable(folder, {"model_type": "xlnet", "n_layer": 12}, max_length=2048)


def test_layer_of_the_embedding(folder: Path) -> None:
    """It must be one that is there; the embeddings (0) always are, and who does not ask is not answered."""
    trainable(folder, SOUND, embedding_layer=4)
    with pytest.raises(ModelError, match="has 4 layers"):
        trainable(folder, SOUND, embedding_layer=5)
    with pytest.raises(ModelError, match=r"'strange'.*does not say how many layers"):
        trainable(folder, {"model_type": "strange"})
    trainable(folder, {"model_type": "strange"}, embedding_layer=0)
    trainable(folder, {"model_type": "strange"}, embedding_layer=None)


def test_weights_beyond_one_onnx_file(folder: Path) -> None:
    """Counted as float32, because that is what is exported; half precision on disk does not help. Files that are not
    loaded do not count."""
    import struct

    def huge(name: str, rows: int) -> None:
        entry = {"dtype": "F16", "shape": [rows, 1024], "data_offsets": [0, rows * 2048]}
        header = json.dumps({"weight": entry}).encode()
        with (folder / name).open("wb") as handle:
            handle.write(struct.pack("<Q", len(header)) + header)
            handle.truncate(8 + len(header) + rows * 2048)  # sparse

    huge("model.fp16.safetensors", 600_000)
    trainable(folder, SOUND)
    huge("model.safetensors", 500_000)
    trainable(folder, SOUND)
    huge("model.safetensors", 600_000)
    with pytest.raises(ModelError, match=r"2\.5 GB as float32"):
        trainable(folder, SOUND)


def test_encoder_decoder_for_a_label(folder: Path) -> None:
    """T5 and BART are for generating text."""
    with pytest.raises(ModelError, match="encoder-decoder"):
        trainable(folder, SOUND | {"model_type": "t5", "is_encoder_decoder": True})
