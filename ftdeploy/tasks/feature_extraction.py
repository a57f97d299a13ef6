"""feature-extraction: a vector for a text (an embedding), of length 1, pooled in the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftdeploy.neighbours import dump, label_in, load, nearest
from ftdeploy.tasks.said import Function, Said, encode_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from ftdeploy.encoded import Encoded, Outputs
    from ftdeploy.signature import Signature
    from ftdeploy.windows import Windows

#: What every answer is called where answers are counted.
EMBEDDING = "embedding"


class FeatureExtraction:
    """Sentence embeddings by a checkpoint as it is: the network's output is the vector, and no head is trained.

    A row's label is its neighbourhood (`ftdeploy.neighbours`): a label that the data may have, and the rows nearest by
    the vectors. What is right is what the float model says.
    """

    name = exported_as = "feature-extraction"
    auto_class = "AutoModel"
    problem_type: str | None = None
    metrics: tuple[str, ...] = ("neighbour_agreement",)
    beyond_chance: str | None = None
    encoder_decoder = False
    per_token = False
    vectors = True
    multi_label = False
    number = False
    probabilities = False
    one_label = False
    unit = "neighbours"
    measures: tuple[str, ...] = ("neighbour_agreement", "neighbour_accuracy")
    function: Function = "softmax"
    windows = False
    pairs = False
    view = "vectors"
    misfit = ("the column holds something else than names", "check `data.columns.label`")

    # ---- rows

    def read(self, row: Mapping[str, Any], text: str, label: str | None,
             separator: str | None = None) -> tuple[Any, Any]:  # noqa: ARG002 - the protocol's  # fmt: skip
        cell = row.get(label) if label is not None else None
        if cell is None:
            return row.get(text), dump("")
        return row.get(text), dump(" ".join(str(cell).split())) if isinstance(cell, str | int | float) else cell

    def names(self, label: str) -> tuple[str, ...]:
        name = label_in(label)
        return (name,) if name else ()

    def renamed(self, label: str, called: Mapping[str, str | None]) -> str | None:
        name = label_in(label)
        fresh = called.get(name, name)
        return None if fresh is None else dump(fresh)

    def true_label(self, given: Any, labels: Sequence[str], text: str | None = None) -> str:  # noqa: ARG002 - the protocol's
        raise ValueError("label: an answer is a vector, and nobody can say which one is right")

    def true_label_schema(self, labels: Sequence[str]) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        return {"not": {}}

    def summary(self, label: str) -> str:
        return label_in(label)

    def moved(self, label: str, before: str, after: str) -> str | None:  # noqa: ARG002 - the protocol's
        return label

    def masked(self, label: str, summary: str) -> str:  # noqa: ARG002 - the protocol's
        return dump(summary)

    def show(self, label: str, text: str) -> str:  # noqa: ARG002 - the protocol's
        name, rows = load(label)
        near = f"nearest: rows {', '.join(map(str, rows))}" if rows else ""
        return " ".join(part for part in (name, f"({near})" if near and name else near) if part) or "(none)"

    def check_labels(self, counts: Mapping[str, int]) -> None:
        """Any labels will do, and none."""

    def counted(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(names)

    # ---- the network's labels: there are none

    def head(self, names: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def known_names(self, labels: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def summaries(self, labels: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return (EMBEDDING,)

    # ---- tokens

    def prepare_tokenizer(self, tokenizer: Tokenizer, max_length: int,
                          windows: Windows | None = None, *,  # noqa: ARG002 - the protocol's
                          pairs: bool = False) -> None:  # noqa: ARG002  # fmt: skip
        tokenizer.enable_truncation(max_length)
        tokenizer.no_padding()

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,
               windows: Windows | None = None,  # noqa: ARG002 - the protocol's
               pair_length: int | None = None) -> list[Encoded]:  # noqa: ARG002  # fmt: skip
        return encode_whole(tokenizer, texts, unknown=unknown)

    def targets(self, labels: Sequence[str], known: Sequence[str],  # noqa: ARG002 - the protocol's
                rows: Sequence[Encoded] = ()) -> NDArray[np.int64]:  # noqa: ARG002  # fmt: skip
        raise ValueError("no network answers with these labels")

    # ---- answers

    def said(self, outputs: Outputs, signature: Signature) -> Said:  # noqa: ARG002 - the protocol's
        import numpy as np

        rows = nearest(outputs.logits)
        labels = [dump("", [*sorted(near), *near[:1]]) for near in rows.tolist()]
        return Said(labels=labels, scores=np.ones(len(rows), dtype=np.float32))

    def compared(self, labels: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[str]]:
        """What is right is the row's label and what lies near it by the first model; an answer's label is that of the
        nearest row, which stands last in it. A label that no other row has can be found near none, and counts as none.
        """
        own = [label_in(label) for label in labels]
        often = Counter(own)
        read = [[load(label).rows for label in answer] for answer in answers]
        first = [dump(label if often[label] > 1 else "", rows[:-1]) for label, rows in zip(own, read[0], strict=True)]
        return [first, *([dump(own[rows[-1]] if rows else "", rows[:-1]) for rows in answer] for answer in read)]

    def right(self, labels: Sequence[str], references: NDArray[np.int64],
              answers: NDArray[np.int64]) -> NDArray[np.bool_]:  # fmt: skip
        """Whether at least half of what lies near a row by the float model lies near it still."""
        import numpy as np

        known = {label: frozenset(load(labels[label]).rows) for label in np.union1d(references, answers).tolist()}
        pairs = zip(references.tolist(), answers.tolist(), strict=True)
        return np.array([2 * len(known[true] & known[said]) >= len(known[true]) for true, said in pairs], dtype=bool)

    def decode(self, outputs: Outputs, signature: Signature, texts: Sequence[str] = (), *,  # noqa: ARG002 - the protocol's
               top_k: int | None = None, function: Function = "softmax") -> list[Any]:  # noqa: ARG002  # fmt: skip
        return list(outputs.logits)
