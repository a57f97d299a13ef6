"""token-classification: which spans of a text are what (named entities)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import DataError, did_you_mean, short
from ftdeploy.spans import (
    OUTSIDE,
    Span,
    TagError,
    dump,
    from_tags,
    grouped,
    is_tag,
    kinds_of,
    load,
    moved,
    read_spans,
    summary,
    tagged,
    tags_of,
    to_iob2,
)
from ftdeploy.tasks.pieces import encode_pieces, windowed
from ftdeploy.tasks.said import Function, Said, softmax
from ftdeploy.tasks.told import MOST_CHARS, read_entities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from ftdeploy.encoded import Encoded, Outputs, Word
    from ftdeploy.signature import Signature
    from ftdeploy.windows import Windows

#: Each of the three splits wants a row with a span of a kind.
_FEWEST_ROWS = 3
#: What the loss and the metrics leave out, as torch's cross-entropy has it: all tokens of a word but the first.
IGNORED = -100


class TokenClassification:
    """Spans by a tag for each word (IOB2), of which the model labels the first token."""

    name = exported_as = "token-classification"
    auto_class = "AutoModelForTokenClassification"
    problem_type: str | None = None
    metrics: tuple[str, ...] = ("entity_f1", "entity_precision", "entity_recall")
    beyond_chance: str | None = None
    encoder_decoder = False
    per_token = True
    vectors = False
    multi_label = False
    number = False
    probabilities = True
    one_label = False
    unit = "spans"
    measures: tuple[str, ...] = (*metrics, "accuracy")
    function: Function = "softmax"
    windows = False  # sentences that are too long have windows of their own, whose words are answered once
    pairs = False
    view = "entities"
    misfit = (
        "labels do not fit the text: another tokenization, a shifted offset, or a tag that the scheme does not have",
        "correct that row; offsets count characters from 0, the end is exclusive",
    )

    # ---- rows

    def read(self, row: Mapping[str, Any], text: str, label: str | None,
             separator: str | None = None) -> tuple[Any, Any]:  # noqa: ARG002 - the protocol's  # fmt: skip
        """Text and spans of a row: tags of its tokens (as CoNLL files and the hub have them), or spans. The text column
        may hold the tokens; else they stand in ``tokens``."""
        cell, given, tokens = None if label is None else row.get(label), row.get(text), row.get("tokens")
        if isinstance(given, list):
            tokens, given = given, " ".join(map(str, given))
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            return given, None
        if (
            isinstance(tokens, list)
            and isinstance(cell, list)
            and not any(isinstance(one, list | dict) for one in cell)
        ):
            return _joined(tokens, cell, given)
        if not isinstance(given, str):
            return given, None
        return given, dump(read_spans(cell, given))

    def names(self, label: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(span.kind for span in load(label)))

    def renamed(self, label: str, called: Mapping[str, str | None]) -> str:
        named = ((span, called.get(span.kind, span.kind)) for span in load(label))
        return dump(span._replace(kind=kind) for span, kind in named if kind is not None)

    def true_label(self, given: Any, labels: Sequence[str], text: str | None = None) -> str:
        """Entities as they are answered; ``word`` and ``score`` may be left out, and a word is checked."""
        return dump(read_entities(given, kinds_of(labels), text))

    def true_label_schema(self, labels: Sequence[str]) -> dict[str, Any]:
        kinds = list(kinds_of(labels))
        place = {"type": "integer", "minimum": 0, "maximum": MOST_CHARS}
        entity = {
            "type": "object",
            "properties": {
                "entity_group": {"enum": kinds},
                "start": place,
                "end": place | {"minimum": 1},
                "word": {"type": "string"},
                "score": {"type": "number"},
            },
            "required": ["entity_group", "start", "end"],
            "additionalProperties": False,
        }
        example = [{"entity_group": kind, "start": 0, "end": 8} for kind in kinds[:1]]
        return {"type": "array", "items": entity, "examples": [example]}

    def summary(self, label: str) -> str:
        return summary(load(label))

    def moved(self, label: str, before: str, after: str) -> str | None:
        there = moved(load(label), before, after)
        return None if there is None else dump(there)

    def masked(self, label: str, summary: str) -> str:  # noqa: ARG002 - the protocol's
        return label

    def show(self, label: str, text: str) -> str:
        spans = load(label)
        return ", ".join(f"{text[span.start : span.end]} [{span.kind}]" for span in spans) or "(none)"

    def check_labels(self, counts: Mapping[str, int]) -> None:
        kinds = {kind: count for kind, count in counts.items() if kind != OUTSIDE}
        if not kinds:
            raise DataError(
                "no row of the data has a span",
                cause="the label column holds other tags, or only rows without entities are left",
                fix="check `data.columns.label`, and the source's tags",
            )
        rare = {kind: count for kind, count in kinds.items() if count < _FEWEST_ROWS}
        if rare:
            listed = ", ".join(f"{kind!r} ({count})" for kind, count in sorted(rare.items())[:10])
            raise DataError(
                f"kinds of spans in fewer than {_FEWEST_ROWS} rows: {listed}",
                cause="each of train, validation and test wants at least one row of a kind; often a typing error",
                fix="correct or merge these kinds, or remove their spans",
            )

    # ---- the network's labels

    def counted(self, names: Sequence[str]) -> tuple[str, ...]:
        return (OUTSIDE, *names)

    def head(self, names: Sequence[str]) -> tuple[str, ...]:
        return tags_of(names)

    def known_names(self, labels: Sequence[str]) -> tuple[str, ...]:
        return kinds_of(labels)

    def summaries(self, labels: Sequence[str]) -> tuple[str, ...]:
        return (OUTSIDE, *kinds_of(labels))

    # ---- tokens

    def prepare_tokenizer(self, tokenizer: Tokenizer, max_length: int,
                          windows: Windows | None = None, *,  # noqa: ARG002 - the protocol's
                          pairs: bool = False) -> None:  # noqa: ARG002  # fmt: skip
        windowed(tokenizer, max_length)

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,
               windows: Windows | None = None,  # noqa: ARG002 - the protocol's
               pair_length: int | None = None) -> list[Encoded]:  # noqa: ARG002  # fmt: skip
        return encode_pieces(tokenizer, texts, unknown=unknown)

    def targets(self, labels: Sequence[str], known: Sequence[str], rows: Sequence[Encoded] = ()) -> list[list[int]]:
        """The tag of each token: int, `IGNORED` for all but the first of a word."""
        ids = {tag: index for index, tag in enumerate(known)}
        spans = [load(label) for label in labels]
        found = []
        for row in rows:
            targets = [IGNORED] * len(row.ids)
            tags = tagged([(word.start, word.end) for word in row.words], _within(spans[row.text], row.words))
            for word, tag in zip(row.words, tags, strict=True):
                if tag not in ids:
                    raise DataError(
                        f"a span of the kind {tag[2:]!r} is not among the known ones",
                        cause="it does not occur in the training rows, or it is misspelt",
                        fix=did_you_mean(tag[2:], kinds_of(known)) or "correct it, or add rows with it",
                    )
                targets[word.token] = ids[tag]
            found.append(targets)
        return found

    # ---- answers

    def said(self, outputs: Outputs, signature: Signature) -> Said:
        import numpy as np

        labels, scores = [], []
        for words, tags, sure in _by_text(outputs, signature):
            labels.append(dump(span for span, _ in _spans(words, tags, sure)))
            scores.append(float(sure.mean()) if len(sure) else 1.0)
        return Said(labels=labels, scores=np.array(scores, dtype=np.float32))

    def compared(self, labels: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[str]]:
        return [list(labels), *map(list, answers)]

    def right(self, labels: Sequence[str], references: NDArray[np.int64],  # noqa: ARG002 - the protocol's
              answers: NDArray[np.int64]) -> NDArray[np.bool_]:  # fmt: skip
        import numpy as np

        return np.asarray(references == answers)

    def decode(self, outputs: Outputs, signature: Signature, texts: Sequence[str] = (), *,
               top_k: int | None = None,  # noqa: ARG002 - the protocol's
               function: Function = "softmax") -> list[Any]:  # noqa: ARG002  # fmt: skip
        return [
            list(_entities(text, _spans(words, tags, sure)))
            for text, (words, tags, sure) in zip(texts, _by_text(outputs, signature), strict=True)
        ]


def _entities(text: str, spans: Sequence[tuple[Span, float]]) -> Iterator[dict[str, Any]]:
    """Spans as transformers' pipeline shows them."""
    for span, score in spans:
        word = text[span.start : span.end]
        yield {"entity_group": span.kind, "score": score, "word": word, "start": span.start, "end": span.end}


def _joined(tokens: Sequence[Any], tags: Sequence[Any], text: Any) -> tuple[str, str]:
    """Text and spans of tokens, whose tags are IOB2 or BIOES; what is IOB1 is told by `data.source.scheme`."""
    if len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens have {len(tags)} tags")
    if any(isinstance(tag, int) for tag in tags):
        raise ValueError("the tags are numbers; `columns.tag_names` says what they are called, in the order of numbers")
    bad = [tag for tag in tags if not isinstance(tag, str) or not is_tag(tag)]
    if bad:
        raise ValueError(f"{short(bad[0])} is not a tag: O, or B- or I- and the kind of the entity")
    words = [str(token) for token in tokens]
    empty = next((at for at, token in enumerate(tokens) if token is None or not str(token).strip()), None)
    if empty is not None:
        raise ValueError(f"token {empty + 1} is empty")
    try:
        tags = to_iob2(tags, "bioes" if any(tag[0] in "ESLU" for tag in tags) else "iob2")
    except TagError as error:
        hint = "; `scheme: iob1` says that it may" if tags[error.at][0] == "I" else ""
        raise ValueError(f"token {error.at + 1}: {error}{hint}") from None
    whole = text if isinstance(text, str) else " ".join(words)
    starts, at = [], 0
    for word in words:
        at = whole.find(word, at)
        if at < 0:
            raise ValueError(f"the token {word[:60]!r} is not in the text behind those before it")
        starts.append(at)
        at += len(word)
    return whole, dump(from_tags(words, tags, starts))


def _within(spans: Sequence[Span], words: Sequence[Word]) -> list[Span]:
    """The spans that a piece has to do with."""
    if not words:
        return []
    first, last = words[0].start, words[-1].end
    return [span for span in spans if span.end > first and span.start < last]


def _by_text(outputs: Outputs, signature: Signature) -> Iterator[tuple[list[Word], list[str], NDArray[np.float32]]]:
    """For each text its words, their likeliest tags, and how likely these are, float32, shape (words,)."""
    import numpy as np

    if not len(outputs.rows):
        return
    chances = softmax(outputs.logits / signature.temperature)
    likeliest = chances.argmax(axis=-1)
    found: list[tuple[list[Word], list[str], list[float]]] = [([], [], []) for _ in range(outputs.rows[-1].text + 1)]
    for row, ids, sure in zip(outputs.rows, likeliest, chances.max(axis=-1), strict=True):
        words, tags, scores = found[row.text]
        for word in row.words:
            words.append(word)
            tags.append(signature.labels[ids[word.token]])
            scores.append(float(sure[word.token]))
    for words, tags, scores in found:
        # Windows of one sentence may share out their words in another order than that of the text.
        order = sorted(range(len(words)), key=lambda at: words[at].start)
        yield [words[at] for at in order], [tags[at] for at in order], np.array(scores, dtype=np.float32)[order]


def _spans(words: Sequence[Word], tags: Sequence[str], sure: NDArray[np.float32]) -> list[tuple[Span, float]]:
    """Spans, and how sure the model is of each: the mean over its words, as transformers' pipeline has it."""
    return [
        (Span(words[first].start, words[last - 1].end, kind), float(sure[first:last].mean()))
        for first, last, kind in grouped(tags)
    ]
