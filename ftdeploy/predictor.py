"""A model folder that answers: tokenizer, ONNX session, signature. The same code in compress, validate and bundles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from ftdeploy.batching import SERVED, Batching, by_length, pad
from ftdeploy.errors import ArtifactError
from ftdeploy.session import open_session
from ftdeploy.signature import SessionOptions, Signature, read_signature
from ftdeploy.tasks import TASKS, Task

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A text as the model sees it.

    Attributes:
        ids: token ids, special tokens included, at most ``max_length``.
        length: tokens before cutting.
        unknown: how many of ``ids`` are the unknown token.
    """

    ids: list[int]
    length: int
    unknown: int

    @property
    def kept(self) -> int:
        """Tokens after cutting."""
        return len(self.ids)

    def truncated(self) -> bool:
        """Whether the text was cut."""
        return self.length > len(self.ids)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the model gave for some rows, in their order.

    Attributes:
        logits: float32, shape (rows, labels).
        embedding: float32, shape (rows, width): mean-pooled output of an early layer.
    """

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]


class Predictor:
    """A model folder, open.

    Args:
        folder: holds model.onnx, tokenizer.json, signature.json.
        threads: see `open_session`.
        device: see `open_session`.
        session: options to open it with; None are those of its signature.

    Raises:
        ArtifactError: the folder is incomplete or damaged.
        DeviceError: a device was forced that is not there.
    """

    def __init__(self, folder: Path, *, threads: int = 0, device: str = "auto",
                 session: SessionOptions | None = None) -> None:  # fmt: skip
        self.folder = folder
        self.signature: Signature = read_signature(folder)
        self.task: Task = TASKS[self.signature.task]
        self.tokenizer = _tokenizer(folder / "tokenizer.json")
        self.session: onnxruntime.InferenceSession = open_session(
            folder / "model.onnx", session or self.signature.session, threads=threads, device=device
        )
        unknown = getattr(self.tokenizer.model, "unk_token", None)
        self._unknown = self.tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return str(self.session.get_providers()[0])

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokenise; texts longer than the model's length are cut at the right, keeping the closing special token."""
        found = []
        for encoding in self.tokenizer.encode_batch_fast(list(texts)):
            special = encoding.special_tokens_mask.count(1)
            length = len(encoding) + sum(len(rest) - special for rest in encoding.overflowing)
            ids = encoding.ids
            unknown = ids.count(self._unknown) if self._unknown is not None else 0
            found.append(Encoded(ids=ids, length=length, unknown=unknown))
        return found

    def run(self, rows: Sequence[Sequence[int]]) -> Outputs:
        """One forward pass over token ids, padded to the longest row."""
        ids, mask = pad(rows, self.signature.pad_id)
        feeds = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self.signature.inputs:
            feeds["token_type_ids"] = np.zeros_like(ids)
        logits, embedding = self.session.run(["logits", "embedding"], feeds)
        return Outputs(logits=logits, embedding=embedding)

    def predict(self, texts: Sequence[str], *, batching: Batching = SERVED,
                advance: Callable[[float], None] = lambda _rows: None) -> Outputs:  # fmt: skip
        """Outputs for many texts, batched as the service batches (`by_length`), in the order given.

        Args:
            texts: the rows.
            batching: its budget of tokens and rows.
            advance: told the rows done, for a progress bar.
        """
        return self.predict_rows(self.encode(texts), batching=batching, advance=advance)

    def predict_rows(self, encoded: Sequence[Encoded], *, batching: Batching = SERVED,
                     advance: Callable[[float], None] = lambda _rows: None) -> Outputs:  # fmt: skip
        """`predict` of texts that are tokenised already."""
        logits: NDArray[np.float32] | None = None
        embedding: NDArray[np.float32] | None = None
        for batch in by_length([len(row.ids) for row in encoded], tokens=batching.tokens, rows=batching.rows):
            found = self.run([encoded[index].ids for index in batch])
            if logits is None or embedding is None:
                logits = np.empty((len(encoded), found.logits.shape[1]), dtype=np.float32)
                embedding = np.empty((len(encoded), found.embedding.shape[1]), dtype=np.float32)
            logits[batch] = found.logits
            embedding[batch] = found.embedding
            advance(len(batch))
        if logits is None or embedding is None:
            raise ValueError("predict wants at least one text")
        return Outputs(logits=logits, embedding=embedding)


def _tokenizer(path: Path) -> Tokenizer:
    """The tokenizer with the truncation that `export` wrote into it, and padding off (batches are padded by `pad`)."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust core raises plain Exception
        raise ArtifactError(
            f"{path} cannot be read as a tokenizer: {str(error)[:300]}",
            cause="the file is missing, damaged, or of a newer version of tokenizers",
            fix="make the artifact again",
        ) from error
    tokenizer.no_padding()
    return tokenizer
