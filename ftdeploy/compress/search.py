"""The search: cheap candidates first, students while there is time, and only what is worth it is measured.

1. Every quantizer of the recipe on the fine-tuned model, and the best ones where its last layer is spared what nobody
   reads.
2. Students, one shape after the other, each quantized by the quantizers that did best in 1, with embeddings as it has
   learned with them.
3. What quantizing a student costs too much is given back: its most sensitive layers stay in float.
4. Where the recipe wants a cascade, students with a whole model behind them for what they are least sure of.
5. Tokens that the data does not need leave the vocabulary of the best ones.
6. Session options of the most promising one.

A chain whose beginning failed or lost too much is not made any longer. Everything made is kept in the work folder, so a
killed search goes on where it was; the time that it took counts over all its runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ftdeploy import progress
from ftdeploy.compress.cascade import margin_at
from ftdeploy.compress.choose import GOOD, goal
from ftdeploy.compress.judge import Judged, Jury
from ftdeploy.compress.make import CASCADE, FIRST_TOKEN, VOCABULARY, Chain, Made, Workshop
from ftdeploy.compress.outcome import Sensitivity
from ftdeploy.compress.sensitivity import layers_to_keep, sensitivity
from ftdeploy.compress.sessions import Goal as Wanted
from ftdeploy.compress.sessions import tune_session
from ftdeploy.compress.students import Cut, student_of
from ftdeploy.compress.tools.quantizers import QUANTIZERS
from ftdeploy.encoded import Outputs
from ftdeploy.errors import CompressionError, FtdeployError
from ftdeploy.files import write_json
from ftdeploy.recipe import CompressSettings

#: Quantizers that `auto` tries: quick ones; each was the best somewhere.
AUTO = (
    "inc-dynamic",
    "calibrated",
    "calibrated-embeddings",
    "calibrated-4bit",
    "calibrated-rows",
    "calibrated-rows-embeddings",
    "calibrated-rows-4bit",
)
#: Families that `auto` tries.
FAMILIES = (FIRST_TOKEN, "students", VOCABULARY, "mixed", "sessions")
#: Of both, those that count on one label for a row.
OF_ROWS = (FIRST_TOKEN, "students", "mixed", *(name for name, one in QUANTIZERS.items() if one.needs_labels))
#: How many quantizers go on to the students.
BEST = 3
#: How many quantized students are tried in cascades.
CASCADED = 2
#: Share of the search's time that is kept for what comes after the students: quantizing them, vocabulary, sessions.
RESERVED = 0.1
#: Of the time for students, what the first one gets when others may follow.
FIRST = 0.65
#: A student that has less than this many seconds to learn in is not begun.
LEAST = 20.0
#: A float student that falls by more than so many times max_drop is not quantized: quantizing does not mend it.
HOPELESS = 3.0
#: The same where a cascade mends more: what is wrong is mostly what it is least sure of.
HOPELESS_IN_CASCADE = 10.0
#: Why something was not made.
TIME_UP = "the time of the search was up"


@dataclass
class Clock:
    """The time of a search, over all its runs, in seconds.

    Attributes:
        budget: what there is.
        file: where it is kept between runs.
        closing: of it, what is kept for the end: measuring the best side by side, and the look at the test rows.
    """

    budget: float
    file: Path
    closing: float = 0.0
    _before: float = field(init=False)
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._before = float(json.loads(self.file.read_text(encoding="utf-8"))) if self.file.exists() else 0.0
        self._began = time.monotonic()

    def spent(self) -> float:
        """Seconds taken so far; noted, so that a killed run's time counts."""
        now = self._before + time.monotonic() - self._began
        write_json(self.file, now)
        return now

    def left(self) -> float:
        """Seconds that are left for making candidates; negative when it took longer."""
        return self.budget - self.closing - self.spent()


@dataclass(frozen=True, kw_only=True)
class Found:
    """A candidate as the search knows it: how it is made, what was made, and what the validation rows say."""

    chain: Chain
    made: Made
    judged: Judged

    @property
    def good(self) -> bool:
        """Whether it may be shipped."""
        return self.judged.status in GOOD

    @property
    def size(self) -> int:
        """Bytes of what was made."""
        return sum(path.stat().st_size for path in self.made.folder.iterdir()) if self.made.folder is not None else 0


class Search:
    """One search; `run` does it, ``found`` holds what it saw.

    Args:
        workshop: makes model folders.
        jury: scores them.
        settings: of the recipe.
        clock: the time.
        cuts: shapes of the students, in the order in which they are tried.
    """

    def __init__(self, workshop: Workshop, jury: Jury, settings: CompressSettings, clock: Clock, *,
                 cuts: Sequence[Cut]) -> None:  # fmt: skip
        self.workshop, self.jury, self.settings, self.clock, self.cuts = workshop, jury, settings, clock, list(cuts)
        self.found: list[Found] = []
        self._sensitivities: dict[tuple[str, ...], tuple[Sensitivity, ...]] = {}  # by the steps of what was looked at
        self._kept_float: dict[tuple[str, ...], tuple[str, ...]] = {}  # by the steps up to there
        self.notes: list[str] = []
        chosen = (*AUTO, *FAMILIES) if settings.candidates == "auto" else settings.candidates
        fitting = [name for name in chosen if jury.task.one_label or name not in OF_ROWS]
        self.quantizers = [name for name in fitting if name in QUANTIZERS]
        self.families = frozenset(name for name in fitting if name in FAMILIES)
        if left := [name for name in chosen if name not in fitting]:
            self.notes.append(f"Not tried, as they are made for one label a row: {', '.join(left)}.")
        self._hopeless = HOPELESS if settings.cascade is None else HOPELESS_IN_CASCADE
        self.base: Outputs = self._fp32()

    def run(self) -> None:
        """Make and score the candidates."""
        for name in self.quantizers:
            chain = Chain(steps=(name,))
            if QUANTIZERS[name].cost == "slow" and self.clock.left() < 0 and not self._made(chain):
                self._leave(chain, "skipped", TIME_UP)
            else:
                self._add(chain)
        best = [one.chain.steps[0] for one in self._ranked(self.found[1:])[:BEST]]
        if FIRST_TOKEN in self.families:
            self._first_token(best)
        if "students" in self.families:
            self._students(best)
        if "mixed" in self.families:
            self._mixed()
        if self.settings.cascade is not None:
            self._cascades(self.settings.cascade)
        if VOCABULARY in self.families:
            # Of cascades it was trimmed before they were joined.
            for one in self._ranked(one for one in self.found if one.good and CASCADE not in one.chain.steps)[:BEST]:
                self._add(Chain(steps=(*one.chain.steps, VOCABULARY)))
        if "sessions" in self.families:
            self._sessions()

    def _fp32(self) -> Outputs:
        outputs, reason, speed = self.jury.ask(self.workshop.onnx, "fp32")
        if outputs is None:
            raise CompressionError(
                f"the fp32 model could not be run: {reason}",
                cause="onnxruntime cannot run the export on this machine",
                fix="install the onnxruntime of constraints.txt; `ftdeploy doctor` says what is there",
            )
        # Few rows cannot prove even equal answers; what is shipped otherwise needs no proof.
        judged = replace(self.jury.hold(outputs, outputs, same_embedding=True, speed=speed), status="kept",
                         reason="the export as it is")  # fmt: skip
        self.found.append(Found(chain=Chain(), made=Made(folder=self.workshop.onnx), judged=judged))
        return outputs

    def _add(self, chain: Chain, *, exclude: dict[str, Sequence[str]] | None = None, cut: Cut | None = None,
             seconds: float = 0.0) -> Found:  # fmt: skip
        """Make and score one candidate."""
        with progress.task(f"make {chain.name}"):
            made = self.workshop.make(chain, exclude=exclude, cut=cut, seconds=seconds)
        if made.folder is None:
            judged = Judged(status="skipped" if made.absent else "failed", reason=made.reason, metrics={})
        else:
            # A student's embedding is its own.
            own = student_of(chain.steps) is not None
            judged = self.jury.judge(made.folder, self.base, name=chain.name, same_embedding=not own)
            if own and self.settings.cascade is not None and CASCADE not in chain.steps and judged.status in GOOD:
                judged = replace(judged, status="dropped", reason="a part of a cascade, which the recipe wants")
        one = Found(chain=chain, made=made, judged=judged)
        self.found.append(one)
        scores = ", ".join(f"{name} {scored.value:.4f}" for name, scored in judged.metrics.items())
        left = max(0.0, self.clock.left())
        progress.say(f"{chain.name}: {judged.status}, {scores or judged.reason} ({left / 60:.1f} min left)")
        return one

    def _leave(self, chain: Chain, status: str, reason: str) -> None:
        judged = Judged(status="cut" if status == "cut" else "skipped", reason=reason, metrics={})
        self.found.append(Found(chain=chain, made=Made(folder=None), judged=judged))

    def _ranked(self, some: Iterator[Found] | Sequence[Found]) -> list[Found]:
        """Good ones first, then by the objective as far as a first look tells."""
        seen = (one for one in some if one.judged.outputs is not None)
        return sorted(seen, key=lambda one: (one.good, first_look(one, self.settings)), reverse=True)

    def _students(self, quantizers: Sequence[str]) -> None:
        """One shape after the other; what the first shows decides whether a bolder or a gentler one follows."""
        for number, cut in enumerate(self.cuts):
            chain = Chain(steps=(cut.name,))
            time_left = self.clock.left() - RESERVED * self.clock.budget
            if time_left < LEAST and not self._begun(cut):
                self._leave(chain, "skipped", TIME_UP)
                continue
            share = FIRST if number == 0 and len(self.cuts) > 1 else 1.0
            student = self._add(chain, cut=cut, seconds=time_left * share)
            self._quantize_student(student, quantizers)

    def sensitivities(self, winner: Chain) -> tuple[Sensitivity, ...]:
        """Of the layers of what the winner was quantized from, with those that it keeps in float; where nobody looked
        at those, of what was looked at last."""
        parts = [winner.steps[:count] for count in range(len(winner.steps) + 1)]
        kept = {layer for part in parts for layer in self._kept_float.get(part, ())}
        # The longest: a student's own layers rather than those of the fine-tuned model.
        of_it = next((part for part in reversed(parts) if part in self._sensitivities), None)
        found = self._sensitivities[of_it] if of_it is not None else next(reversed(self._sensitivities.values()), ())
        return tuple(one.model_copy(update={"kept_float": one.layer in kept}) for one in found)

    def _first_token(self, quantizers: Sequence[str]) -> None:
        """The same answers without the last layer's work that nobody reads, as it is and quantized."""
        whole = self._add(Chain(steps=(FIRST_TOKEN,)))
        for name in quantizers if whole.good else ():
            self._add(Chain(steps=(FIRST_TOKEN, name)))

    def _made(self, chain: Chain) -> bool:
        """Whether an earlier run of this search made it."""
        return (self.workshop.work / "made" / chain.name).exists()

    def _begun(self, cut: Cut) -> bool:
        """Whether an earlier run of this search made it, or was at it."""
        return (self.workshop.work / cut.name).exists() or self._made(Chain(steps=(cut.name,)))

    def _quantize_student(self, student: Found, quantizers: Sequence[str]) -> None:
        steps = student.chain.steps
        hopeless = student.judged.outputs is None or self._fall(student) > self._hopeless
        fitting = {name: _fitting(name, self.quantizers, self.settings.distillation.embedding_bits)
                   for name in quantizers}  # fmt: skip
        for name in self.quantizers:
            chain = Chain(steps=(*steps, name))
            if hopeless:
                self._leave(chain, "cut", f"{student.chain.name}: {student.judged.reason}")
            elif name in fitting.values():
                self._add(chain)
            elif name in fitting:
                self._leave(chain, "cut", f"students have learned with embeddings as {fitting[name]} stores them")
            else:
                self._leave(chain, "cut", f"on the fine-tuned model {' and '.join(quantizers)} did better")

    def _cascades(self, share: float) -> None:
        """The best quantized students, each with a whole model behind it: the one closest to fp32 of those that are
        about as small as any. It works for few texts, and its faults are half of those that are left."""
        quantized = [one for one in self.found if one.chain.steps and one.chain.steps[-1] in QUANTIZERS]
        whole = [one for one in quantized if one.good and not student_of(one.chain.steps)]
        students = [one for one in self._ranked(quantized) if student_of(one.chain.steps)]
        students = [one for one in students if self._fall(one) <= self._hopeless][:CASCADED]
        if not students or not whole:
            missing = "student" if not students else "quantized model of full size"
            self.notes.append(f"No cascade was made: there is no {missing} for it.")
            return
        least = min(one.size for one in whole) * self.settings.min_gain
        second = min((one for one in whole if one.size <= least), key=_changed).chain.steps
        spared = any(one.chain.steps == (FIRST_TOKEN,) and one.good for one in self.found)
        if spared and second[0] != FIRST_TOKEN:
            second = (FIRST_TOKEN, *second)  # the same answers for less
        for student in students:
            first, behind = student, second
            if VOCABULARY in self.families:
                trimmed = self._add(Chain(steps=(*student.chain.steps, VOCABULARY)))
                if trimmed.judged.outputs is not None:
                    first, behind = trimmed, (*second, VOCABULARY)
            self._cascade(first, behind, share)

    def _cascade(self, first: Found, second: tuple[str, ...], share: float) -> None:
        """A student with a whole model behind it."""
        if first.judged.outputs is None:
            return
        margin = margin_at(first.judged.outputs.logits, share)
        chain = Chain(steps=(*first.chain.steps, CASCADE), second=second, margin=margin)
        self._add(chain)
        self.notes.append(
            f"{chain.name}: where the two highest logits are less than {margin:.3g} apart, as of {share:.0%} of "
            f"the validation rows, {'+'.join(second)} answers."
        )

    def _fall(self, one: Found) -> float:
        """The largest loss of a metric, in multiples of what is allowed."""
        return max(
            (one.judged.metrics[name].loss / max(margin, 1e-9) for name, margin in self.jury.max_drop.items()),
            default=0.0,
        )

    def _mixed(self) -> None:
        """Where no quantizer keeps what float does, the worst layers stay in float, ever more of them until it does."""
        for whole in [one for one in self.found if len(one.chain.steps) and one.chain.steps[-1] in QUANTIZERS]:
            source = next(one for one in self.found if one.chain.steps == whole.chain.steps[:-1])
            close = whole.judged.outputs is not None and not whole.good and self._fall(whole) <= HOPELESS
            twins = (one for one in self.found if one.chain.steps[:-1] == source.chain.steps and one.chain.steps)
            if not (close and source.good and source.made.folder is not None) or any(one.good for one in twins):
                continue
            if QUANTIZERS[whole.chain.steps[-1]].tool.endswith(("fused", "tuned", "fp16")):
                continue
            tables = QUANTIZERS[whole.chain.steps[-1]].options.get("embeddings")
            layers = sensitivity(source.made.folder, self.jury.texts, seed=self.jury.seed, batching=self.jury.batching,
                                 embeddings=tables)  # fmt: skip
            self._sensitivities[source.chain.steps] = layers
            for kept in layers_to_keep(layers):
                step = f"{whole.chain.steps[-1]}-mixed-{len(kept)}"
                chain = Chain(steps=(*source.chain.steps, step))
                if self.clock.left() < 0:
                    self._leave(chain, "skipped", TIME_UP)
                    break
                self._kept_float[chain.steps] = kept
                if self._add(chain, exclude={step: kept}).good:
                    break

    def _sessions(self) -> None:
        """Options of ONNX Runtime for the most promising candidate, kept where proven better."""
        best = self._ranked([one for one in self.found if one.good])[:1]
        for one in best:
            if one.made.folder is None:
                continue
            if self.clock.left() < 0:
                self.notes.append(f"Session options of {one.chain.name} were not tried: {TIME_UP}.")
                continue
            weights = goal(self.settings)
            wanted: Wanted = "latency_p50" if weights.latency > weights.throughput else "throughput"
            try:
                choice = tune_session(one.made.folder, self.jury.texts, batching=self.jury.batching,
                                      device=self.jury.device, goal=wanted)  # fmt: skip
            except FtdeployError as error:
                self.notes.append(f"Session options of {one.chain.name} were not tried: {error.what}.")
                continue
            tried = "; ".join(f"{trial.name}: {trial.reason}" for trial in choice.trials)
            self.notes.append(f"Session options of {one.chain.name}: {tried or 'none to try'}.")
            kept = [trial.name for trial in choice.trials if trial.status == "kept"]
            if kept:
                label = "+".join(kept)
                self._add(replace(one.chain, session=choice.options, label=label))


def _changed(one: Found) -> int:
    """Rows that fp32 has right and it wrong, and the other way round."""
    return (one.judged.right_to_wrong or 0) + (one.judged.wrong_to_right or 0)


def first_look(one: Found, settings: CompressSettings) -> float:
    """What a candidate is worth by the objective, as far as is known without measuring: its size, and its speed in
    batches, also in place of its latency."""
    if one.made.folder is None:
        return float("-inf")
    weights = goal(settings)
    return float(one.judged.speed ** (weights.throughput + weights.latency) / one.size**weights.size)


def _fitting(name: str, others: Sequence[str], bits: int | None) -> str:
    """The quantizer that does the same and stores embeddings in ``bits`` bits, if there is one: the fine-tuned model
    may mind such embeddings, a student does not, which has learned with them."""

    def but_embeddings(one: str) -> tuple[str, dict[str, object]]:
        return QUANTIZERS[one].tool, {**QUANTIZERS[one].options, "embeddings": bits}

    alike = (one for one in others if but_embeddings(one) == but_embeddings(name))
    return next((one for one in alike if QUANTIZERS[one].options.get("embeddings") == bits), name)
