"""What the validation rows say of a candidate: kept, likely, or dropped with the number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ftdeploy.batching import SERVED
from ftdeploy.compress.judge import Jury
from ftdeploy.encoded import Outputs
from ftdeploy.errors import ConfigError
from ftdeploy.signature import Units
from ftdeploy.tasks import TASKS
from ftdeploy.values import dump

ROWS = 1000


def _jury(*, accept: str = "likely", max_drop: float = 0.02) -> Jury:
    return Jury(
        texts=[f"text {at}" for at in range(ROWS)], ids=[str(at) for at in range(ROWS)],
        references=["no", "yes"] * (ROWS // 2), labels=("no", "yes"), task=TASKS["text-classification"],
        max_drop={"accuracy": max_drop}, accept=accept, batching=SERVED, device="cpu", seed=1,
    )  # fmt: skip


def _outputs(wrong: int = 0, *, first: int = 0, turned: bool = False, width: int = 8) -> Outputs:
    """Right answers but for ``wrong`` rows from ``first`` on; turned embeddings point elsewhere."""
    answers = np.arange(ROWS) % 2
    answers[first : first + wrong] = 1 - answers[first : first + wrong]
    embedding = np.random.default_rng(3 if turned else 2).normal(size=(ROWS, width)).astype(np.float32)
    return Outputs(logits=np.eye(2, dtype=np.float32)[answers], embedding=embedding)


@pytest.mark.parametrize(
    ("fell", "rose", "accept", "expected"),
    [(0, 0, "proven", "kept"), (10, 0, "proven", "kept"), (50, 42, "likely", "undecided"),
     (50, 42, "proven", "dropped"), (57, 42, "likely", "dropped"), (20, 0, "likely", "dropped")],
)  # fmt: skip
def test_the_gate_decides_and_rows_that_cannot_tell_need_a_small_drop(
    fell: int, rose: int, accept: str, expected: str
) -> None:
    """Of 1,000 rows with a margin of 20: 10 that fell are proven to be within it, and 20 fail. 50 that fell and 42 that
    rose prove nothing; their sum is at most half of the margin, so they are likely within it, unless only proof counts;
    57 and 42 are not."""
    candidate, base = _outputs(fell, first=500), _outputs(rose)
    found = _jury(accept=accept).hold(candidate, base, same_embedding=True)
    assert found.status == expected, found.reason
    assert (found.right_to_wrong, found.wrong_to_right) == (fell, rose)
    if expected == "undecided":
        needed = found.metrics["accuracy"].rows_to_decide
        assert needed is not None
        assert f"about {needed:,} would do" in found.reason
    if fell == 20:
        assert found.reason == "accuracy falls by 0.0200, allowed is 0.02"


def test_only_a_quantized_models_embedding_must_follow() -> None:
    """Drift detection would be blind; a student has an embedding of its own, of whatever width."""
    jury, base = _jury(), _outputs()
    turned = jury.hold(_outputs(turned=True), base, same_embedding=True)
    assert turned.status == "dropped"
    assert "embedding" in turned.reason
    assert jury.hold(_outputs(turned=True), base, same_embedding=False).status == "kept"
    assert jury.hold(_outputs(width=4), base, same_embedding=False).cosine is None


def test_flips_show_what_got_worse_first() -> None:
    """Each row whose correctness changed, with both answers."""
    flips = _jury().flips(_outputs(2, first=10), _outputs(1, first=3))
    assert [flip.id for flip in flips] == ["10", "11", "3"]
    assert (flips[0].label, flips[0].fp32, flips[0].winner) == ("no", "no", "yes")
    assert flips[2].winner == flips[2].label


def test_of_numbers_an_error_rises_where_a_correlation_falls() -> None:
    """In the units of the labels, which the network does not know; and the better one of two is told from the worse."""
    random = np.random.default_rng(4)
    logits = random.normal(size=(ROWS, 1)).astype(np.float32)
    references = [dump(float(10 + 2 * value)) for value in logits[:, 0]]
    jury = Jury(
        texts=["t"] * ROWS, ids=["i"] * ROWS, references=references, labels=("score",), task=TASKS["text-regression"],
        max_drop={"mae": 0.5, "spearman": 0.2}, accept="proven", batching=SERVED, device="cpu", seed=1,
        units=Units(offset=10.0, scale=2.0),
    )  # fmt: skip
    same = np.zeros((ROWS, 4), dtype=np.float32)
    base = Outputs(logits=logits, embedding=same)

    def off(by: float) -> Outputs:
        return Outputs(logits=logits + by, embedding=same)

    near, far = (jury.hold(off(by), base, same_embedding=False) for by in (0.2, 0.4))
    assert near.status == "kept"
    assert near.metrics["mae"].value == pytest.approx(0.4, abs=1e-5)
    assert far.status == "dropped"
    assert far.reason == "mae rises by 0.8000, allowed is 0.5"
    assert far.metrics["spearman"].value == pytest.approx(1.0)
    assert near.metrics["mae"].good > far.metrics["mae"].good
    assert far.metrics["mae"].loss == pytest.approx(0.8, abs=1e-5)


def test_sets_are_judged_by_the_thresholds_that_ship() -> None:
    """By those of the export, fp32 too: what a half would make of the logits is nobody's answer."""
    shares = np.where(np.arange(ROWS) % 2, 0.4, 0.1)
    logits = np.log(shares / (1 - shares))[:, None].astype(np.float32)
    outputs = Outputs(logits=logits, embedding=np.zeros((ROWS, 4), dtype=np.float32))
    given: dict[str, Any] = {
        "texts": ["t"] * ROWS, "ids": ["i"] * ROWS, "references": ["[]", '["a"]'] * (ROWS // 2), "labels": ("a",),
        "task": TASKS["multi-label-classification"], "max_drop": {"label_f1": 0.1}, "accept": "proven",
        "batching": SERVED, "device": "cpu", "seed": 1,
    }  # fmt: skip
    by_half, by_own = (Jury(**given, thresholds=one).hold(outputs, outputs, same_embedding=True)
                       for one in ({}, {"a": 0.3}))  # fmt: skip
    assert by_half.metrics["label_f1"].value == 0
    assert by_own.metrics["label_f1"].value == 1


def test_one_label_may_have_a_drop_of_its_own() -> None:
    """Answers that lose rows of one label alone keep the other one's recall; whole answers count the labels in them."""
    base, candidate = _outputs(), Outputs(logits=_outputs().logits.copy(), embedding=_outputs().embedding)
    candidate.logits[1:200:2] = [1, 0]  # a hundred rows of `yes` become `no`
    for label, status in (("no", "kept"), ("yes", "dropped")):
        jury = replace(_jury(), max_drop={f"recall:{label}": 0.1})
        assert jury.hold(candidate, base, same_embedding=True).status == status
    sets = replace(
        _jury(), references=['["no"]', '["yes"]'] * (ROWS // 2), task=TASKS["multi-label-classification"],
        max_drop={"label_recall:yess": 0.1},
    )  # fmt: skip
    signed = [Outputs(logits=one.logits * 2 - 1, embedding=one.embedding) for one in (candidate, base)]
    with pytest.raises(ConfigError, match=r"compress.max_drop: .* which the model does not have; did you mean 'yes'"):
        sets.hold(*signed, same_embedding=True)
    found = replace(sets, max_drop={"label_recall:yes": 0.1}).hold(*signed, same_embedding=True)
    assert found.metrics["label_recall:yes"].loss == pytest.approx(0.2)
