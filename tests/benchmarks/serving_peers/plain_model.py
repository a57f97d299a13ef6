"""What most people write around an ONNX model: its tokenizer, one session at its defaults, softmax. For the peers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class PlainModel:
    """The model in the folder that MODEL names."""

    def __init__(self) -> None:
        folder = Path(os.environ["MODEL"])
        about = json.loads((folder / "signature.json").read_bytes())
        self.labels: list[str] = about["labels"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=about["pad_id"])
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        self._names = {one.name for one in self.session.get_inputs()}

    def answer(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """For each text all labels with scores, best first."""
        rows = self.tokenizer.encode_batch(texts)
        feeds = {
            "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
            "token_type_ids": np.array([row.type_ids for row in rows], dtype=np.int64),
        }
        (logits,) = self.session.run(["logits"], {name: feeds[name] for name in self._names})
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
        pairs = ([{"label": label, "score": float(score)} for label, score in zip(self.labels, row, strict=True)]
                 for row in scores)  # fmt: skip
        return [sorted(row, key=lambda pair: -pair["score"]) for row in pairs]
