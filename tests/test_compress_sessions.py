"""Which session options are tried with a model, and that only a proven gain is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tiny import write_model_folder

from ftdeploy.batching import Batching
from ftdeploy.compress import sessions
from ftdeploy.compress.sessions import KINDS, SessionTrial, kinds_for, session_variants, tune_session
from ftdeploy.errors import DeviceError
from ftdeploy.hardware import CPU, OPENVINO
from ftdeploy.measure import Measurement, Probe
from ftdeploy.signature import SessionOptions, read_signature

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXTS = ["a good film", "the film was awful", "not bad, not great", "superb !"] * 5


class _Scripted(Probe):
    """A model whose rounds are known beforehand; after them it goes on with the last one."""

    def __init__(self, speeds: Sequence[float]) -> None:
        self.speeds = list(speeds)
        self.throughputs: list[float] = []

    def batches(self) -> float:
        return 0.0

    def alone(self) -> list[float]:
        return [0.0, 0.0]

    def round(self) -> None:
        self.throughputs.append(self.speeds[min(len(self.throughputs), len(self.speeds) - 1)])

    def measurement(self) -> Measurement:
        rounds = tuple(self.throughputs)
        times = tuple(1 / value for value in rounds)
        return Measurement(throughputs=rounds, latencies_p50=times, latencies_p95=times, size=0, rows=1, provider=CPU)


class _Table:
    """Speeds by the names of `KINDS["fusions"]`, and what each answers."""

    goal = "throughput"
    rounds = 5

    def __init__(self, speeds: Mapping[str, Sequence[float]], logits: Mapping[str, float] | None = None) -> None:
        names = {variant.options: variant.name for variant in session_variants("fusions", SessionOptions())}
        self.names = {**names, SessionOptions(): "now"}
        self.speeds, self.logits = speeds, logits or {}

    def open(self, options: SessionOptions) -> tuple[Probe, NDArray[np.float32]]:
        name = self.names[options]
        if name not in self.speeds:
            raise DeviceError("it does not run here", cause="a test", fix="none")
        return _Scripted(self.speeds[name]), np.full((4, 2), self.logits.get(name, 1.0), dtype=np.float32)


def _tried(table: _Table, *, approximate: bool = False) -> dict[str, SessionTrial]:
    now = SessionOptions()
    found = sessions._try_kind(table, now, session_variants("fusions", now), approximate=approximate)  # type: ignore[arg-type]
    return {trial.name: trial for trial in found}


def test_a_faster_variant_is_taken_and_the_others_keep_their_figures() -> None:
    """The fastest one stays; for each that ran there are ratios, over the rounds that it and the incumbent share."""
    speeds = {"now": [10.0], "no-skip-fusion": [12.0], "no-attention-fusion": [11.0], "extended": [9.0],
              "no-gelu-bias-fusion": [10.0]}  # fmt: skip
    found = _tried(_Table(speeds))
    assert {name for name, trial in found.items() if trial.status == "kept"} == {"no-skip-fusion"}
    for name, trial in found.items():
        assert trial.ratios[0].ratio == pytest.approx(speeds[name][0] / 10)
    assert found["no-skip-fusion"].rounds > found["no-attention-fusion"].rounds > 0


def test_what_is_ahead_by_luck_is_not_taken() -> None:
    """Far ahead while the field is cut, and in one of the fresh rounds not: the bound does not say better."""
    lucky = [99.0, 99.0, 99.0, 11.0, 11.0, 9.9, 11.0, 11.0]
    speeds = {"now": [10.0], "no-skip-fusion": lucky, "no-attention-fusion": [10.0], "extended": [9.0],
              "no-gelu-bias-fusion": [10.0]}  # fmt: skip
    found = _tried(_Table(speeds))["no-skip-fusion"]
    assert found.status == "dropped"
    assert found.ratios[0].lower == pytest.approx(0.99)
    assert "not proven better" in found.reason


def test_what_does_not_run_or_answers_otherwise_is_failed_with_its_reason() -> None:
    """And the others are tried all the same; where other answers are allowed, the difference is stated."""
    speeds = {"now": [10.0], "no-skip-fusion": [20.0], "no-attention-fusion": [11.0]}
    table = _Table(speeds, {"no-skip-fusion": 1.5})
    found = _tried(table)
    assert (found["extended"].status, found["extended"].reason) == ("failed", "it does not run here")
    assert found["no-skip-fusion"].status == "failed"
    assert "differ by up to 0.5" in found["no-skip-fusion"].reason
    assert found["no-attention-fusion"].status == "kept"
    allowed = _tried(table, approximate=True)["no-skip-fusion"]
    assert allowed.status == "kept"
    assert allowed.logit_difference == pytest.approx(0.5)


def test_numbers_that_are_none_are_never_the_same_answers() -> None:
    """Not even where other answers are allowed."""
    table = _Table({"now": [10.0], "no-skip-fusion": [20.0]}, {"no-skip-fusion": float("nan")})
    assert _tried(table, approximate=True)["no-skip-fusion"].status == "failed"


def test_variants_are_laid_over_what_won_before() -> None:
    """Each changes one thing; what the model has already is not tried again."""
    now = SessionOptions(disabled_optimizers=("AttentionFusion",), memory_arena=False)
    by_name = {variant.name: variant.options for variant in session_variants("fusions", now)}
    assert "no-attention-fusion" not in by_name
    assert by_name["no-skip-fusion"].disabled_optimizers == ("AttentionFusion", "SkipLayerNormFusion")
    assert all(not options.memory_arena for options in by_name.values())
    assert [variant.name for variant in session_variants("memory", now)] == ["no-pattern"]


def test_every_change_is_an_option() -> None:
    """The table names fields of the options with values that they may have, and changes something."""
    for kind in KINDS:
        variants = session_variants(kind, SessionOptions())
        assert [variant.name for variant in variants] == list(KINDS[kind])
        for variant in variants:
            assert SessionOptions.model_validate(variant.options.model_dump()) == variant.options


def test_only_what_can_matter_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spinning takes two threads, OpenVINO its library and no forced device; other answers are asked for."""
    monkeypatch.delenv("FTDEPLOY_DEVICE", raising=False)
    monkeypatch.setattr("ftdeploy.hardware.nvidia_devices", lambda: 0)
    assert kinds_for(threads=1, available=[CPU]) == ("fusions", "memory")
    assert kinds_for(threads=2, available=[CPU]) == ("fusions", "memory", "threads")
    assert kinds_for(threads=1, available=[OPENVINO, CPU]) == ("fusions", "memory", "provider")
    assert kinds_for(threads=1, device="cpu", available=[OPENVINO, CPU]) == ("fusions", "memory")
    assert kinds_for(threads=1, available=[CPU], approximate=True)[-1] == "approximate"


def test_a_real_model_is_tried_with_every_kind(tmp_path: Path) -> None:
    """Every variant runs and answers alike; rounds too few to prove anything change nothing; the folder stays."""
    write_model_folder(tmp_path / "model")
    before = read_signature(tmp_path / "model")
    found = tune_session(tmp_path / "model", TEXTS, batching=Batching(threads=2, lanes=1), device="cpu", rounds=1,
                         rows=4)  # fmt: skip
    assert {trial.name for trial in found.trials} == {name for kind in ("fusions", "memory", "threads")
                                                      for name in KINDS[kind]}  # fmt: skip
    assert {trial.status for trial in found.trials} == {"dropped"}
    assert all(trial.noise is not None and trial.rounds > 0 for trial in found.trials)
    assert found.options == before.session
    assert read_signature(tmp_path / "model") == before


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    """No texts, no rounds, no rows."""
    for texts, rounds, rows in (([], 5, 4), (TEXTS, 0, 4), (TEXTS, 5, 0)):
        with pytest.raises(ValueError, match="at least one"):
            tune_session(tmp_path, texts, rounds=rounds, rows=rows)
