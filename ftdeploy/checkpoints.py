"""Refusing a checkpoint before anything of it is loaded: code of its own, pickles, missing or cut-off parts, and what
its config.json already tells of a run that would fail hours later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftdeploy.errors import ModelError
from ftdeploy.tasks import TASKS

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_MAX_HEADER = 100_000_000  # bytes; the limit that safetensors itself sets
_MAX_ONNX = 2**31  # bytes; a protobuf message, and so an ONNX file with its weights inside, must be smaller
_LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
_POSITIONS = ("max_position_embeddings", "n_positions")
#: They number positions from the padding token's id + 1, so that the first ones are never used.
_OFFSET_POSITIONS = frozenset({
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
})  # fmt: skip


def check_checkpoint(folder: Path) -> None:
    """Refuse a checkpoint folder that cannot or must not be loaded. Reads JSON and file headers only.

    Raises:
        ModelError: no config.json, code of its own (``auto_map``), no safetensors weights, weights that are cut off,
            or no tokenizer.json.
    """
    if not folder.is_dir():
        raise ModelError(
            f"{folder} is not a checkpoint folder",
            cause="`model` names a file, or `member` names a file inside the package",
            fix="name the folder that holds config.json, model.safetensors and tokenizer.json",
        )
    config = _read_json(folder, "config.json", required=True)
    for name, document in (
        ("config.json", config),
        ("tokenizer_config.json", _read_json(folder, "tokenizer_config.json", required=False)),
    ):
        if document.get("auto_map"):
            raise ModelError(
                f"{folder / name} has an `auto_map`: the checkpoint wants to run code of its own",
                cause="it was published with a modelling file that transformers does not have",
                fix="take a checkpoint of an architecture that transformers has; ftdeploy never trusts remote code",
            )
    _check_weights(folder)
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json",
            cause="the checkpoint was saved with a slow tokenizer, or without its tokenizer",
            fix=f"write one: AutoTokenizer.from_pretrained({str(folder)!r}, use_fast=True).save_pretrained(FOLDER)",
        )
    _read_json(folder, "tokenizer.json", required=True)


def check_trainable(folder: Path, *, task: str, max_length: int, layers: Mapping[str, int] | None = None) -> None:
    """Refuse a sound checkpoint with which training, export or packaging is known to fail. Reads JSON and headers only.

    Args:
        folder: passed `check_checkpoint`.
        task: of the recipe.
        max_length: tokens of the longest input.
        layers: key of the recipe -> how many layers there must be for it; None does not ask.

    Raises:
        ModelError: fewer positions than ``max_length``, fewer layers than a key wants, weights too large for one ONNX
            file, or an encoder-decoder for a task that is answered by an encoder.
    """
    config = _read_json(folder, "config.json", required=True)
    kind = repr(config.get("model_type", "unknown"))
    if config.get("is_encoder_decoder") and not TASKS[task].encoder_decoder:
        raise ModelError(
            f"a {kind} checkpoint is an encoder-decoder, and {task} wants an encoder",
            cause="it was made for generating text",
            fix="choose an encoder (bert, distilbert, roberta, electra, deberta, mpnet, ...)",
        )
    positions = positions_of(config)
    if positions is not None and max_length > positions:
        raise ModelError(
            f"model.max_length is {max_length}, and the checkpoint has positions for {positions} tokens",
            cause="it was trained on shorter texts, and has no embedding for a later token",
            fix=f"set model.max_length to at most {positions}, or choose a checkpoint for longer texts",
        )
    _check_layers(config, kind, layers or {})
    size = 4 * sum(math.prod(shape) for path in _weight_files(folder) for shape in _shapes(path))
    if size >= _MAX_ONNX:
        raise ModelError(
            f"the weights take {size / 1e9:.1f} GB as float32, and an ONNX file holds at most 2.1 GB",
            cause="the model is too large for one ONNX file; ftdeploy does not export external data yet",
            fix="choose a smaller checkpoint",
        )


def positions_of(config: dict[str, Any]) -> int | None:
    """How many tokens have a position; None for an architecture without such a limit."""
    kind, found = str(config.get("model_type", "")), _number(config, _POSITIONS)
    # DeBERTa with relative positions only: the number bounds nothing.
    if found is None or (kind.startswith("deberta") and config.get("position_biased_input") is False):
        return None
    pad = config.get("pad_token_id")
    return found - (pad if isinstance(pad, int) else 1) - 1 if kind in _OFFSET_POSITIONS else found


def _check_layers(config: dict[str, Any], kind: str, wanted: Mapping[str, int]) -> None:
    there = _number(config, _LAYERS)
    if there is None and any(wanted.values()):
        raise ModelError(
            f"config.json of this {kind} checkpoint does not say how many layers there are",
            cause="it is of an architecture that ftdeploy does not know, or was written by hand",
            fix=f"choose another checkpoint; or set {' and '.join(key for key in wanted if wanted[key])} to 0",
        )
    many = [key for key, layers in wanted.items() if layers > (there or 0)]
    if many:
        raise ModelError(
            f"{' and '.join(f'{key} is {wanted[key]}' for key in many)}, and the checkpoint has {there} layers",
            cause="the number was chosen for a deeper model",
            fix=f"set {' and '.join(many)} to at most {there}, or choose a deeper checkpoint",
        )


def _number(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of several keys that holds a positive number."""
    found = (config.get(name) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads; others may lie beside them, in another precision."""
    index = _read_json(folder, "model.safetensors.index.json", required=False)
    named = sorted(set(index.get("weight_map", {}).values())) or ["model.safetensors"]
    files = [folder / name for name in named if (folder / name).is_file()]
    return files or sorted(folder.glob("*.safetensors"))


def _shapes(path: Path) -> list[list[int]]:
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header: dict[str, Any] = json.loads(handle.read(min(length, _MAX_HEADER)))
    return [entry["shape"] for name, entry in header.items() if name != "__metadata__"]


def _check_weights(folder: Path) -> None:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        raise ModelError(
            f"{folder} has no weights as safetensors" + (f", only {', '.join(pickles)}" if pickles else ""),
            cause="unpickling weights runs whatever code the file holds, so only safetensors are read",
            fix="convert them where you trust them: AutoModel.from_pretrained(...).save_pretrained(FOLDER)",
        )
    for path in weights:
        _check_safetensors(path)
    index = _read_json(folder, "model.safetensors.index.json", required=False)
    missing = sorted(set(index.get("weight_map", {}).values()) - {path.name for path in weights})
    if missing:
        raise ModelError(
            f"{folder} lacks {', '.join(missing)}",
            cause="the checkpoint comes in several files and was copied in part",
            fix="copy the missing files beside the others",
        )


def _check_safetensors(path: Path) -> None:
    """Hold the file's size against its header: 8 bytes of header length, the JSON header, then the tensors."""
    size = path.stat().st_size
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            # What is not a header reads as an absurd length; it is bounded so that nothing absurd is allocated.
            header: dict[str, Any] = json.loads(handle.read(min(length, _MAX_HEADER)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a safetensors file: {error}",
            cause="it was damaged or cut off, it is a pointer of Git LFS, or another format under this name",
            fix="fetch the file again (with `git lfs pull` where it is a pointer)",
        ) from error
    if size != expected:
        raise ModelError(
            f"{path} has {size:,} bytes and its header announces {expected:,}",
            cause="the download or the copy was cut off",
            fix="fetch the file again",
        )


def damaged(path: Path, error: ValueError) -> ModelError:
    """The error for a file of a checkpoint that is no JSON."""
    return ModelError(
        f"{path} cannot be read: {error}",
        cause="the file was damaged or cut off",
        fix="fetch the checkpoint again",
    )


def _read_json(folder: Path, name: str, *, required: bool) -> dict[str, Any]:
    path = folder / name
    if not path.is_file() and not required:
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} has no {name}",
            cause="the folder is not a checkpoint, or `member` names its parent or child",
            fix="name the folder that holds config.json, model.safetensors and tokenizer.json",
        ) from error
    except ValueError as error:
        raise damaged(path, error) from error
    if not isinstance(document, dict):
        raise ModelError(
            f"{path} is not a JSON object",
            cause="another file stands under this name",
            fix="fetch the checkpoint again",
        )
    return document
