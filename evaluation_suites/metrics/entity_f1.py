"""Entity F1 as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/entity_f1.py")` loads it. Written on its own, without ftdeploy and without
seqeval, so that it also runs elsewhere, and so that its agreement with it means something.
"""

from __future__ import annotations

from collections import Counter

import datasets
import evaluate

_Entity = tuple[int, str, int, int]


class EntityF1(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """F1 of entities in IOB2: right is only what begins, ends, and is called as the reference says."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Precision, recall and F1 over all entities (micro), the mean of the types' F1 (macro), and of "
            "each type. An entity begins with B- and goes on with I- of the same type; an I- that continues nothing "
            "belongs to no entity.",
            citation="Ramshaw & Marcus (1995). Text chunking using transformation-based learning.",
            inputs_description="predictions, references: a list of tags a text: O, B-TYPE, I-TYPE.",
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("string")),
                    "references": datasets.Sequence(datasets.Value("string")),
                }
            ),
        )

    def _compute(self, predictions: list[list[str]], references: list[list[str]]) -> dict[str, object]:
        found, true = _entities(predictions), _entities(references)
        if [len(tags) for tags in predictions] != [len(tags) for tags in references]:
            raise ValueError("predictions and references differ in their numbers of tags")
        guessed, wanted = Counter(one[1] for one in found), Counter(one[1] for one in true)
        hits = Counter(one[1] for one in found & true)
        types = sorted(guessed.keys() | wanted.keys())
        by_type = {kind: 2 * hits[kind] / (guessed[kind] + wanted[kind]) for kind in types}
        right = hits.total()
        return {
            "entity_f1": 2 * right / (len(found) + len(true)) if found or true else 0.0,
            "entity_precision": right / len(found) if found else 0.0,
            "entity_recall": right / len(true) if true else 0.0,
            "entity_macro_f1": sum(by_type.values()) / len(types) if types else 0.0,
            "by_type": by_type,
        }


def _entities(texts: list[list[str]]) -> set[_Entity]:
    """(text, type, first tag, one after the last) of each entity."""
    found = set()
    for text, tags in enumerate(texts):
        start, kind = 0, ""
        for at, tag in enumerate([*tags, "O"]):
            mark, _, named = tag.partition("-")
            if mark not in ("B", "I", "O") or (mark == "O") == bool(named):
                raise ValueError(f"{tag!r} is not a tag of IOB2: O, B-TYPE or I-TYPE")
            if kind and (mark != "I" or named != kind):
                found.add((text, kind, start, at))
                kind = ""
            if mark == "B":
                start, kind = at, named
    return found
