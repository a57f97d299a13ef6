"""What a fitted temperature is worth on rows that it was not fitted on: models of a finished run, none trained.

    python tests/benchmarks/temperature.py runs/sentiment

For the fp32 export and for what ships: the temperature of the validation rows, and log loss, calibration error and
accuracy on validation and test rows at 1 and at it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.console import show_line
from ftdeploy.dataset import SplitName, label_names, read_split
from ftdeploy.predictor import Predictor
from ftdeploy.temperature import Calibration, calibrate


def main(run: Path) -> None:
    """Print a line a model and split."""
    dataset = open_artifact(run / "dataset", kind="dataset")
    for kind in ("onnx", "compressed"):
        predictor = Predictor(run / kind, device="cpu")
        found = _on(predictor, dataset, "validation", None)
        show_line(f"{kind}: temperature {found.temperature:g} ({found.reason})")
        _on(predictor, dataset, "test", found.temperature)


def _on(predictor: Predictor, dataset: Artifact, split: SplitName, temperature: float | None) -> Calibration:
    """Figures of a split, printed; None fits the temperature."""
    table = read_split(dataset, split)
    references = predictor.task.targets(table["label"].to_pylist(), label_names(dataset))
    logits = predictor.predict(table["text"].to_pylist()).logits
    found = calibrate(logits, references, "fit" if temperature is None else temperature)
    right = (logits.argmax(axis=1) == references).mean()
    show_line(f"  {split}, {found.rows:,} rows: log loss {found.log_loss_before:.4f} -> {found.log_loss:.4f}, "
              f"calibration error {found.ece_before:.4f} -> {found.ece:.4f}, accuracy {right:.4f}")  # fmt: skip
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
