"""What thresholds for a wanted precision come to on rows that they were not found on: a finished run, none trained.

    python tests/benchmarks/thresholds.py runs/sentiment 0.9 0.92 0.95

For each wanted precision: the labels' thresholds by the validation rows, and on the test rows the share that gets the
fallback, how often the rest is right, and the precision of each label.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ftdeploy.artifact import open_artifact
from ftdeploy.console import show_line
from ftdeploy.dataset import label_names, read_split
from ftdeploy.errors import ConfigError
from ftdeploy.metrics import Ids
from ftdeploy.models.local import open_local
from ftdeploy.recipe import ThresholdSettings
from ftdeploy.tasks import TASKS
from ftdeploy.thresholds import least_scores, outcome


def main(run: Path, wanted: list[float]) -> None:
    """Print a line a precision."""
    dataset = open_artifact(run / "dataset", kind="dataset")
    labels = label_names(dataset)
    model = open_local(str(run), open_artifact(run / "compressed", kind="compressed"), device="cpu", labels=labels)
    tables = [read_split(dataset, "validation"), read_split(dataset, "test")]
    references: list[Ids] = [TASKS[TASK].targets(table["label"].to_pylist(), labels) for table in tables]
    known, new = (model.scores(table["text"].to_pylist()) for table in tables)
    for precision in wanted:
        settings = ThresholdSettings(fallback="unclear", precision=precision)
        try:
            least = least_scores(settings, labels, known, references[0])
        except ConfigError as error:
            show_line(f"{precision:g}: {error.what}: {'; '.join(problem.message for problem in error.problems)}")
            continue
        found = outcome(least, labels, new, references[1])
        kept = {
            label: references[1][(new.argmax(axis=1) == index) & (new.max(axis=1) >= least[label])] == index
            for index, label in enumerate(labels)
        }
        each = ", ".join(f"{label} {rows.mean():.4f} from {least[label]:g}" for label, rows in kept.items())
        show_line(
            f"{precision:g}: fallback {found['fallback_share']:.3f}, right {found['accuracy_answered']:.4f}; {each}"
        )


TASK = "text-classification"

if __name__ == "__main__":
    main(Path(sys.argv[1]), [float(one) for one in sys.argv[2:]])
