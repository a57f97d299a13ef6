"""Vocabulary trimming: a model folder without the tokens, and the rows of the embedding, that nobody needs.

A text whose tokens all stay gets the same answer, bit for bit; another one is cut into smaller pieces that the model
knows (see `ftdeploy.compress.tokenizer_files`). What that costs on unseen texts is to be measured; `compare` tells
which texts to look at. The idea is Abdaoui et al. 2020, "Load What You Need", carried over from languages to a task.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer

from ftdeploy.compress.token_table import cut_positions, cut_rows
from ftdeploy.compress.tokenizer_files import kept_ids, renumbered
from ftdeploy.errors import CompressionError
from ftdeploy.measure import folder_size
from ftdeploy.pairs import given, prepare_pairs
from ftdeploy.signature import read_signature, write_signature

#: Texts that are tokenised at a time: enough for all processors, little in memory.
_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class Trimmed:
    """What became of a vocabulary.

    Attributes:
        tokens_before: tokens of the source.
        tokens_after: tokens that stayed.
        tokens_used: different tokens that the texts have.
        bytes_before: of model and tokenizer.
        bytes_after: likewise.
        ids: old id of each token, in the order of the new ids.
    """

    tokens_before: int
    tokens_after: int
    tokens_used: int
    bytes_before: int
    bytes_after: int
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """How differently two tokenizers cut the same texts; special tokens count, texts are not truncated.

    Attributes:
        texts: how many.
        changed: positions of the texts that are cut differently.
        tokens_before: tokens of all texts under the first.
        tokens_after: under the second.
        tokens_lost: of ``tokens_before``, those that the second does not have.
    """

    texts: int
    changed: tuple[int, ...]
    tokens_before: int
    tokens_after: int
    tokens_lost: int


def trim_vocabulary(source: Path, out: Path, texts: Iterable[str], *, safety: int, min_count: int = 1) -> Trimmed:
    """Make a model folder whose vocabulary holds what the texts need and a safety list.

    What stays: every token of the texts, however long they are; all single characters and bytes; special and added
    tokens; the ids that signature and post-processor name; and the ``safety`` most general of the remaining tokens,
    whatever the texts have. Positions that no row reaches go, too, as they change nothing.

    Args:
        source: model folder; its weights stand in ``model.onnx``, float or quantized (see `cut_rows`).
        out: the new model folder; must not exist, and appears whole or not at all.
        texts: of the training rows.
        safety: see `kept_ids`; the more, the fewer texts of another kind change.
        min_count: tokens that the texts have less often are not needed by them; above 1, some of these texts change.

    Raises:
        CompressionError: the tokenizer has nothing to fall back on, the graph uses token ids or their embeddings for
            something else as well, or every token is needed.
        ArtifactError: the source has no readable signature.
    """
    import onnx

    signature = read_signature(source)
    tokenizer = Tokenizer.from_file(os.fspath(source / "tokenizer.json"))
    document = json.loads(tokenizer.to_str())
    counts = Counter(id_ for ids in _encoded(tokenizer, texts, pairs=signature.pairs is not None) for id_ in ids)
    wanted = {id_ for id_, count in counts.items() if count >= min_count}
    pairs = signature.pairs
    named = {signature.pad_id} if pairs is None or pairs.types_after is None else {signature.pad_id, pairs.types_after}
    ids = kept_ids(document, wanted | named, safety=safety)
    before = tokenizer.get_vocab_size(with_added_tokens=True)
    if len(ids) >= before:
        raise CompressionError(
            f"all {before} tokens of the vocabulary are needed",
            cause="the texts and the safety list have them all",
            fix="lower the safety, or leave vocabulary trimming out",
        )
    if signature.pad_id not in ids:
        raise CompressionError(
            f"the signature pads with id {signature.pad_id}, and the tokenizer has no such token",
            cause="the model was trained with a row for padding that the tokenizer does not name",
            fix="leave vocabulary trimming out for this model",
        )
    text = _checked(renumbered(document, ids), tokenizer, ids)
    model = onnx.load(os.fspath(source / "model.onnx"))
    cut_rows(model, ids)
    cut_positions(model, signature.max_length)

    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    onnx.save(model, os.fspath(partial / "model.onnx"))
    (partial / "tokenizer.json").write_text(text, encoding="utf-8")
    told: dict[str, object] = {"pad_id": ids.index(signature.pad_id)}
    if pairs is not None and pairs.types_after is not None:
        told["pairs"] = pairs.model_copy(update={"types_after": ids.index(pairs.types_after)})
    write_signature(partial, signature.model_copy(update=told))
    partial.rename(out)
    return Trimmed(
        tokens_before=before,
        tokens_after=len(ids),
        tokens_used=len(counts),
        bytes_before=folder_size(source),
        bytes_after=folder_size(out),
        ids=tuple(ids),
    )


def compare(source: Path, trimmed: Path, texts: Iterable[str]) -> Segmentation:
    """How differently the tokenizers of two model folders cut these texts.

    Args:
        source: the folder before.
        trimmed: the folder after.
        texts: best those that trimming did not see.
    """
    first, second = (Tokenizer.from_file(os.fspath(folder / "tokenizer.json")) for folder in (source, trimmed))
    listed, pairs = list(texts), read_signature(source).pairs is not None
    names = {id_: token for token, id_ in first.get_vocab(with_added_tokens=True).items()}
    vocabulary = second.get_vocab(with_added_tokens=True)
    new = {id_: vocabulary.get(token) for id_, token in names.items()}
    changed, before, after, lost = [], 0, 0, 0
    both = (_encoded(tokenizer, listed, pairs=pairs) for tokenizer in (first, second))
    for position, (old, now) in enumerate(zip(*both, strict=True)):
        expected = [new[id_] for id_ in old]
        before, after, lost = before + len(old), after + len(now), lost + expected.count(None)
        if expected != now:
            changed.append(position)
    return Segmentation(
        texts=len(listed), changed=tuple(changed), tokens_before=before, tokens_after=after, tokens_lost=lost
    )


def _encoded(tokenizer: Tokenizer, texts: Iterable[str], *, pairs: bool) -> Iterator[list[int]]:
    """Token ids of each text, whole: another limit of length must not need other tokens."""
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    whole.no_padding()
    if pairs:
        prepare_pairs(whole)
    rest = iter(texts)
    while batch := list(islice(rest, _AT_ONCE)):
        told = [given(text) for text in batch] if pairs else batch
        yield from (encoding.ids for encoding in whole.encode_batch_fast(told))


def _checked(document: dict[str, object], tokenizer: Tokenizer, ids: list[int]) -> str:
    """The file's text, after the library has read it back and gives every token the id it is meant to have."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    expected = {tokenizer.id_to_token(old): new for new, old in enumerate(ids)}
    if Tokenizer.from_str(text).get_vocab(with_added_tokens=True) != expected:
        raise CompressionError(
            "the trimmed tokenizer gives its tokens other ids than it was meant to",
            cause="the ids of the tokenizer's added tokens lie among those of its model",
            fix="leave vocabulary trimming out for this model",
        )
    return text
