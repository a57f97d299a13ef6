"""How soon a change is told, beside published methods, all at one rate of false alarms; run by hand, prints a table.

``python tests/benchmarks/drift_peers.py RUN SNIPPETS [--features FILE] [--peer evidently=PYTHON] [--mirror FOLDER]``;
the first two are those of `drift_detection.py`, FILE keeps the answers to all rows for the next time, PYTHON has
Evidently installed, FOLDER holds PhraseBank and PriceRunner, which then take the place of the other domains.

A stream is 1,000 rows: movie reviews that the reference (1,500 others) does not hold, or 200 of them and then a share
of rows of another domain. Every method gives a score after each row, or after every tenth. Its limit is the score that
5% of the streams without a change exceed, so all have the same rate, whatever limit they come with; other streams are
measured. The methods of alibi-detect and NannyML are written anew from their descriptions, and their windows slide;
Evidently itself, and NannyML itself (`--peer nannyml=PYTHON`), have windows side by side.

Sources: Gretton et al. 2012 (MMD); Bu, Alippi, Zhao 2018 (LSDD); Ross, Adams 2012 (CVM); Rabanser et al. 2019
(Kolmogorov-Smirnov with Bonferroni); NannyML's documentation: CBPE, univariate Jensen-Shannon, PCA reconstruction.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.drift import Features, bundle_projection, features_of, reference_of
from ftdeploy.predictor import Predictor
from ftdeploy.serve import detectors
from ftdeploy.tasks import TASKS

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.drift_detection import read_domains

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROWS, BEFORE, LENGTH, EVERY = 1500, 200, 1000, 10
#: Streams without a change for each with one: with fewer the limits, and delays with them, are a matter of luck.
QUIET = 4
SHARES = (0.25, 0.5, 1.0)
WITHIN = (50, 200)
#: A reference and a stream -> a score for each row, which stays as it is where none is computed.
Method = Callable[[Features, Features], "Floats"]


def ours(reference: Features, stream: Features) -> Floats:
    """The detectors of a bundle: the greatest evidence of any."""
    found = reference_of(reference, np.zeros((1, 1), dtype=np.float32), classes=2, seed=1)
    detector = detectors.DriftDetector(found, ("negative", "positive"))
    columns = {"labels": stream.labels, "confidence": stream.confidence, "length": stream.tokens,
               "unknown_tokens": stream.unknown}  # fmt: skip
    scores = np.empty(len(stream))
    for row in range(len(stream)):
        one = slice(row, row + 1)
        detector.update(stream.embedding[one], {name: values[one] for name, values in columns.items()})
        scores[row] = max(detector.evidence().values())
    return np.asarray(np.log(np.maximum(scores, 1e-9)))


def sliding(values: Floats, size: int) -> Floats:
    """Means of the last ``size`` rows, shape (rows - size + 1, ...)."""
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    return np.asarray((sums[size:] - sums[:-size]) / size)


def spread_out(scores: Floats, size: int, step: int = 1) -> Floats:
    """Scores of windows that end at row ``size - 1`` and every ``step`` rows after it, as scores of rows."""
    found = np.concatenate([np.full(size - 1, -np.inf), np.repeat(scores, step)])[:LENGTH]
    return np.concatenate([found, np.full(LENGTH - len(found), scores[-1])])


def squares(one: Floats, other: Floats) -> Floats:
    """Squared distances, shape (rows of one, rows of other)."""
    both = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None]
    return np.asarray(np.maximum(both - 2 * one @ other.T, 0))


def mmd(reference: Features, stream: Features, *, size: int) -> Floats:
    """MMDDriftOnline: squared discrepancy of a sliding window, Gaussian kernel of median width."""
    there, here = reference.embedding[:500].astype(np.float64), stream.embedding.astype(np.float64)
    within = squares(there, there)
    width = np.median(within[within > 0])
    across = np.exp(-squares(here, there) / width).mean(axis=1)
    kernel = np.exp(-squares(here, here) / width)
    np.fill_diagonal(kernel, 0)
    sums = np.pad(kernel.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    ends = np.arange(size, len(here) + 1)
    inside = sums[ends, ends] - 2 * sums[ends, ends - size] + sums[ends - size, ends - size]
    return spread_out(inside / (size * (size - 1)) - 2 * sliding(across, size), size)


def lsdd(reference: Features, stream: Features, *, size: int) -> Floats:
    """LSDDDriftOnline: squared difference of densities, fitted by 100 Gaussian kernels."""
    there, here = reference.embedding.astype(np.float64), stream.embedding.astype(np.float64)
    centres = there[:100]
    apart = squares(centres, centres)
    width = np.median(apart[apart > 0]) / 2
    gram = np.exp(-apart / (4 * width)) + 1e-3 * np.eye(len(centres))
    there, here = (np.exp(-squares(rows, centres) / (2 * width)) for rows in (there[100:], here))
    away = sliding(here, size) - there.mean(axis=0)
    return spread_out((away * np.linalg.solve(gram, away.T).T).sum(axis=1), size)


def ranks(there: Floats, here: Floats) -> Floats:
    """Where values stand among those of the reference, 0 to 1; by column."""
    found = np.empty_like(here)
    for column in range(here.shape[1]):
        found[:, column] = np.searchsorted(np.sort(there[:, column]), here[:, column]) / len(there)
    return found


def windows(values: Floats, size: int) -> Floats:
    """Sorted windows, one every ten rows, shape (windows, size, columns)."""
    starts = np.arange(0, len(values) - size + 1, EVERY)
    return np.sort(values[starts[:, None] + np.arange(size)], axis=1)


def positive(rows: Features) -> Floats:
    """The classifier's output: probability of the second label."""
    return np.where(rows.labels == 1, rows.confidence, 1 - rows.confidence)[:, None]


def cvm(reference: Features, stream: Features, *, size: int) -> Floats:
    """CVMDrift on the classifier's output."""
    found = windows(ranks(positive(reference), positive(stream)), size)[:, :, 0]
    expected = (2 * np.arange(1, size + 1) - 1) / (2 * size)
    return spread_out(((found - expected) ** 2).sum(axis=1), size, EVERY)


def ks(reference: Features, stream: Features, *, size: int) -> Floats:
    """KSDrift on the embedding's 32 columns and the classifier's output, the greatest of all (Bonferroni)."""
    there, here = (np.concatenate([rows.embedding, positive(rows)], axis=1).astype(np.float64)
                   for rows in (reference, stream))  # fmt: skip
    found = windows(ranks(there, here), size)
    steps = np.arange(1, size + 1)[:, None] / size
    return spread_out(np.maximum(steps - found, found - (steps - 1 / size)).max(axis=(1, 2)), size, EVERY)


def standardised(values: Floats, known: Floats) -> Floats:
    """Distance from what chunks of the reference have, in their standard deviations (NannyML's limits are at 3)."""
    return np.asarray(np.abs(values - known.mean(axis=0)) / (known.std(axis=0) + 1e-9))


def cbpe(reference: Features, stream: Features, *, size: int) -> Floats:
    """CBPE: the estimated accuracy, which is the mean of calibrated confidence."""
    known, found = (sliding(rows.confidence, size) for rows in (reference, stream))
    return spread_out(standardised(found, known), size)


def jensen_shannon(reference: Features, stream: Features, *, size: int) -> Floats:
    """Univariate Jensen-Shannon distance of label, confidence and length; the greatest, each in its own units."""
    scores = []
    for there, here in ((reference.labels, stream.labels), (reference.confidence, stream.confidence),
                        (reference.tokens, stream.tokens)):  # fmt: skip
        edges = np.unique(np.quantile(there, np.linspace(0, 1, 11)))[1:-1] if len(np.unique(there)) > 10 else [0.5]
        one, other = (np.eye(len(edges) + 1)[np.searchsorted(edges, values, side="right")] for values in (there, here))
        base = one.mean(axis=0)
        known, found = (_distance(sliding(values, size), base) for values in (one, other))
        scores.append((found - known.mean()) / known.std())
    return spread_out(np.max(scores, axis=0), size)


def _distance(shares: Floats, base: Floats) -> Floats:
    middle = (shares + base) / 2

    def part(values: Floats) -> Floats:
        return np.asarray((values * np.log(np.maximum(values, 1e-12) / np.maximum(middle, 1e-12))).sum(axis=1))

    return np.asarray(np.sqrt(np.maximum(part(shares) + part(np.broadcast_to(base, shares.shape)), 0) / 2))


def pca(reference: Features, stream: Features, *, size: int) -> Floats:
    """Reconstruction error from the components with 65% of the variance of embedding, confidence and length."""
    there, here = (np.column_stack([rows.embedding, rows.confidence, rows.tokens]).astype(np.float64)
                   for rows in (reference, stream))  # fmt: skip
    mean, spread = there.mean(axis=0), there.std(axis=0) + 1e-9
    there, here = (there - mean) / spread, (here - mean) / spread
    values, vectors = np.linalg.eigh(np.cov(there, rowvar=False))
    kept = vectors[:, np.cumsum(values[::-1])[::-1] <= 0.65 * values.sum()]
    known, found = (sliding(np.linalg.norm(rows - rows @ kept @ kept.T, axis=1), size) for rows in (there, here))
    return spread_out(standardised(found, known), size)


class Peer:
    """A package itself, in an environment of its own, over windows side by side (`drift_evidently`, `drift_nannyml`).

    Args:
        python: that has it installed.
        script: beside this file.
        folder: for what goes to and fro.
        method: of the package, where it has several.
    """

    def __init__(self, python: str, script: str, folder: Path, *method: str) -> None:
        self.folder = folder / "-".join((script, *method))
        self.folder.mkdir()
        command = [python, str(Path(__file__).parent / script), str(self.folder), *method]
        silent = os.environ | {"NML_DISABLE_USAGE_LOGGING": "1"}  # NannyML tells its makers of each call otherwise
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=silent)

    def score(self, reference: Features, stream: Features, *, size: int) -> Floats:
        """Scores of windows side by side."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        tables = {name: np.column_stack([rows.labels, rows.confidence, rows.tokens, rows.embedding])
                  for name, rows in (("reference", reference), ("stream", stream))}  # fmt: skip
        np.savez(self.folder / "tables.npz", **tables)
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        while self.process.stdout.readline().strip() != "scored":
            if self.process.poll() is not None:
                raise SystemExit("the peer ended; see above")
        return spread_out(np.load(self.folder / "scores.npy"), size, size)


def stream_of(movie: Features, other: Features | None, share: float, seed: int) -> tuple[Features, Features]:
    """A reference, and a stream that changes after `BEFORE` rows, unless there is no other domain."""
    generator = np.random.default_rng([seed, 7])
    order = generator.permutation(len(movie))
    reference, rest = movie.take(order[:ROWS]), movie.take(order[ROWS : ROWS + LENGTH])
    if other is None:
        return reference, rest
    foreign = np.flatnonzero((np.arange(LENGTH) >= BEFORE) & (generator.random(LENGTH) < share))
    drawn = other.take(generator.permutation(len(other))[: len(foreign)])
    names = ("labels", "confidence", "tokens", "unknown", "truncated", "embedding")
    columns = {name: getattr(rest, name).copy() for name in names}
    for name, values in columns.items():
        values[foreign] = getattr(drawn, name)
    return reference, Features(**columns)


def mirrored(run: Path, folder: Path) -> dict[str, Features]:
    """Sentences of financial news, and names of products, as the model of a run reads them."""
    predictor = Predictor(run / "bundle" / "src" / "model", threads=1)
    projection, task = bundle_projection(predictor, seed=13), TASKS[predictor.signature.task]
    news = [line.rpartition("@")[0] for line in
            (folder / "finance-phrasebank.txt").read_text("iso-8859-1").splitlines()]  # fmt: skip
    with (folder / "pricerunner.csv").open(encoding="utf-8", newline="") as handle:
        products = [row[1] for row in csv.reader(handle)]
    generator = np.random.default_rng(7)
    return {
        name: features_of(predictor, task, [texts[n] for n in generator.permutation(len(texts))[:LENGTH * 3]],
                          projection=projection)
        for name, texts in (("PhraseBank", news), ("PriceRunner", products))
    }  # fmt: skip


def delay_of(scores: Floats, limit: float) -> float:
    """Rows from the change to the first alarm after it; infinite without one."""
    found = np.flatnonzero(scores[BEFORE:] > limit)
    return float(found[0] + 1) if len(found) else math.inf


def methods_of(peers: dict[str, str], folder: Path) -> dict[str, Method]:
    """By name; where a window has a size, at 50 and at 200."""
    found: dict[str, Method] = {"ftdeploy": ours}
    for name, one in (("MMD online", mmd), ("LSDD online", lsdd), ("CVM, classifier output", cvm),
                      ("KS, Bonferroni", ks), ("CBPE", cbpe), ("Jensen-Shannon", jensen_shannon),
                      ("PCA reconstruction", pca)):  # fmt: skip
        found |= {f"{name}, {size}": partial(one, size=size) for size in (50, 200)}
    if "evidently" in peers:
        peer = Peer(peers["evidently"], "drift_evidently.py", folder)
        found |= {f"Evidently, {size}": partial(peer.score, size=size) for size in (200, 50)}
    for method in ("reconstruction", "jensen-shannon") if "nannyml" in peers else ():
        peer = Peer(peers["nannyml"], "drift_nannyml.py", folder, method)
        found |= {f"NannyML {method}, {size}": partial(peer.score, size=size) for size in (200, 50)}
    return found


def measured(method: Method, domains: dict[str, Any], few: int, say: Callable[[str], None], name: str) -> None:
    """A line of the table: false alarms at the limit, then median delay and power for each domain and share."""
    movie = domains["movie"]
    quiet = [method(*stream_of(movie, None, 0, seed)) for seed in range(QUIET * few)]
    began = time.process_time()
    method(*stream_of(movie, None, 0, 0))
    cost = (time.process_time() - began) / LENGTH * 1e6
    limit = float(np.quantile([scores.max() for scores in quiet], 0.95, method="higher"))
    alarms = np.mean([method(*stream_of(movie, None, 0, 1000 + seed)).max() > limit for seed in range(QUIET * few)])
    cells = []
    for domain in (one for one in domains if one != "movie"):
        for share in SHARES:
            delays = [delay_of(method(*stream_of(movie, domains[domain], share, 2000 + seed)), limit)
                      for seed in range(few)]  # fmt: skip
            middle = float(np.median(delays))
            power = "/".join(f"{np.mean([one <= rows for one in delays]):.1f}" for rows in WITHIN)
            cells.append(f"{'-' if math.isinf(middle) else f'{middle:.0f}'} ({power})")
    told = f"{math.exp(limit):.0f}" if name == "ftdeploy" else f"{limit:.3g}"
    say(f"| {name} | {told} | {alarms:.3f} | {' | '.join(cells)} | {cost:.0f} |")


def main(say: Callable[[str], None]) -> None:
    """Measure, and tell each line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="A run of recipes/sentiment.yaml: its bundle and its dataset.")
    parser.add_argument("snippets", type=Path, help="The folder hutto_ICWSM_2014 of the source package.")
    parser.add_argument("--mirror", type=Path, help="Take the domains of this folder instead.")
    parser.add_argument("--features", type=Path, help="Where answers are kept between runs.")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument(
        "--streams", type=int, default=20, help="Of each change; four times as many without one, twice."
    )
    parser.add_argument("--only", default="", help="Methods whose names begin so.")
    asked = parser.parse_args()
    if asked.features and asked.features.exists():
        domains = pickle.loads(asked.features.read_bytes())  # noqa: S301  # written below
    else:
        _, _, answered = read_domains(asked.run, asked.snippets)
        domains = {name: one.features for name, one in answered.items()}
        if asked.features:
            asked.features.write_bytes(pickle.dumps(domains))
    if asked.mirror:
        domains = {"movie": domains["movie"], **mirrored(asked.run, asked.mirror)}
    detectors.ALARM = 1e60  # the evidence itself is wanted; a limit is set from it here
    heads = [f"{domain} {share:.0%}" for domain in domains if domain != "movie" for share in SHARES]
    say(f"| method | limit | false alarms in 1,000 | {' | '.join(heads)} | microseconds |")
    say("|---|---|---|" + "---|" * (len(heads) + 1))
    peers = dict(one.split("=", 1) for one in asked.peer)
    with tempfile.TemporaryDirectory() as folder:
        for name, method in methods_of(peers, Path(folder)).items():
            if name.startswith(asked.only):
                few = asked.streams // 4 if name.startswith(("Evidently", "NannyML")) else asked.streams
                measured(method, domains, few, say, name)


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
