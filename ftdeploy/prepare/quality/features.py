"""Texts as numbers for the quick models: TF-IDF, and mean-pooled embeddings of a frozen checkpoint.

What is fitted is fitted on a sample of the training rows that is bounded in rows and characters; everything else passes
by in batches. So memory does not grow with the rows, but for a few numbers each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.batching import by_length, pad
from ftdeploy.checkpoints import check_checkpoint
from ftdeploy.dataset import SplitName
from ftdeploy.origin import Origin
from ftdeploy.pairs import parts
from ftdeploy.prepare.quality.rows import Rows
from ftdeploy.sources import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLE_ROWS, _SAMPLE_CHARS = 20_000, 10_000_000
#: Of each label at least so many rows are in the sample, where there are so many.
_OF_EACH = 100
_PIECES = 200_000
_TOKENS = 256
_BATCH_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Features:
    """One way to turn texts into numbers.

    Attributes:
        sample: of the sampled training rows, dense or sparse, float32, shape (rows of the sample, features).
        batches: of all rows of a split, in order, a batch at a time.
    """

    sample: Any
    batches: Callable[[SplitName], Iterator[Any]]


def draw_sample(train: Rows, seed: int) -> NDArray[np.int64]:
    """Places of the training rows that models are fitted on, sorted: all, unless they are too many to hold."""
    order = np.random.default_rng(seed).permutation(len(train))
    nth = np.zeros(len(train), dtype=np.int64)
    for label in np.unique(train.label):
        here = order[train.label[order] == label]
        nth[here] = np.arange(len(here))
    order = order[np.argsort(nth[order] >= _OF_EACH, kind="stable")]
    fits = np.cumsum(train.chars[order]) <= _SAMPLE_CHARS
    return np.sort(order[fits][:_SAMPLE_ROWS]).astype(np.int64)


def tfidf(rows: Mapping[SplitName, Rows], sample: NDArray[np.int64]) -> tuple[Features, Features]:
    """TF-IDF of words, pairs of words and the 2 to 5 characters long pieces of words; and of these pieces alone.

    Args:
        rows: of each split.
        sample: places of the training rows that decide which words there are.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    # A word of one row says nothing about another; of a handful of rows, all words are such.
    least = 2 if len(sample) >= _OF_EACH else 1
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=least, max_features=_PIECES, sublinear_tf=True,
                            dtype=np.float32)  # fmt: skip
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=least, max_features=_PIECES,
                             sublinear_tf=True, dtype=np.float32)  # fmt: skip
    both = make_union(words, pieces)
    texts = rows["train"].pick(sample)
    fitted = both.fit_transform(texts).tocsr()
    return (
        Features(sample=fitted, batches=lambda name: (both.transform(some).tocsr() for some in rows[name].texts())),
        Features(
            sample=fitted[:, len(words.vocabulary_) :],
            batches=lambda name: (pieces.transform(some) for some in rows[name].texts()),
        ),
    )


def embeddings(rows: Mapping[SplitName, Rows], sample: NDArray[np.int64], origin: Origin, folder: Path) -> Features:
    """Mean of the last layer over the tokens, scaled to length 1 (Reimers & Gurevych 2019), of a frozen checkpoint.

    Args:
        rows: of each split.
        sample: places of the training rows that models are fitted on.
        origin: of the checkpoint.
        folder: for temporary files, 4 bytes a number; the caller removes them.

    Raises:
        SourceError: the checkpoint cannot be had.
        ModelError: it is refused.
    """
    place = resolve(origin)
    check_checkpoint(place)
    encode = _encoder(place)
    found = {}
    with progress.task("embed rows", sum(map(len, rows.values()))) as advance:
        for name, part in rows.items():
            stored, start = None, 0
            for texts in part.texts():
                made = encode(texts)
                if stored is None:
                    shape = (len(part), made.shape[1])
                    stored = np.memmap(folder / name, mode="w+", dtype=np.float32, shape=shape)
                stored[start : start + len(texts)] = made
                start += len(texts)
                advance(len(texts))
            found[name] = stored

    def batches(name: SplitName) -> Iterator[Any]:
        matrix = found[name]
        return iter(()) if matrix is None else (matrix[s : s + _BATCH_ROWS] for s in range(0, len(matrix), _BATCH_ROWS))

    return Features(sample=np.asarray(found["train"])[sample], batches=batches)


def _encoder(folder: Path) -> Callable[[list[str]], NDArray[np.float32]]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=False, local_files_only=True).eval()
    # Checkpoints with fewer positions than that exist, and a tokenizer knows of it.
    longest = min(_TOKENS, tokenizer.model_max_length)

    def encode(texts: list[str]) -> NDArray[np.float32]:
        first, *second = zip(*map(parts, texts), strict=True)
        tokens = tokenizer(*map(list, (first, *second)), truncation=True, max_length=longest)["input_ids"]
        made = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for batch in by_length([len(row) for row in tokens], tokens=4096):
                ids, mask = pad([tokens[place] for place in batch], tokenizer.pad_token_id or 0)
                hidden = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state
                counted = torch.from_numpy(mask)[..., None].float()
                mean = (hidden.float() * counted).sum(1) / counted.sum(1).clamp(min=1)
                made[batch] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return made

    return encode
