"""Rows asked again after a change: invariance, direction, and whether an answer depends on what is asked beside it.

The behavioural tests of CheckList (Ribeiro et al. 2020, "Beyond Accuracy"), on rows of the suite instead of templates.
Both models are asked the same, so that what the candidate lost can be told from what the baseline never had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ftdeploy import progress
from ftdeploy.metrics import Ids
from ftdeploy.pairs import each
from ftdeploy.pairs import shown as shown_text
from ftdeploy.statistics import share
from ftdeploy.suite import Consistency, Directional, Gate, Robustness, Suite
from ftdeploy.tasks import Said
from ftdeploy.validate.answers import Answer, Answers, Subject, chances
from ftdeploy.validate.perturb import perturb
from ftdeploy.validate.slices import case_rows
from ftdeploy.values import numbers, tolerance
from ftdeploy.verdict import Example, RobustnessResult, Scored

Kind: TypeAlias = Literal["robustness", "directional", "consistency"]
Flags: TypeAlias = NDArray[np.bool_]
#: Texts and answers before and after -> whether an answer changed, shape (rows,).
Judge: TypeAlias = Callable[[Sequence[str], Said, Sequence[str], Said], Flags]

#: Changed answers that a report shows of a test, and characters that it shows of a text.
_EXAMPLES, _CHARACTERS = 5, 2000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Rows that were asked again in one way.

    Attributes:
        name, kind: see `ftdeploy.verdict.RobustnessResult`.
        baseline, candidate: whether the answer changed, or went the wrong way: bool, shape (rows,).
        examples: some that did, of the candidate.
    """

    name: str
    kind: Kind
    baseline: Flags
    candidate: Flags
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.candidate)

    def result(self, confidence: float) -> RobustnessResult:
        """The same for the report, with the ends of the shares."""
        before, after = (_scored(flags, confidence) for flags in (self.baseline, self.candidate))
        return RobustnessResult(name=self.name, kind=self.kind, rows=len(self), baseline=before, candidate=after,
                                examples=self.examples)  # fmt: skip


def _scored(flags: Flags, confidence: float) -> Scored:
    if not len(flags):
        return Scored(value=0.0, lower=0.0, upper=1.0)
    found = share(int(flags.sum()), len(flags), confidence=confidence)
    return Scored(value=found.value, lower=found.lower, upper=found.upper)


def ask_again(suite: Suite, answers: Answers, baseline: Subject, candidate: Subject) -> dict[Gate, tuple[Asked, ...]]:
    """What came of asking rows again, for each gate that wants it.

    Args:
        suite: its gates, and the seed that chooses rows and changes.
        answers: to the rows as they are.
        baseline, candidate: the models; the same one twice is asked once.

    Raises:
        ConfigError: a gate names a case that the rows are not of.
    """
    gates = [gate for gate in suite.gates if isinstance(gate, Robustness | Directional | Consistency)]
    asker = _Asker(answers=answers, baseline=baseline, candidate=candidate, seed=suite.seed)
    found: dict[Gate, tuple[Asked, ...]] = {}
    with progress.task("ask again", total=len(gates)) as advance:
        for gate in gates:
            within = case_rows(suite, answers, gate.case)
            if isinstance(gate, Robustness):
                found[gate] = (asker.robustness(gate, within),)
            elif isinstance(gate, Directional):
                found[gate] = (asker.directional(gate, within),)
            else:
                found[gate] = asker.consistency(gate, within)
            advance(1)
    return found


@dataclass(frozen=True, kw_only=True)
class _Asker:
    answers: Answers
    baseline: Subject
    candidate: Subject
    seed: int

    def robustness(self, gate: Robustness, within: Ids) -> Asked:
        """The same label is wanted; only rows count whose text the change does change. Of two texts each is changed as
        it would be alone."""

        def change(text: str) -> str:
            return each(text, lambda one: perturb(one, gate.perturbation, seed=self.seed))

        rows, texts = self._changed(within, gate.rows, change)
        return self._asked(gate.perturbation, "robustness", rows, texts, self._other)

    def _other(self, texts: Sequence[str], before: Said, changed: Sequence[str], after: Said) -> Flags:
        """Whether a text is labelled otherwise, or its number is another one (`ftdeploy.values`). Spans are read as
        people read them: case and white space aside, which a change may be about."""
        if self.answers.task.number:
            truths = numbers(self.answers.labels)[self.answers.references]
            return np.asarray(np.abs(after.scores - before.scores) > tolerance(truths))
        if not self.answers.task.per_token:
            return np.asarray(np.array(before.labels) != np.array(after.labels))
        show = self.answers.task.show

        def read(label: str, text: str) -> str:
            return " ".join(show(label, text).casefold().split())

        pairs = zip(texts, before.labels, changed, after.labels, strict=True)
        return np.array([read(was, one) != read(now, other) for one, was, other, now in pairs], dtype=bool)

    def directional(self, gate: Directional, within: Ids) -> Asked:
        """The probability of a label may not fall by more than the tolerance."""
        label = list(self.answers.labels).index(gate.label)
        rows, texts = self._changed(within, gate.rows, lambda text: f"{text.rstrip()} {gate.add}".lstrip())

        def fell(_texts: Sequence[str], before: Said, _changed: Sequence[str], after: Said) -> Flags:
            was, now = (chances(one)[:, label] for one in (before, after))
            return np.asarray(now < was - np.float32(gate.tolerance))

        return self._asked(gate.add, "directional", rows, texts, fell)

    def consistency(self, gate: Consistency, within: Ids) -> tuple[Asked, Asked]:
        """The same texts without batch-mates, and in the opposite order."""
        rows = np.sort(self._drawn(within)[: gate.rows])
        texts = [self.answers.texts[row] for row in rows.tolist()]

        def reordered(model: Subject) -> Said:
            found = model.said(texts[::-1])
            return Said(labels=found.labels[::-1], scores=found.scores[::-1])

        return (
            self._asked("alone", "consistency", rows, texts, self._other, ask=lambda model: model.alone(texts)),
            self._asked("reordered", "consistency", rows, texts, self._other, ask=reordered),
        )

    def _drawn(self, within: Ids) -> Ids:
        return np.random.default_rng(self.seed).permutation(within)

    def _changed(self, within: Ids, count: int, change: Callable[[str], str]) -> tuple[Ids, list[str]]:
        """At most ``count`` rows whose text changes, drawn by the seed and in their order, and what it becomes."""
        found: dict[int, str] = {}
        for row in self._drawn(within).tolist():
            text = self.answers.texts[row]
            changed = change(text)
            if changed != text:
                found[row] = changed
            if len(found) == count:
                break
        rows = np.array(sorted(found), dtype=np.int64)
        return rows, [found[row] for row in rows.tolist()]

    def _asked(self, name: str, kind: Kind, rows: Ids, texts: Sequence[str], judge: Judge, *,
               ask: Callable[[Subject], Said] | None = None) -> Asked:  # fmt: skip
        asked = [self.answers.texts[row] for row in rows.tolist()]

        def of(model: Subject, answer: Answer) -> tuple[Flags, Said]:
            before = self.answers.said(answer, rows)
            after = (ask(model) if ask else model.said(texts)) if len(rows) else before
            return judge(asked, before, texts, after), after

        now, after = of(self.candidate, self.answers.candidate)
        was = now if self.baseline is self.candidate else of(self.baseline, self.answers.baseline)[0]
        shown, show = self.answers.shown, self.answers.task.show
        examples = tuple(
            Example(
                before=shown_text(asked[place])[:_CHARACTERS],
                after=shown_text(texts[place])[:_CHARACTERS],
                answer_before=shown(self.answers.candidate.predictions[rows[place]], asked[place]),
                answer_after=show(after.labels[place], texts[place]),
            )
            for place in np.flatnonzero(now)[:_EXAMPLES].tolist()
        )
        return Asked(name=name, kind=kind, baseline=was, candidate=now, examples=examples)


def results(asked: Mapping[Gate, Sequence[Asked]], confidence: float) -> tuple[RobustnessResult, ...]:
    """All tests for the report, each once."""
    return tuple(dict.fromkeys(one.result(confidence) for tests in asked.values() for one in tests))
