"""Texts as a model sees them, and what it gave for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A text, or a piece of one, as the model sees it.

    Attributes:
        ids: token ids, special tokens included, at most ``max_length``.
        length: tokens before cutting; of a piece those that it has beyond the one before.
        unknown: how many of these are the unknown token, of those that were kept.
        text: which of the texts that were encoded together it is, or is a piece of.
        words: its words, where a task reads texts in pieces (`ftdeploy.tasks.pieces`).
        again: how many of ``ids`` are counted in the piece before (`ftdeploy.windows`).
    """

    ids: list[int]
    length: int
    unknown: int
    text: int = 0
    words: tuple[Word, ...] = ()
    again: int = 0

    @property
    def kept(self) -> int:
        """Tokens after cutting."""
        return len(self.ids) - self.again

    def truncated(self) -> bool:
        """Whether the text was cut."""
        return self.length > self.kept


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a piece: what a tokenizer takes as a unit before it cuts words into tokens.

    Attributes:
        token: index of its first token in the piece.
        start, end: of its characters in the whole text, end exclusive.
    """

    token: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the model gave for some rows, in their order.

    Attributes:
        logits: float32, shape (rows, labels), or (rows, tokens, labels) where each token is labelled: short rows are
            filled with zeros.
        embedding: float32, shape (rows, width): mean-pooled output of an early layer.
        rows: the rows as the model saw them; empty where nobody needs them to read the logits.
    """

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    rows: Sequence[Encoded] = ()


def stacked(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The rows of several arrays in one: (rows, labels), or (rows, tokens, labels) filled with zeros to the longest."""
    if len({part.shape[1:] for part in parts}) <= 1:
        return np.concatenate(parts)
    longest = max(part.shape[1] for part in parts)
    found = np.zeros((sum(map(len, parts)), longest, *parts[0].shape[2:]), dtype=np.float32)
    at = 0
    for part in parts:
        found[at : at + len(part), : part.shape[1]] = part
        at += len(part)
    return found


def by_text(rows: Sequence[Encoded], texts: int) -> list[list[Encoded]]:
    """The rows of each text: one, or its pieces."""
    found: list[list[Encoded]] = [[] for _ in range(texts)]
    for row in rows:
        found[row.text].append(row)
    return found


def mean_embedding(outputs: Outputs, texts: int) -> NDArray[np.float32]:
    """The mean of the embeddings of each text's pieces, weighted by their tokens: float32, shape (texts, width)."""
    owner = np.array([row.text for row in outputs.rows])
    tokens = np.array([max(1, len(row.ids)) for row in outputs.rows], dtype=np.float32)
    sums = np.zeros((texts, outputs.embedding.shape[1]), dtype=np.float32)
    np.add.at(sums, owner, outputs.embedding * tokens[:, None])
    return sums / np.bincount(owner, weights=tokens, minlength=texts).astype(np.float32)[:, None]
