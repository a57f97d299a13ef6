"""Side-by-side measurement."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from scipy.stats import binom
from tiny import write_model_folder

from ftdeploy.batching import Batching
from ftdeploy.encoded import Encoded
from ftdeploy.errors import ArtifactError
from ftdeploy.measure import (
    LATENCY_REPEATS,
    LATENCY_TEXTS,
    Measurement,
    Opened,
    Probe,
    amount,
    cost_ratio,
    folder_size,
    measure,
    measured_costs,
)
from ftdeploy.memory import peak_memory
from ftdeploy.predictor import Predictor

TEXTS = ["a good film", "the film was awful", "not bad, not great", "superb !"] * 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model, and one whose head is a hundred thousand times as wide."""
    root = tmp_path_factory.mktemp("models")
    write_model_folder(root / "small")
    write_model_folder(root / "wide", labels=[f"label {index}" for index in range(200_000)])
    return {"wide": root / "wide", "small": root / "small"}


def _measurement(throughputs: tuple[float, ...], size: int = 100) -> Measurement:
    return Measurement(
        throughputs=throughputs,
        latencies_p50=tuple(1 / value for value in throughputs),
        latencies_p95=tuple(2 / value for value in throughputs),
        size=size,
        rows=8,
        provider="CPUExecutionProvider",
    )


def test_measures_every_folder_in_every_round(folders: dict[str, Path]) -> None:
    """Names and order are kept; there is a value a round; the size is that of the files."""
    found = measure(folders, TEXTS, rounds=3, rows=32)
    assert list(found) == ["wide", "small"]
    for name, one in found.items():
        assert len(one.throughputs) == len(one.latencies_p50) == len(one.latencies_p95) == 3
        assert min(*one.throughputs, *one.latencies_p50) > 0
        assert one.noise >= 0
        assert one.memory is None
        assert one.rows == 32
        assert one.size == sum((folders[name] / file).stat().st_size for file in ("model.onnx", "tokenizer.json"))


def test_more_work_is_slower(folders: dict[str, Path]) -> None:
    """The wide model has fewer rows a second and takes longer for one text, by the best rounds: neighbours on the
    machine disturb the others."""
    found = measure(folders, TEXTS, rounds=9, rows=256)
    small, wide = found["small"], found["wide"]
    assert max(wide.throughputs) < max(small.throughputs)
    assert min(wide.latencies_p50) > min(small.latencies_p50)


def test_models_take_turns_in_an_order_that_reverses(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds alternate, so that load which comes and goes meets all models alike."""
    turns: list[str] = []
    real = Probe.round

    def spy(probe: Probe) -> None:
        turns.append(cast("Predictor", probe.predictor).folder.name)
        real(probe)

    monkeypatch.setattr(Probe, "round", spy)
    measure(folders, TEXTS, rounds=3, rows=8)
    assert turns == ["wide", "small", "small", "wide", "wide", "small"]


def test_external_data_counts_for_the_size(folders: dict[str, Path], tmp_path: Path) -> None:
    """Weights beside the model are part of its size; what else lies there is not."""
    for name in ("model.onnx", "model.onnx.data", "tokenizer.json", "candidates.json"):
        (tmp_path / name).write_bytes(b"x" * len(name))
    assert folder_size(tmp_path) == len("model.onnx" + "model.onnx.data" + "tokenizer.json")
    assert folder_size(folders["small"]) < folder_size(folders["wide"])


def test_bounds_of_the_ratio_are_order_statistics_with_the_confidence_they_state() -> None:
    """Nine rounds bear one outlier at 95%; five reach it with their extremes; three reach less and say so."""
    base = _measurement((10.0,) * 9)
    rounds = (20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0, 1.0)
    found = cost_ratio(base, _measurement(rounds), "throughput")
    assert (found.lower, found.ratio, found.upper) == pytest.approx((2.0, 2.3, 2.6))
    assert found.confidence == pytest.approx(1 - binom.cdf(1, 9, 0.5))
    for count, reached in ((5, 1 - 1 / 32), (3, 1 - 1 / 8)):
        few = cost_ratio(_measurement((10.0,) * count), _measurement(rounds[:count]), "throughput")
        assert (few.lower, few.upper) == (2.0, rounds[count - 1] / 10)
        assert few.confidence == pytest.approx(reached)


def test_the_ratio_is_taken_within_rounds() -> None:
    """A machine that slows down half-way changes both speeds and not their ratio."""
    before, after = _measurement((10.0, 10.0, 5.0, 5.0, 5.0)), _measurement((20.0, 20.0, 10.0, 10.0, 10.0))
    found = cost_ratio(before, after, "throughput")
    assert (found.lower, found.ratio, found.upper) == (2, 2, 2)


def test_size_is_exact() -> None:
    """A ratio of sizes has no noise."""
    found = cost_ratio(_measurement((1.0,) * 5, size=400), _measurement((1.0,) * 5, size=100), "size")
    assert (found.lower, found.ratio, found.upper, found.confidence) == (0.25, 0.25, 0.25, 1)


def test_texts_are_repeated_or_taken_at_even_distances(folders: dict[str, Path]) -> None:
    """Any number of texts gives the rows that were asked for."""
    small = {"small": folders["small"]}
    assert measure(small, TEXTS[:1], rounds=1, rows=16)["small"].rows == 16
    assert measure(small, TEXTS, rounds=1, rows=3)["small"].rows == 3


def test_nothing_to_measure_is_an_error(folders: dict[str, Path], tmp_path: Path) -> None:
    """No folder, no text, no round; a folder that is no model."""
    for some, texts, rounds in (({}, TEXTS, 1), (folders, [], 1), (folders, TEXTS, 0)):
        with pytest.raises(ValueError, match="at least one"):
            measure(some, texts, rounds=rounds, rows=1)
    with pytest.raises(ArtifactError, match=r"signature\.json"):
        measure({"none": tmp_path}, TEXTS, rounds=1, rows=1)


class _Counting:
    """A model that takes as many tokens as a text has words, and notes what it is asked."""

    provider = "words"

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor
        self.asked: list[list[int]] = []

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        counts = [len(text.split()) * self.factor for text in texts]
        return [Encoded(ids=[1] * count, length=count, unknown=0) for count in counts]

    def run(self, rows: Sequence[Sequence[int]]) -> None:
        self.asked.append([len(row) for row in rows])


def test_latency_is_that_of_texts_of_median_and_of_95th_percentile_length() -> None:
    """A hundred texts of one to a hundred words: those around 50 words are asked alone, and those around 95. Another
    model gets the same texts, whatever its tokenizer makes of them."""
    texts = ["word " * count for count in range(1, 101)]
    models = {"one": _Counting(), "twice": _Counting(factor=2)}
    opened = {name: Opened(runner=model, lanes=1, size=1) for name, model in models.items()}
    measure(opened, texts, rounds=1, rows=100, batching=Batching(tokens=2048, rows=64))
    for model in models.values():
        often = Counter(rows[0] / model.factor for rows in model.asked if len(rows) == 1)
        alone = {words for words, times in often.items() if times == 2 * LATENCY_REPEATS}  # in the warm-up as well
        short, long = {words for words in alone if words < 75}, {words for words in alone if words > 75}
        assert len(short) == len(long) == LATENCY_TEXTS
        assert min(short) >= 45
        assert max(short) <= 56
        assert min(long) >= 90
        assert max(long) <= 100


def test_a_longer_text_takes_longer() -> None:
    """The two latencies differ when the lengths do."""
    texts = ["good", "good", "good", "word " * 20] * 20
    found = measure({"slow": Opened(runner=_Sleeping(), lanes=1, size=1)}, texts, rounds=1, rows=8)["slow"]
    assert found.latency_p95 > 5 * found.latency_p50


def test_the_longest_texts_are_timed_when_asked_for() -> None:
    """A third latency, at the 99th percentile, with a ratio of its own; without being asked for it costs nothing."""
    texts = ["word " * count for count in range(1, 401)]
    found = {}
    for tail in (False, True):
        models = {"one": _Counting(), "two": _Counting()}
        opened = {name: Opened(runner=model, lanes=1, size=1) for name, model in models.items()}
        found[tail] = measure(opened, texts, rounds=3, rows=8, tail=tail)
        longest = [rows for rows in models["one"].asked if len(rows) == 1 and rows[0] >= 390]
        assert bool(longest) == tail
    for tail, measured in found.items():
        assert len(measured["one"].latencies_p99) == 3 * tail
        assert ("latency_p99" in measured_costs(*measured.values())) == tail
    assert cost_ratio(found[True]["one"], found[True]["two"], "latency_p99").ratio > 0
    assert len(found[True]["one"].part(1).latencies_p99) == 2
    with pytest.raises(ValueError, match="latency_p99 was not measured"):
        cost_ratio(found[False]["one"], found[False]["two"], "latency_p99")


def test_a_size_that_nobody_knows_is_no_cost() -> None:
    """0 bytes stand for a service."""
    known, unknown = _measurement((1.0,) * 5), _measurement((1.0,) * 5, size=0)
    assert "size" in measured_costs(known, known)
    assert "size" not in measured_costs(known, unknown)
    with pytest.raises(ValueError, match="size was not measured"):
        cost_ratio(known, unknown, "size")


class _Sleeping(_Counting):
    """A millisecond a word."""

    def run(self, rows: Sequence[Sequence[int]]) -> None:
        time.sleep(max(map(len, rows)) / 1000)


def test_memory_is_that_of_the_model(folders: dict[str, Path]) -> None:
    """A head of 200,000 labels takes more than a small one: at least what the logits of a full batch take."""
    batching = Batching(tokens=640, rows=20, threads=1)
    small, wide = (peak_memory(folders[name], batching=batching) for name in ("small", "wide"))
    assert wide - small > 20 * 200_000 * 4


def test_memory_is_measured_when_asked_for(folders: dict[str, Path]) -> None:
    """Once a run for every folder; it has a ratio then, and is no cost of what is open already."""
    found = measure({**folders, "open": Opened(runner=_Counting(), lanes=1, size=1)}, TEXTS, rounds=1, rows=8,
                    batching=Batching(threads=1), memory_runs=1)  # fmt: skip
    assert len(found["wide"].memories) == 1
    assert found["wide"].memory == found["wide"].memories[0]
    assert cost_ratio(found["small"], found["wide"], "memory").ratio > 1
    assert "memory" in measured_costs(found["small"], found["wide"])
    assert "memory" not in measured_costs(found["small"], found["open"])
    with pytest.raises(ValueError, match="memory was not measured"):
        cost_ratio(found["small"], found["open"], "memory")
    assert amount("memory", 12_345_678) == "12.3 MB"


def test_memory_of_what_is_no_model_is_an_error(tmp_path: Path) -> None:
    """In words, though it happened in another process."""
    with pytest.raises(ArtifactError, match=r"memory of .* cannot be measured: .*signature\.json"):
        peak_memory(tmp_path)


def test_noise_is_half_the_spread_of_the_rounds() -> None:
    """Of every cost; a size has none."""
    one = _measurement((90.0, 95.0, 100.0, 105.0, 110.0))
    assert one.noise == one.noise_of("throughput") == pytest.approx(0.05)
    assert one.noise_of("latency_p50") == pytest.approx(0.05, rel=0.05)
    assert one.noise_of("size") == 0
