"""Refusing a checkpoint before anything of it is loaded: code of its own, pickles, missing or cut-off parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftdeploy.errors import ModelError

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_MAX_HEADER = 100_000_000  # bytes; the limit that safetensors itself sets


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
        raise ModelError(
            f"{path} cannot be read: {error}",
            cause="the file was damaged or cut off",
            fix="fetch the checkpoint again",
        ) from error
    if not isinstance(document, dict):
        raise ModelError(
            f"{path} is not a JSON object",
            cause="another file stands under this name",
            fix="fetch the checkpoint again",
        )
    return document
