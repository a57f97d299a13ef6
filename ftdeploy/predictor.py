"""A model folder that answers: tokenizer, ONNX session, signature. The same code in compress, validate and bundles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from ftdeploy.batching import SERVED, Batching, by_length, pad, with_tokens
from ftdeploy.encoded import Encoded, Outputs
from ftdeploy.errors import ArtifactError
from ftdeploy.session import open_session
from ftdeploy.signature import SessionOptions, Signature, read_signature
from ftdeploy.tasks import TASKS, Task
from ftdeploy.windows import pooled

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray


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
        pairs = self.signature.pairs is not None
        self.task.prepare_tokenizer(self.tokenizer, self.signature.max_length, self.signature.windows, pairs=pairs)
        self._pair_length = self.signature.max_length if pairs else None
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
        """Tokenise. Texts longer than the model's length are cut at the right, keeping the closing special token; or,
        where each token is labelled, or the signature has windows, divided into pieces (`Encoded.text`). Where it has
        pairs, texts are two each (`ftdeploy.pairs`)."""
        return self.task.encode(
            self.tokenizer, texts, unknown=self._unknown, windows=self.signature.windows, pair_length=self._pair_length
        )

    @property
    def in_pieces(self) -> bool:
        """Whether a text may be several rows."""
        return self.task.per_token or self.signature.windows is not None

    def run(self, rows: Sequence[Sequence[int]]) -> Outputs:
        """One forward pass over token ids, padded to the longest row."""
        ids, mask = pad(with_tokens(rows, self.signature.pad_id), self.signature.pad_id)
        logits, embedding = self.session.run(["logits", "embedding"], self.signature.feeds(ids, mask))
        if self.task.per_token:
            logits = logits * mask[..., None].astype(logits.dtype)  # what a longer neighbour adds is no answer
        return Outputs(logits=logits, embedding=embedding)

    def predict(self, texts: Sequence[str], *, batching: Batching = SERVED,
                advance: Callable[[float], None] = lambda _rows: None) -> Outputs:  # fmt: skip
        """Outputs for many texts, batched as the service batches (`by_length`), in the order given: one a text, or
        one a piece where each token is labelled.

        Args:
            texts: the rows.
            batching: its budget of tokens and rows.
            advance: told the rows done, for a progress bar.
        """
        return self.pooled(self.predict_rows(self.encode(texts), batching=batching, advance=advance))

    def pooled(self, outputs: Outputs) -> Outputs:
        """Outputs of windows as those of their texts; others as they are."""
        windows = self.signature.windows
        return outputs if windows is None else pooled(outputs, windows)

    def predict_rows(self, encoded: Sequence[Encoded], *, batching: Batching = SERVED,
                     advance: Callable[[float], None] = lambda _rows: None) -> Outputs:  # fmt: skip
        """`predict` of texts that are tokenised already: one a row, of windows too."""
        return run_all_rows(self.run, encoded, per_token=self.task.per_token, batching=batching, advance=advance)


def run_all_rows(run: Callable[[Sequence[Sequence[int]]], Outputs], encoded: Sequence[Encoded], *, per_token: bool,
                 batching: Batching = SERVED,
                 advance: Callable[[float], None] = lambda _rows: None) -> Outputs:  # fmt: skip
    """Outputs for many rows, batched as the service batches, in the order given.

    Args:
        run: one forward pass over token ids.
        encoded: the rows; at least one.
        per_token: whether each token is labelled.
        batching: the budget of tokens and rows.
        advance: told the rows done.
    """
    logits: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None
    for batch in by_length([len(row.ids) for row in encoded], tokens=batching.tokens, rows=batching.rows):
        found = run([encoded[index].ids for index in batch])
        if logits is None or embedding is None:
            longest = max(1, *(len(row.ids) for row in encoded))
            shape = (longest, found.logits.shape[-1]) if per_token else (found.logits.shape[-1],)
            logits = np.zeros((len(encoded), *shape), dtype=np.float32)
            embedding = np.empty((len(encoded), found.embedding.shape[1]), dtype=np.float32)
        if per_token:
            logits[batch, : found.logits.shape[1]] = found.logits
        else:
            logits[batch] = found.logits
        embedding[batch] = found.embedding
        advance(len(batch))
    if logits is None or embedding is None:
        raise ValueError("at least one text is wanted")
    return Outputs(logits=logits, embedding=embedding, rows=encoded)


def _tokenizer(path: Path) -> Tokenizer:
    """The tokenizer with the truncation that `export` wrote into it."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust core raises plain Exception
        raise ArtifactError(
            f"{path} cannot be read as a tokenizer: {str(error)[:300]}",
            cause="the file is missing, damaged, or of a newer version of tokenizers",
            fix="make the artifact again",
        ) from error
    return tokenizer
