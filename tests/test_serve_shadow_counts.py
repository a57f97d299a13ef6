"""How answers are compared: labels, flips by pair, confidences; as numbers that can be added up."""

from __future__ import annotations

import prometheus_client.parser
import pytest

from ftdeploy.serve.exposition import FAMILIES, added, family_of, render, sample
from ftdeploy.serve.metrics import LABELS
from ftdeploy.serve.shadow_counts import Comparisons

WHO = {"champion": "a" * 12, "challenger": "b" * 12}


def compared() -> Comparisons:
    found = Comparisons("b" * 64)
    given = [("good", 0.9), ("good", 0.8), ("bad", 0.7), ("bad", 0.6)]
    found.note("a" * 64, given, [("good", 0.9), ("bad", 0.5), ("good", 0.75), ("bad", 1.0)])
    return found


def test_labels_and_confidences_are_compared_text_by_text() -> None:
    """Agreement, each pair of labels, both sums of confidences and how far they are apart."""
    assert compared().pairs["a" * 12].as_dict() == {
        "texts": 4,
        "agreed": 2,
        "flips": [
            {"champion": "good", "challenger": "bad", "texts": 1},
            {"champion": "bad", "challenger": "good", "texts": 1},
        ],
        "confidence": {
            "champion": pytest.approx(3.0),
            "challenger": pytest.approx(3.15),
            "apart": pytest.approx(0.0 + 0.3 + 0.05 + 0.4),
        },
        "differences": [[0.001, 1], [0.002, 0], [0.005, 0], [0.01, 0], [0.02, 0], [0.05, 0], [0.1, 1], [0.2, 0],
                        [0.5, 2], [1.0, 0]],
    }  # fmt: skip


def test_each_champion_is_counted_by_itself() -> None:
    """The one that was promoted meanwhile is another comparison."""
    found = compared()
    found.note("c" * 64, [("good", 0.9)], [("good", 0.9)])
    assert {name: pair.texts for name, pair in found.pairs.items()} == {"a" * 12: 4, "c" * 12: 1}


def test_metrics_are_declared_and_add_up() -> None:
    """Prometheus reads them, and those of a challenger that crashed count on."""
    once = compared().snapshot()
    assert {family_of(key) for key in once} <= set(FAMILIES)
    twice = added([once, once])
    assert twice[sample("ftdeploy_shadow_texts_total", **WHO)] == 8
    assert twice[sample("ftdeploy_shadow_flips_total", **WHO, **{"from": "good", "to": "bad"})] == 2
    assert twice[sample("ftdeploy_shadow_ready", challenger="b" * 12)] == 1
    families = {
        one.name: one for one in prometheus_client.parser.text_string_to_metric_families(render(twice).decode())
    }
    histogram = families["ftdeploy_shadow_difference_ratio"].samples
    assert [one.value for one in histogram if one.labels.get("le") in ("0.001", "0.1", "+Inf")] == [2, 4, 8]


def test_rare_pairs_of_many_labels_are_counted_together() -> None:
    """So that no model fills Prometheus; the file has them all."""
    found = Comparisons("b" * 64)
    pairs = [(f"label {number}", "other label") for number in range(2 * LABELS)]
    for before, after in [*pairs, pairs[3]]:
        found.note("a" * 64, [(before, 0.5)], [(after, 0.5)])
    flips = {key: value for key, value in found.snapshot().items() if family_of(key) == "ftdeploy_shadow_flips_total"}
    assert len(flips) == LABELS + 1
    assert flips[sample("ftdeploy_shadow_flips_total", **WHO, **{"from": "label 3", "to": "other label"})] == 2
    assert flips[sample("ftdeploy_shadow_flips_total", **WHO, **{"from": "other", "to": "other"})] == LABELS
    assert len(found.pairs["a" * 12].as_dict()["flips"]) == 2 * LABELS
