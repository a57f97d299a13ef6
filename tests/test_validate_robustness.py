"""Rows asked again: what changes, what goes the wrong way, and answers that depend on what is asked beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta
from scripted import Scores, ScriptedModel

from ftdeploy.errors import ConfigError
from ftdeploy.suite import Case, Consistency, Directional, Gate, Robustness, Suite
from ftdeploy.validate.answers import Answer, Answers, chances, subjects
from ftdeploy.validate.gates import Evidence, judge
from ftdeploy.validate.robustness import Asked, ask_again, results
from ftdeploy.verdict import GateResult

WORDS = ("good", "bad")


def by_words(texts: Sequence[str]) -> Scores:
    """As sure as there are words of either kind; in any case of letters."""
    said = [text.lower() for text in texts]
    signs = np.array([text.count("good") - text.count("bad") for text in said], dtype=np.float64)
    yes = 1 / (1 + np.exp(-2 * signs))
    return np.asarray(np.stack([1 - yes, yes], axis=1), dtype=np.float32)


def lower_case_only(texts: Sequence[str]) -> Scores:
    """The same, and blind to words in capitals."""
    return by_words(["" if text.isupper() or text.istitle() else text for text in texts])


def table(rows: int) -> list[str]:
    return [f"a film that is {WORDS[row % 2]} and number {row}" for row in range(rows)]


def asked(gate: Gate, baseline: ScriptedModel, candidate: ScriptedModel, *, rows: int = 200, seed: int = 13,
          columns: dict[str, list[str]] | None = None, cases: tuple[Case, ...] = (),
          texts: list[str] | None = None) -> tuple[Suite, Answers, dict[Gate, tuple[Asked, ...]]]:  # fmt: skip
    """What `ask_again` finds, and what it was given."""
    texts = texts or table(rows)
    before, after = subjects(baseline, candidate)
    answers = Answers(
        ids=[str(row) for row in range(len(texts))], texts=texts, columns=columns or {}, labels=candidate.labels,
        references=np.arange(len(texts), dtype=np.int64) % 2 ^ 1,
        baseline=Answer(probabilities=chances(before.said(texts))),
        candidate=Answer(probabilities=chances(after.said(texts))),
    )  # fmt: skip
    suite = Suite(gates=(gate,), seed=seed, cases=cases)
    return suite, answers, ask_again(suite, answers, before, after)


def judged(gate: Gate, baseline: Callable[[Sequence[str]], Scores], candidate: Callable[[Sequence[str]], Scores],
           **keys: Any) -> GateResult:  # fmt: skip
    suite, answers, found = asked(gate, ScriptedModel(baseline), ScriptedModel(candidate), **keys)
    (result,) = judge(suite, Evidence(answers=answers, costs={}, identical=False, timing_rows=8, asked=found), ())
    return result


def invariance(**keys: Any) -> Robustness:
    return Robustness(kind="robustness", perturbation="case", **({"maximum": 0.05} | keys))


@pytest.mark.parametrize(
    ("candidate", "rows", "verdict", "words"),
    [
        (by_words, 200, "pass", "with 95% confidence at most"),
        (lower_case_only, 200, "fail", "5.00% are allowed"),
        (by_words, 30, "inconclusive", "rows would do"),
    ],
)
def test_invariance(candidate: Callable[[Sequence[str]], Scores], rows: int, verdict: str, words: str) -> None:
    """A model that reads capitals passes where there are rows enough to tell; one that does not fails, with examples
    of what changed; the interval is Clopper and Pearson's."""
    found = judged(invariance(rows=200), by_words, candidate, rows=rows)
    assert (found.verdict, found.unit, found.better, found.rows) == (verdict, "share", "lower", rows)
    assert words in found.explanation
    hits = round(found.value * rows)
    assert found.upper == pytest.approx(beta.ppf(0.95, hits + 1, rows - hits))
    assert bool(found.details) == (verdict == "fail")
    assert found.baseline == 0
    if verdict == "inconclusive":
        assert found.rows_to_decide
        again = judged(invariance(rows=1000), by_words, candidate, rows=found.rows_to_decide)
        assert again.verdict == "pass"
        assert judged(invariance(rows=1000), by_words, candidate, rows=found.rows_to_decide - 3).verdict != "pass"


@pytest.mark.parametrize(
    ("baseline", "candidate", "rows", "verdict"),
    [
        (lower_case_only, lower_case_only, 200, "pass"),
        (by_words, lower_case_only, 200, "fail"),
        (lower_case_only, lower_case_only, 20, "inconclusive"),
    ],
)
def test_a_margin_compares_with_the_baseline(baseline: Callable[[Sequence[str]], Scores],
                                             candidate: Callable[[Sequence[str]], Scores], rows: int,
                                             verdict: str) -> None:  # fmt: skip
    """What the baseline never could is no fault of the candidate; the difference is paired."""
    found = judged(invariance(maximum=None, margin=0.05, rows=200), baseline, candidate, rows=rows)
    assert (found.verdict, found.unit) == (verdict, "difference")
    assert found.value == found.difference == pytest.approx(found.candidate - found.baseline)
    assert found.lower <= found.value <= found.upper
    assert (found.rows_to_decide is not None) == (verdict == "inconclusive")


@pytest.mark.parametrize(
    ("add", "label", "maximum", "rows", "verdict"),
    [
        ("It is good.", "yes", 0.1, 200, "pass"),
        ("It is bad, bad.", "yes", 0.1, 200, "fail"),
        ("It is good.", "yes", 0.1, 20, "inconclusive"),
    ],
)
def test_words_that_speak_for_a_label(add: str, label: str, maximum: float, rows: int, verdict: str) -> None:
    """They may not make it less likely by more than the tolerance; the text before stays as it is."""
    gate = Directional(kind="directional", add=add, label=label, maximum=maximum)
    found = judged(gate, by_words, by_words, rows=rows)
    assert (found.verdict, found.rows) == (verdict, rows)
    if verdict == "fail":
        assert all(add in line for line in found.details)


def test_the_tolerance_of_a_direction() -> None:
    """A fall within it is none; one beyond it counts on every row where it happens."""
    strict, lenient = (
        Directional(kind="directional", add="It is bad.", label="yes", maximum=0.1, tolerance=tolerance)
        for tolerance in (0.2, 0.99)
    )
    assert judged(strict, by_words, by_words).value == 0.5  # from a bad text there is not so far to fall
    assert judged(lenient, by_words, by_words).value == 0


def reversed_in_a_batch(scores: Scores) -> Scores:
    return scores[::-1]


def shaken_by_neighbours(scores: Scores) -> Scores:
    """The first answer of a batch is the last one's, as where a state leaks."""
    found = scores.copy()
    found[0] = scores[-1]
    return found


@pytest.mark.parametrize(
    ("together", "verdict"),
    [(lambda scores: scores, "pass"), (reversed_in_a_batch, "fail")],
)
def test_answers_in_another_order_than_the_questions_are_caught(together: Any, verdict: str) -> None:
    """What is right for a text alone, and wrong for it in a batch, depends on the batch."""
    gate = Consistency(kind="consistency", rows=128)
    model = ScriptedModel(by_words, together=together)
    suite, answers, found = asked(gate, model, model)
    (result,) = judge(suite, Evidence(answers=answers, costs={}, identical=False, timing_rows=8, asked=found), ())
    assert (result.verdict, result.rows) == (verdict, 128)
    assert [one.name for one in found[gate]] == ["alone", "reordered"]


def test_a_few_rows_cannot_tell_whether_answers_depend_on_the_batch() -> None:
    """Nothing changes among 20, which excludes no share under a seventh."""
    found = judged(Consistency(kind="consistency", rows=16), by_words, by_words, rows=20)
    assert (found.verdict, found.value, found.rows) == ("inconclusive", 0, 16)


def test_one_answer_that_leaks_into_another_counts_once() -> None:
    """A row is counted that changes in either of the tests; the report has the share of each."""
    gate = Consistency(kind="consistency", rows=16, maximum=0.5)
    model = ScriptedModel(by_words, together=shaken_by_neighbours)
    suite, answers, found = asked(gate, model, model, rows=17)
    (result,) = judge(suite, Evidence(answers=answers, costs={}, identical=False, timing_rows=8, asked=found), ())
    each = results(found, 0.95)
    assert [one.name for one in each] == ["alone", "reordered"]
    assert result.value * 16 == pytest.approx(np.logical_or(found[gate][0].candidate, found[gate][1].candidate).sum())
    assert max(one.candidate.value for one in each) <= result.value


def test_the_seed_chooses_the_rows() -> None:
    """The same rows for the same seed, others for another; a gate on few rows asks for those few."""
    gate = invariance(rows=20)
    found = []
    for seed in (1, 1, 2):
        seen: list[str] = []

        def noting(texts: Sequence[str], seen: list[str] = seen) -> Scores:
            seen.extend(texts)
            return by_words(texts)

        asked(gate, ScriptedModel(by_words), ScriptedModel(noting), seed=seed)
        found.append(seen[200:])
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 20


def test_texts_that_cannot_be_changed_are_not_counted() -> None:
    """Numbers have no case: their share of unchanged answers would make any model look steady. Of nothing but numbers
    nothing can be told."""
    mixed = [f"{row}" for row in range(100)] + [f"good {row}" for row in range(50)]
    assert judged(invariance(rows=200), by_words, lower_case_only, texts=mixed).rows == 50
    found = judged(invariance(rows=200), by_words, by_words, texts=mixed[:100])
    assert (found.verdict, found.rows) == ("inconclusive", 0)
    assert "no row that could be asked again" in found.explanation
    found = judged(invariance(maximum=None, margin=0.1), by_words, by_words, texts=mixed[:100])
    assert found.verdict == "inconclusive"


def test_one_model_is_asked_once() -> None:
    """A candidate that is its own baseline does not answer everything twice."""
    gate = invariance(rows=50)
    model, other = ScriptedModel(by_words), ScriptedModel(by_words)
    asked(gate, model, model)
    assert model.asked == 2 * 200 + 50  # the rows themselves are asked for by the test, for either side
    asked(gate, ScriptedModel(by_words), other)
    assert other.asked == 200 + 50


def test_a_case_is_judged_on_its_rows() -> None:
    """Only they are asked again; a case that no row is of is an error."""
    columns = {"case": ["one" if row < 60 else "two" for row in range(200)]}
    cases = tuple(Case.model_validate({"name": name, "source": {"path": "x.csv"}}) for name in ("one", "two", "three"))
    found = judged(invariance(case="one", rows=100), by_words, by_words, columns=columns, cases=cases)
    assert (found.rows, found.case) == (60, "one")
    with pytest.raises(ConfigError, match="'three', and no row is of it"):
        judged(invariance(case="three"), by_words, by_words, columns=columns, cases=cases)
    with pytest.raises(ConfigError, match="no row is of it") as caught:
        judged(invariance(case="one"), by_words, by_words, cases=cases)
    assert "a run judges its own test rows" in caught.value.cause
    assert "leave `case` out" in caught.value.fix
    assert judged(invariance(case="one"), by_words, by_words, cases=cases[:1]).rows == 200
