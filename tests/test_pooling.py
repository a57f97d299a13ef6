"""A checkpoint that is taken as it is: which pooling it was trained for, and what it must not have behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.errors import ModelError
from ftdeploy.pooling import choose_pooling


def _write(folder: Path, pooling: Any = None, modules: Any = None) -> Path:
    (folder / "1_Pooling").mkdir()
    for name, document in (("1_Pooling/config.json", pooling), ("modules.json", modules)):
        if document is not None:
            (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("document", "wanted", "found"),
    [
        (None, "auto", "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "auto", "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "auto", "cls"),
        ({"pooling_mode": "cls"}, "auto", "cls"),
        ({"pooling_mode_cls_token": True}, "mean", "mean"),
        ({"pooling_mode_max_tokens": True}, "cls", "cls"),
    ],
)  # fmt: skip
def test_the_pooling_is_the_checkpoints_unless_the_recipe_names_one(
    document: Any, wanted: str, found: str, tmp_path: Path
) -> None:
    """As sentence-transformers writes it, in both of its forms; mean where nothing is said."""
    assert choose_pooling(_write(tmp_path, document), wanted)[0] == found


@pytest.mark.parametrize(
    "document", [{"pooling_mode_max_tokens": True}, {"pooling_mode": "lasttoken"},
                 {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}]
)  # fmt: skip
def test_another_pooling_is_refused(document: Any, tmp_path: Path) -> None:
    """Vectors would be others than it was trained for."""
    with pytest.raises(ModelError, match="ftdeploy has mean and cls"):
        choose_pooling(_write(tmp_path, document), "auto")


def test_a_layer_behind_the_pooling_is_refused(tmp_path: Path) -> None:
    """It would be left out in silence."""
    kinds = ("Transformer", "Pooling", "Dense")
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    with pytest.raises(ModelError, match="a Dense module"):
        choose_pooling(_write(tmp_path, modules=modules), "mean")
    (tmp_path / "modules.json").write_text("[{", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read"):
        choose_pooling(tmp_path, "mean")
