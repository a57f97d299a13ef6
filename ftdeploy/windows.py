"""Texts that are longer than a model reads: windows that overlap, and one answer out of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from ftdeploy.document import Section
from ftdeploy.encoded import Encoded, Outputs, mean_embedding

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Encoding

Pooling = Literal["mean", "max"]


class Windows(Section):
    """Texts longer than `max_length` tokens are read in windows of so many tokens, special tokens in each, and the
    logits of a text's windows make one row. A text that fits into one window is answered as without."""

    overlap: int = Field(default=64, ge=0)
    """Tokens that a window shares with the one before (`stride` of Hugging Face's tokenizers); at most half of
    `max_length`."""
    pooling: Pooling = "mean"
    """How logits become those of the text. `mean`, weighted by tokens: under a linear head the same as the mean of what
    the encoder makes of the windows (Sun et al. 2019, section 5.3.1). `max`: of each label the largest, where one
    passage decides, as a clause in a contract."""
    most: int = Field(default=16, ge=2, le=1024)
    """Windows of one text; what is behind them is not read, and the answer says so (truncated)."""


def window_rows(encoding: Encoding, windows: Windows, *, text: int, unknown: int | None) -> list[Encoded]:
    """The windows of a text; their lengths add up to its tokens, each counted in the first window that it stands in.

    Args:
        encoding: of the text, by a tokenizer whose truncation has this overlap as its stride.
        windows: as of the model.
        text: number of the text.
        unknown: id of the unknown token, where there is one.
    """
    every = [encoding, *encoding.overflowing]
    special = encoding.special_tokens_mask
    ahead = special.index(0) if 0 in special else 0
    shared = special.count(1) + windows.overlap
    left = sum(len(one) - shared for one in every[windows.most :])
    kept = every[: windows.most]
    found = []
    for number, one in enumerate(kept):
        again = shared if number else 0
        fresh = one.ids[ahead + windows.overlap :] if number else one.ids
        found.append(
            Encoded(
                ids=one.ids,
                length=len(one.ids) - again + (left if number == len(kept) - 1 else 0),
                unknown=fresh.count(unknown) if unknown is not None else 0,
                text=text,
                again=again,
            )
        )
    return found


def shares(owners: Sequence[int], tokens: Sequence[int]) -> NDArray[np.float32]:
    """How much a window counts in its text, by its tokens: float32, shape (windows,); those of a text add up to 1.

    Args:
        owners: the text of each window, from 0.
        tokens: of each window.
    """
    amounts = np.maximum(1, np.asarray(tokens, dtype=np.float64))
    return np.asarray(amounts / np.bincount(owners, weights=amounts)[np.asarray(owners)], dtype=np.float32)


def pool(logits: NDArray[np.float32], owners: Sequence[int], tokens: Sequence[int],
         pooling: Pooling) -> NDArray[np.float32]:  # fmt: skip
    """The logits of texts: float32, shape (texts, labels); those of a text with one window are the window's.

    Args:
        logits: of windows, float32, shape (windows, labels).
        owners: the text of each window, from 0, without a gap.
        tokens: of each window.
        pooling: see `Windows`.
    """
    shape = (max(owners, default=-1) + 1, logits.shape[1])
    if pooling == "max":
        largest = np.full(shape, -np.inf, dtype=np.float32)
        np.maximum.at(largest, np.asarray(owners), logits)
        return largest
    found = np.zeros(shape, dtype=np.float32)
    np.add.at(found, np.asarray(owners), logits * shares(owners, tokens)[:, None])
    return found


def pool_rows(logits: NDArray[np.float32], rows: Sequence[Encoded], windows: Windows) -> NDArray[np.float32]:
    """`pool` by the rows themselves."""
    return pool(logits, [row.text for row in rows], [len(row.ids) for row in rows], windows.pooling)


def pooled(outputs: Outputs, windows: Windows) -> Outputs:
    """One row a text of what a model gave for windows: logits by `pool_rows`, embeddings by their mean."""
    texts = outputs.rows[-1].text + 1
    if texts == len(outputs.rows):
        return Outputs(logits=outputs.logits, embedding=outputs.embedding)
    return Outputs(logits=pool_rows(outputs.logits, outputs.rows, windows), embedding=mean_embedding(outputs, texts))
