"""False alarms, power and accuracy estimates of `ftdeploy monitor` on real domains; run by hand, prints tables.

A bundle of `recipes/sentiment.yaml` answers movie reviews. In-domain windows are rows of its validation and test split
that the reference does not hold: in each trial both are drawn anew. The other domains are Amazon reviews, NYT
editorials and tweets of the same source package. Every row is answered once; windows are drawn from the features.

An estimate of the accuracy is good when it is within the tolerance of the truth over all rows of the mixture. The
validity flag is right when it lets a good one pass, or refuses a bad one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.artifact import open_artifact
from ftdeploy.dataset import read_split
from ftdeploy.drift import Features, bundle_projection, features_of, reference_of
from ftdeploy.monitor.accuracy import ESTIMATORS, estimate_accuracy, estimates
from ftdeploy.monitor.held_out import learn_shifts
from ftdeploy.monitor.judge import judge_window
from ftdeploy.monitor.options import MonitorOptions
from ftdeploy.monitor.two_sample import classifier_test
from ftdeploy.predictor import Predictor
from ftdeploy.tasks import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
SIZES = (50, 200, 1000)
SHARES = (0.25, 0.5, 1.0)
REFERENCE = 2000
OPTIONS = MonitorOptions()

#: Of a seed: a reference, and the in-domain rows that it does not hold.
Trial = Callable[[int], tuple[dict[str, Any], Features]]


@dataclass(frozen=True)
class Answered:
    """Rows of a domain.

    Attributes:
        features: of all rows.
        truths: true class ids, int64.
        texts: the rows.
    """

    features: Features
    truths: NDArray[np.int64]
    texts: list[str]


def read_domains(run: Path, snippets: Path) -> tuple[Predictor, NDArray[np.float32], dict[str, Answered]]:
    """The model of a run, a projection, and each domain's rows, answered."""
    sys.path.insert(0, str(ROOT / "recipes" / "sources"))
    import vader  # type: ignore[import-not-found]  # a loader beside the recipes

    predictor = Predictor(run / "bundle" / "src" / "model", threads=1)
    projection = bundle_projection(predictor, seed=13)
    dataset = open_artifact(run / "dataset")
    rows = {"movie": [row for name in ("validation", "test") for row in read_split(dataset, name).to_pylist()]}
    for row in vader.load(snippets):
        if row["source"] != "movie":
            rows.setdefault(row["source"], []).append(row)
    task, found = TASKS[predictor.signature.task], {}
    for name, some in rows.items():
        texts = [row["text"] for row in some]
        truths = task.targets([row["label"] for row in some], predictor.signature.labels)
        found[name] = Answered(features_of(predictor, task, texts, projection=projection), truths, texts)
    return predictor, projection, found


def mixed(movie: Features, other: Features, share: float, size: int, generator: np.random.Generator) -> Features:
    """A window of which a share is of another domain."""
    foreign = round(share * size)
    one = movie.take(generator.permutation(len(movie))[: size - foreign])
    two = other.take(generator.permutation(len(other))[:foreign])
    names = ("labels", "confidence", "tokens", "unknown", "truncated", "embedding")
    return Features(**{name: np.concatenate([getattr(one, name), getattr(two, name)]) for name in names})


def main(say: Callable[[str], None]) -> None:
    """Measure, and tell each line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="A run of recipes/sentiment.yaml: its bundle and its dataset.")
    parser.add_argument("snippets", type=Path, help="The folder hutto_ICWSM_2014 of the source package.")
    parser.add_argument("--trials", type=int, default=100, help="In-domain windows of each size; a fifth for power.")
    arguments = parser.parse_args()
    predictor, projection, domains = read_domains(arguments.run, arguments.snippets)
    movie, names = domains["movie"], [name for name in domains if name != "movie"]
    split = np.random.default_rng(0).permutation(len(movie.texts))[:REFERENCE]
    plain = movie.features.take(split)
    shifts = learn_shifts(predictor, TASKS[predictor.signature.task], plain, [movie.texts[n] for n in split],
                          movie.truths[split], projection=projection, seed=13)  # fmt: skip

    def trial(seed: int) -> tuple[dict[str, Any], Features]:
        order = np.random.default_rng([1, seed]).permutation(len(movie.texts))
        reference = reference_of(movie.features.take(order[:REFERENCE]), projection, classes=2, seed=seed,
                                 truths=movie.truths[order[:REFERENCE]])  # fmt: skip
        return reference | shifts, movie.features.take(order[REFERENCE:])

    say("| rows | share | domain | alarms | MMD | classifier | windows |\n|---|---|---|---|---|---|---|")
    for size in SIZES:
        for name, share in [("movie", 0.0), *((name, share) for name in names for share in SHARES)]:
            trials = arguments.trials if share == 0 else arguments.trials // 5
            verdicts = []
            for seed in range(trials):
                reference, rest = trial(seed)
                window = mixed(rest, domains[name].features, share, size, np.random.default_rng([2, seed, size]))
                found = judge_window(reference, window, OPTIONS, seed=seed)
                states = [test.state == "drift" for test in found.tests]
                verdicts.append((any(states), states[0], states[1]))
            alarms = np.mean(verdicts, axis=0)
            say(f"| {size:,} | {share:.0%} | {name} | {' | '.join(f'{one:.2f}' for one in alarms)} | {trials} |")
    accuracy(say, domains, names, trial, max(5, arguments.trials // 5))


def accuracy(say: Callable[[str], None], domains: Mapping[str, Answered], names: list[str], trial: Trial,
             trials: int) -> None:  # fmt: skip
    """Tell errors of the estimates, and how often the flag was right, on windows of 1,000."""
    movie, size = domains["movie"], SIZES[-1]
    before = float((movie.features.labels == movie.truths).mean())
    heads = " | ".join(ESTIMATORS)
    say(f"\n| share | domain | true accuracy | {heads} | bound | said valid | flag right | interval holds truth |")
    say("|---|---|---|---|---|---|---|---|---|---|")
    for name, share in [("movie", 0.0), *((name, share) for name in names for share in SHARES)]:
        there = domains[name]
        truth = (1 - share) * before + share * float((there.features.labels == there.truths).mean())
        rows = []
        for seed in range(trials):
            reference, rest = trial(seed)
            window = mixed(rest, there.features, share, size, np.random.default_rng([3, seed]))
            magnitude = classifier_test(reference["sample"].astype(np.float32), window.embedding, seed=seed).effect
            found = estimate_accuracy(reference, window, magnitude=magnitude, tolerance=OPTIONS.accuracy_tolerance)
            assert found is not None
            good = abs(found.value - truth) <= OPTIONS.accuracy_tolerance
            rows.append([*(estimates(reference, window) - truth), found.error_bound, found.valid, found.valid == good,
                         found.lower <= truth <= found.upper])  # fmt: skip
        cells = np.mean(np.array(rows, dtype=np.float64), axis=0)
        told = [f"{one:+.3f}" for one in cells[:3]] + [f"{cells[3]:.3f}"] + [f"{one:.2f}" for one in cells[4:]]
        say(f"| {share:.0%} | {name} | {truth:.3f} | {' | '.join(told)} |")


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
