"""Which tokens of a ``tokenizer.json`` can go, and the same file without them.

Works on the JSON that the ``tokenizers`` library writes; the library itself reads the result back. Three models have
something to fall back on, and what that is decides what stays:

WordPiece (Schuster and Nakajima 2012) takes the longest piece that fits and never goes back. As long as every character
    stands there alone, at a word's beginning and inside (``c`` and ``##c``), it cannot get stuck.
BPE (Sennrich et al. 2016) starts from characters or bytes, which all stay, and merges. A token that stays needs every
    chain of merges that leads to it, or texts that have it would be cut elsewhere.
Unigram (Kudo 2018) takes the best sum of scores. With all single characters there it has no use for the unknown token;
    the lowest score stays as well, because what an unknown character costs is counted from it.

So a text whose tokens all stay is cut as before, and a text without an unknown token gets none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftdeploy.errors import CompressionError

Document = dict[str, Any]

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_BYTES = 256
#: Places that BERT's vocabularies hold free at the low ids; no text has them.
_UNUSED = re.compile(r"\[unused\d+\]")


@dataclass(frozen=True, kw_only=True)
class _Vocabulary:
    """A model's tokens, as trimming sees them.

    Attributes:
        ids: token -> id.
        needed: tokens that stay whatever the data says: characters, bytes, the unknown token.
        ranked: tokens of several characters, most general first.
        parts: token -> tokens that must stay with it.
        stuck: tokens with a character that no single token stands for.
    """

    ids: Mapping[str, int]
    needed: frozenset[str]
    ranked: Sequence[str]
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stuck: Sequence[str] = ()


def kept_ids(document: Document, used: Iterable[int], *, safety: int) -> list[int]:
    """Ids of the tokens that stay, in the order of their new ids (0, 1, ...); tokens outside the model come last.

    Args:
        document: of the whole tokenizer, as ``Tokenizer.to_str`` gives it.
        used: ids that the texts have, and others that must stay.
        safety: how many of the most general tokens of several characters stay whatever the data says. For WordPiece
            these are the lowest ids (BERT's vocabularies are sorted by frequency), for BPE the earliest merges, for
            Unigram the highest scores.

    Raises:
        CompressionError: the model has nothing to fall back on, or not for some of its characters.
    """
    vocabulary = _vocabulary(document["model"])
    special = {token["content"]: token["id"] for token in document["added_tokens"]}
    _refuse_stuck(vocabulary, special)
    wanted = {*used, *special.values(), *_named_ids(document), *(vocabulary.ids[token] for token in vocabulary.needed)}
    sure = special.keys() | vocabulary.needed
    general = [token for token in vocabulary.ranked if token not in sure and not _UNUSED.fullmatch(token)]
    tokens = {id_: token for token, id_ in vocabulary.ids.items()}
    waiting = [tokens[id_] for id_ in wanted if id_ in tokens] + general[:safety]
    stay: set[str] = set()
    while waiting:
        token = waiting.pop()
        if token not in stay:
            stay.add(token)
            waiting.extend(vocabulary.parts.get(token, ()))
    outside = sorted(id_ for token, id_ in special.items() if token not in vocabulary.ids)
    return sorted(vocabulary.ids[token] for token in stay) + outside


def renumbered(document: Document, ids: Sequence[int]) -> Document:
    """The tokenizer with the tokens of these ids only, each under its position in ``ids``.

    Args:
        document: of the whole tokenizer.
        ids: as `kept_ids` gives them.
    """
    new = {old: position for position, old in enumerate(ids)}
    made = dict(document)
    made["model"] = _model(document["model"], new)
    made["added_tokens"] = [{**token, "id": new[token["id"]]} for token in document["added_tokens"]]
    if document["post_processor"] is not None:
        made["post_processor"] = _processor(document["post_processor"], new.__getitem__)
    if document["padding"] is not None:
        made["padding"] = {**document["padding"], "pad_id": new[document["padding"]["pad_id"]]}
    return made


def _vocabulary(model: Document) -> _Vocabulary:
    kind = str(model["type"])
    if kind not in _MODELS:
        raise CompressionError(
            f"the vocabulary of a {kind} tokenizer cannot be trimmed",
            cause="its words are not made of pieces, so a word that goes would become unknown",
            fix=f"leave vocabulary trimming out for this model; it works for {', '.join(_MODELS)}",
        )
    return _MODELS[kind](model)


def _wordpiece(model: Document) -> _Vocabulary:
    ids: dict[str, int] = model["vocab"]
    prefix: str = model["continuing_subword_prefix"]

    def pieces(token: str) -> list[str]:
        inside = bool(prefix) and token.startswith(prefix) and token != prefix
        characters = token[len(prefix) :] if inside else token
        return [(prefix if inside or place else "") + character for place, character in enumerate(characters)]

    single = {token for token in ids if len(pieces(token)) == 1}
    return _Vocabulary(
        ids=ids,
        needed=frozenset(single | ({model["unk_token"]} & ids.keys())),
        ranked=[token for token in sorted(ids, key=ids.__getitem__) if token not in single],
        stuck=[token for token in ids if not single.issuperset(pieces(token)) and token != model["unk_token"]],
    )


def _bpe(model: Document) -> _Vocabulary:
    ids: dict[str, int] = model["vocab"]
    prefix: str = model["continuing_subword_prefix"] or ""
    suffix: str = model["end_of_word_suffix"] or ""
    single = {token for token in ids if len(token.removeprefix(prefix).removesuffix(suffix)) <= 1}
    parts: dict[str, list[str]] = {}
    for left, right in model["merges"]:
        parts.setdefault(_merged(left, right, prefix), []).extend((left, right))
    needed = single | {token for token in ids if _BYTE.fullmatch(token)} | ({model["unk_token"]} & ids.keys())
    if model["ignore_merges"]:
        # Then a word that is a token is taken whole, even one with characters that no merge could start from.
        needed |= {token for token in ids if not single.issuperset(token)}
    return _Vocabulary(
        ids=ids, needed=frozenset(needed), ranked=[token for token in parts if token not in single], parts=parts
    )


def _merged(left: str, right: str, prefix: str) -> str:
    return left + right[len(prefix) :]


def _unigram(model: Document) -> _Vocabulary:
    scores: dict[str, float] = dict(model["vocab"])
    ids = {token: id_ for id_, (token, _score) in enumerate(model["vocab"])}
    single = {token for token in scores if len(token) == 1}
    spelled = {token for token in scores if _BYTE.fullmatch(token)}
    unknown = {model["vocab"][model["unk_id"]][0]} if model["unk_id"] is not None else set()
    needed = single | spelled | unknown | {min(scores, key=scores.__getitem__)}
    falls_back = model["byte_fallback"] and len(spelled) == _BYTES
    return _Vocabulary(
        ids=ids,
        needed=frozenset(needed),
        ranked=sorted(scores.keys() - single, key=lambda token: (-scores[token], ids[token])),
        stuck=[] if falls_back else [token for token in ids if not single.issuperset(token) and token not in unknown],
    )


_MODELS: Mapping[str, Callable[[Document], _Vocabulary]] = {"WordPiece": _wordpiece, "BPE": _bpe, "Unigram": _unigram}


def _refuse_stuck(vocabulary: _Vocabulary, special: Mapping[str, int]) -> None:
    """Special tokens are found before the model sees the text, so they need no fallback."""
    stuck = [token for token in vocabulary.stuck if token not in special]
    if stuck:
        raise CompressionError(
            f"{len(stuck)} tokens have characters that are no tokens themselves: {', '.join(map(repr, stuck[:5]))}",
            cause="the vocabulary was made without its whole alphabet; once pieces beside them are gone, texts that "
            "have such characters could become unknown",
            fix="leave vocabulary trimming out for this model",
        )


def _model(model: Document, new: Mapping[int, int]) -> Document:
    if model["type"] == "Unigram":
        vocab = [entry for id_, entry in enumerate(model["vocab"]) if id_ in new]
        unknown = None if model["unk_id"] is None else new[model["unk_id"]]
        return {**model, "vocab": vocab, "unk_id": unknown}
    stay = {token: new[id_] for token, id_ in sorted(model["vocab"].items(), key=lambda pair: pair[1]) if id_ in new}
    if model["type"] != "BPE":
        return {**model, "vocab": stay}
    prefix = model["continuing_subword_prefix"] or ""
    merges = [(a, b) for a, b in model["merges"] if stay.keys() >= {a, b, _merged(a, b, prefix)}]
    return {**model, "vocab": stay, "merges": merges}


def _named_ids(document: Document) -> list[int]:
    """Ids that the post-processor and the padding name."""
    found: list[int] = []

    def note(id_: int) -> int:
        found.append(id_)
        return id_

    if document["post_processor"] is not None:
        _processor(document["post_processor"], note)
    if document["padding"] is not None:
        found.append(document["padding"]["pad_id"])
    return found


def _processor(processor: Document, new: Callable[[int], int]) -> Document:
    """The post-processor with every id replaced."""
    kind = processor["type"]
    if kind == "Sequence":
        return {**processor, "processors": [_processor(one, new) for one in processor["processors"]]}
    if kind == "TemplateProcessing":
        named = processor["special_tokens"].items()
        special = {name: {**token, "ids": [new(id_) for id_ in token["ids"]]} for name, token in named}
        return {**processor, "special_tokens": special}
    if kind in ("BertProcessing", "RobertaProcessing"):
        return processor | {end: [processor[end][0], new(processor[end][1])] for end in ("sep", "cls")}
    if kind == "ByteLevel":
        return processor
    raise CompressionError(
        f"the tokenizer has a post-processor {kind!r} that trimming does not know",
        cause="it may name tokens by their ids",
        fix="leave vocabulary trimming out for this model",
    )
