"""How a checkpoint without a head makes one vector of its tokens': what it was trained for, and where that is noted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy.checkpoints import damaged
from ftdeploy.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

#: Modules of sentence-transformers that ftdeploy has: the last one changes nothing about what is of length 1 already.
_KNOWN = ("Transformer", "Pooling", "Normalize")
#: Their key of a pooling -> ours.
_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def choose_pooling(folder: Path, wanted: str) -> tuple[str, str]:
    """How the vectors of tokens become one, and why.

    Args:
        folder: of the checkpoint; ``modules.json`` and ``1_Pooling/config.json`` are read, where sentence-transformers
            left them.
        wanted: ``model.pooling``.

    Raises:
        ModelError: the checkpoint wants a module or a pooling that ftdeploy does not have.
    """
    for module in _read(folder / "modules.json") or ():
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in _KNOWN:
            raise ModelError(
                f"{folder / 'modules.json'} has a {kind} module behind the transformer",
                cause=f"the vectors that it was trained for are made by it; ftdeploy has {', '.join(_KNOWN)}",
                fix="choose a checkpoint whose vectors are the mean of the tokens', or the first one's",
            )
    if wanted != "auto":
        return wanted, "set by the recipe"
    found = _read(folder / "1_Pooling" / "config.json")
    if found is None:
        return "mean", "the checkpoint names none"
    modes = [key for key, value in found.items() if key.startswith("pooling_mode_") and value is True]
    stated = found.get("pooling_mode")  # since version 5 of sentence-transformers
    names = [_MODES.get(mode, mode) for mode in modes] or [str(stated)]
    if len(names) != 1 or names[0] not in _MODES.values():
        raise ModelError(
            f"{folder / '1_Pooling' / 'config.json'} wants {' and '.join(names)}, and ftdeploy has mean and cls",
            cause="the checkpoint was trained with another pooling",
            fix="choose another checkpoint; `model.pooling` overrules it, for other vectors than it was trained for",
        )
    return names[0], "as the checkpoint's 1_Pooling says"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise damaged(path, error) from error


def note_pooling(config: PretrainedConfig, pooling: str) -> None:
    """Write it into a checkpoint's configuration, where the export reads it."""
    from ftdeploy.onnx_export import POOLING_KEY

    setattr(config, POOLING_KEY, pooling)
