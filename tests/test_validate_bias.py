"""Gaps between groups, their intervals and gates, held against fairlearn; and swapped identity terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from fairlearn.metrics import (  # type: ignore[import-untyped]  # it has no types
    demographic_parity_difference,
    equalized_odds_difference,
    false_negative_rate_difference,
    false_positive_rate_difference,
)
from scripted import sure
from tiny import write_model_folder

from ftdeploy.errors import ConfigError
from ftdeploy.measure import Cost, CostRatio
from ftdeploy.models.local import LocalModel
from ftdeploy.suite import Gap, GapMetric, Suite, Swap
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.bias import Share, difference, gaps, judge_gap, widest, wilson
from ftdeploy.validate.bias_swaps import swapper
from ftdeploy.validate.evaluation import evaluate_models
from ftdeploy.validate.gates import Evidence, judge
from ftdeploy.validate.render import junit, write_report
from ftdeploy.verdict import Compared, GateResult, read_report

COLUMN = "terms:gender"


def answers(rows: int, *, seed: int = 1, shift: float = 0.0, labels: tuple[str, ...] = ("no", "yes")) -> Answers:
    """Random answers; women get the last label more often, by ``shift``."""
    draw = np.random.default_rng(seed)
    groups = draw.choice(["female", "male", ""], rows, p=[0.3, 0.3, 0.4])
    references = draw.integers(len(labels), size=rows)
    predictions = np.where(draw.random(rows) < 0.8, references, draw.integers(len(labels), size=rows))
    predictions[(groups == "female") & (draw.random(rows) < shift)] = len(labels) - 1
    texts = [str(row) for row in range(rows)]
    count = len(labels)
    return Answers(ids=texts, texts=texts, columns={COLUMN: groups.tolist()}, labels=labels, references=references,
                   baseline=sure(references, labels=count), candidate=sure(predictions, labels=count))  # fmt: skip


def gap(metric: GapMetric, maximum: float = 0.1, **keys: Any) -> Gap:
    return Gap(kind="gap", metric=metric, slice=COLUMN, maximum=maximum, **keys)


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        ("selection_rate", demographic_parity_difference),
        ("equalized_odds", equalized_odds_difference),
        ("false_positive_rate", false_positive_rate_difference),
        ("false_negative_rate", false_negative_rate_difference),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_gaps_are_those_of_fairlearn(metric: GapMetric, theirs: Any, seed: int) -> None:
    """The value of the gate, for both models, is what fairlearn computes from the same answers."""
    made = answers(400, seed=seed, shift=0.2)
    found = judge_gap(gap(metric), Suite(slice_rows=10), made)
    groups = made.columns[COLUMN]
    for answer, value in ((made.candidate, found.candidate), (made.baseline, found.baseline)):
        assert value == pytest.approx(theirs(made.references, answer.predictions, sensitive_features=groups))
    assert found.lower <= found.value <= found.upper


def test_of_several_labels_the_greatest_gap_counts() -> None:
    """Without a label each is looked at; with one, that one alone."""
    made = answers(600, shift=0.3, labels=("a", "b", "c"))
    each = {name: judge_gap(gap("selection_rate", label=name), Suite(), made).value for name in made.labels}
    for name, value in each.items():
        one = demographic_parity_difference(
            made.references == made.labels.index(name), made.candidate.predictions == made.labels.index(name),
            sensitive_features=made.columns[COLUMN],
        )  # fmt: skip
        assert value == pytest.approx(one)
    assert judge_gap(gap("selection_rate"), Suite(), made).value == max(each.values())


@pytest.mark.parametrize(
    ("rows", "shift", "maximum", "verdict", "words"),
    [
        (4000, 0.0, 0.15, "pass", "at most"),
        (4000, 0.6, 0.1, "fail", "at least"),
        (400, 0.1, 0.15, "inconclusive", "cannot exclude"),
    ],
)
def test_the_interval_decides(rows: int, shift: float, maximum: float, verdict: str, words: str) -> None:
    """Passes when the whole interval is under the maximum, fails when all of it is above, else cannot tell."""
    found = judge_gap(gap("selection_rate", maximum), Suite(), answers(rows, shift=shift))
    assert found.verdict == verdict
    assert words in found.explanation
    assert (found.upper <= maximum) == (verdict == "pass")
    assert (found.lower > maximum) == (verdict == "fail")
    assert (found.better, found.limit) == ("lower", maximum)


def test_the_rows_that_are_asked_for_decide() -> None:
    """With as many rows in the same shares the gate passes."""
    few = answers(400, shift=0.1)
    found = judge_gap(gap("selection_rate"), Suite(), few)
    limit = found.value + 0.3 * (found.upper - found.value)
    found = judge_gap(gap("selection_rate", limit), Suite(), few)
    assert found.verdict == "inconclusive"
    assert found.rows_to_decide
    times = -(-found.rows_to_decide // 400)

    def repeated(values: Any) -> Any:
        return np.tile(values, times)

    again = Answers(
        ids=list(few.ids) * times, texts=list(few.texts) * times, labels=few.labels,
        columns={COLUMN: list(few.columns[COLUMN]) * times}, references=repeated(few.references),
        baseline=sure(repeated(few.baseline.predictions)), candidate=sure(repeated(few.candidate.predictions)),
    )  # fmt: skip
    assert judge_gap(gap("selection_rate", limit), Suite(), again).verdict == "pass"


def test_equal_groups_seldom_fail_and_unequal_ones_seldom_pass() -> None:
    """At 95%: where the true gap is just the maximum, at most about 5 in 100 samples pass; where there is none, at most
    about 5 in 100 have an interval above 0."""
    draw, times = np.random.default_rng(3), 600
    passes = above = 0
    for _ in range(times):
        unequal = [Share(hits=int(draw.binomial(150, p)), of=150) for p in (0.4, 0.5, 0.5)]
        alike = [Share(hits=int(draw.binomial(150, 0.4)), of=150) for _ in range(3)]
        found, none = widest([unequal], 0.95), widest([alike], 0.95)
        assert found is not None
        assert none is not None
        passes += found.upper <= 0.1
        above += none.lower > 0
    assert passes / times < 0.07
    assert above / times < 0.07


def test_intervals_are_those_of_the_literature() -> None:
    """Newcombe (1998), table II, example (a): 56/70 and 48/80, method 10, two-sided 95%: 0.0524 to 0.3339."""
    found = difference(Share(hits=56, of=70), Share(hits=48, of=80), 0.975)
    assert (round(found.lower, 4), round(found.upper, 4)) == (0.0524, 0.3339)
    assert wilson(Share(hits=0, of=10), 1.96)[0] == 0


def test_too_few_groups_cannot_be_compared() -> None:
    """A slice of which one group has enough rows is inconclusive, and says why."""
    found = judge_gap(gap("error_rate"), Suite(slice_rows=100), answers(120))
    assert found.verdict == "inconclusive"
    assert "Fewer than two groups" in found.explanation
    assert found.rows_to_decide is None


def test_unknown_slices_and_labels_are_errors() -> None:
    """Each says what there is."""
    with pytest.raises(ConfigError, match="terms:gender"):
        judge_gap(gap("error_rate").model_copy(update={"slice": "terms:gendre"}), Suite(), answers(100))
    with pytest.raises(ConfigError, match="which the model does not have"):
        judge_gap(gap("selection_rate", label="maybe"), Suite(), answers(100))
    with pytest.raises(ValueError, match="leave label out"):
        gap("error_rate", label="yes")


def test_each_group_is_held_against_the_rest() -> None:
    """Columns of terms are always reported, others where a gate names them; the widest gap comes first."""
    made = answers(900, shift=0.5)
    found = list(gaps(Suite(), made))
    assert {one.slice for one in found} == {COLUMN}
    sizes = [abs(one.candidate.value) for one in found]
    assert sizes == sorted(sizes, reverse=True)
    one = next(item for item in found if (item.metric, item.value) == ("selection_rate", "female"))
    female = np.array(made.columns[COLUMN]) == "female"
    says = made.candidate.predictions == 1
    assert one.candidate.value == pytest.approx(says[female].mean() - says[~female].mean())
    assert (one.rows, one.label) == (female.sum(), "yes")
    suite = Suite(gates=(Gap(kind="gap", metric="error_rate", slice="label", maximum=0.1),))
    assert {one.slice for one in gaps(suite, made)} == {COLUMN, "label"}


def test_a_gap_is_a_gate_like_the_others() -> None:
    """`judge` knows it."""
    names: tuple[Cost, ...] = ("size", "throughput", "latency_p50", "latency_p95")
    costs = {name: CostRatio(cost=name, baseline=1, candidate=1, ratio=1, lower=1, upper=1, confidence=0.98)
             for name in names}  # fmt: skip
    evidence = Evidence(answers=answers(4000, shift=0.6), costs=costs, identical=False, timing_rows=8)
    (found,) = judge(Suite(gates=(gap("selection_rate"),)), evidence, ())
    assert isinstance(found, GateResult)
    assert (found.kind, found.verdict) == ("gap", "fail")


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("She said that HE ran.", "He said that SHE ran."),
        ("the others, here and there", "the others, here and there"),
        ("an Old Woman and a man", "an Old Man and a woman"),
        ("I do", "I do"),
    ],
)
def test_terms_are_swapped_as_whole_words_in_their_case(text: str, swapped: str) -> None:
    """Both ways at once; parts of words stay; upper case and capitals are taken over."""
    change = swapper([("he", "she"), ("man", "woman")])
    assert change(text) == swapped
    assert change(swapped) == text


def test_a_pair_wants_two_different_terms() -> None:
    """A term cannot be its own counterpart."""
    with pytest.raises(ValueError, match="not two different terms"):
        Swap(name="none", pairs=(("He", "he"),))


def _report(tmp_path: Path, pairs: tuple[tuple[str, str], ...]) -> Any:
    write_model_folder(tmp_path / "model", ("no", "yes"))
    texts = ["the good film", "the bad film", "a superb film", "the film was good"] * 20
    table = pa.table({"text": texts, "label": ["yes", "no", "yes", "yes"] * 20, "id": [str(n) for n in range(80)],
                      COLUMN: ["", "film", "", "film"] * 20})  # fmt: skip
    suite = Suite(gates=(gap("selection_rate", 0.5),), swaps=(Swap(name="pairs", pairs=pairs),), slice_rows=10,
                  resamples=1000, timing_rows=8, timing_rounds=5)  # fmt: skip
    model = LocalModel("model", "onnx", tmp_path / "model", digest="d")
    report, made = evaluate_models(
        suite, table, baseline=model, candidate=model, dataset=Compared(made_by="x@1", digest="d"), name="demo",
        task="text-classification",
    )  # fmt: skip
    write_report(report, made, tmp_path)
    return report


@pytest.mark.parametrize(("pair", "changed"), [(("good", "bad"), 1.0), (("film", "the"), 0.0)])
def test_counterfactuals_are_counted_on_rows_with_a_term(
    tmp_path: Path, pair: tuple[str, str], changed: Literal[0, 1]
) -> None:
    """Words that the model hangs on change its answers, others do not; only rows with a term count."""
    (found,) = _report(tmp_path, (pair,)).swaps
    assert found.rows == (60 if "good" in pair else 80)
    assert found.candidate.changed.value == changed
    assert found.candidate.changed.lower <= found.candidate.changed.value <= found.candidate.changed.upper
    assert found.candidate == found.baseline
    assert (found.candidate.score.value > 0.5) == (changed == 1)


def test_gaps_and_swaps_stand_in_every_report(tmp_path: Path) -> None:
    """JSON reads back as it was written; the page and the JUnit file name the gate; the page shows both tables."""
    report = _report(tmp_path, (("good", "bad"),))
    assert read_report(tmp_path / "report.json") == report
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Gaps between groups" in page
    assert "Swapped terms" in page
    assert report.gates[0].name in page
    assert report.gates[0].name in junit(report).decode()
