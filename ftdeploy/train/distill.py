"""Knowledge distillation: what a teacher answers to the training rows, asked once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import MANIFEST, open_artifact
from ftdeploy.errors import ModelError
from ftdeploy.sources import resolve

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from ftdeploy.recipe.objective import Teacher
    from ftdeploy.signature import Signature

#: Where the model folder stands: in an onnx or compressed artifact, and in a bundle.
_PLACES = (".", "src/model")


def add_teacher(table: pa.Table, teacher: Teacher | None, labels: Sequence[str], *, task: str, device: str,
                work: Path, pairs: bool = False) -> pa.Table:  # fmt: skip
    """The training rows with a column ``teacher``, list<float32> in the order of ``labels``; as they are without one.

    Raises:
        SourceError: there is no such folder.
        ArtifactError, ModelError: see `teacher_logits`.
    """
    import pyarrow as pa

    if teacher is None:
        return table
    texts = table["text"].to_pylist()
    logits = teacher_logits(resolve(teacher), texts, labels, task=task, device=device, work=work, pairs=pairs)
    return table.append_column("teacher", pa.array(list(logits), pa.list_(pa.float32())))


def teacher_logits(folder: Path, texts: Sequence[str], labels: Sequence[str], *, task: str, device: str,
                   work: Path, pairs: bool = False) -> NDArray[np.float32]:  # fmt: skip
    """The teacher's logits for the rows: float32, shape (rows, labels), columns in the order of ``labels``.

    Computed once and kept in ``work``: a run that resumes goes on with the very same.

    Args:
        folder: a bundle, or another folder with model.onnx, tokenizer.json and signature.json.
        texts: of the training rows.
        labels: those of the data.
        task: of the recipe.
        device: where ONNX Runtime runs: ``cpu`` or ``cuda``.
        work: the stage's work folder.
        pairs: whether a text is two (`ftdeploy.pairs`).

    Raises:
        ArtifactError: the bundle was changed after it was sealed, or is damaged.
        ModelError: it is no model folder, of another task or other labels, or reads other rows.
    """
    from ftdeploy.predictor import Predictor
    from ftdeploy.signature import read_signature

    place = _model_folder(folder)
    signature = read_signature(place)
    _check_match(folder, signature, labels, task, pairs=pairs)
    note = work / "teacher.npy"
    if note.exists():
        return np.asarray(np.load(note), dtype=np.float32)
    teacher = Predictor(place, device=device)
    with progress.task("teacher", len(texts)) as advance:
        logits = teacher.predict(texts, advance=advance).logits / signature.temperature
    ordered = np.ascontiguousarray(logits[:, [signature.labels.index(label) for label in labels]], dtype=np.float32)
    unfinished = note.with_suffix(".partial")
    with unfinished.open("wb") as handle:
        np.save(handle, ordered)
    unfinished.rename(note)
    return ordered


def _model_folder(folder: Path) -> Path:
    if (folder / MANIFEST).is_file():
        open_artifact(folder)  # checks every file against the manifest
    for place in _PLACES:
        if (folder / place / "signature.json").is_file():
            return folder / place
    raise ModelError(
        f"train.teacher names {folder}, which holds no model that ftdeploy can run",
        cause="it is a checkpoint, another run's folder, or not of ftdeploy",
        fix="name a bundle, or the onnx or compressed folder of a run (runs/NAME/onnx)",
    )


def _check_match(folder: Path, signature: Signature, labels: Sequence[str], task: str, *, pairs: bool) -> None:
    if (signature.pairs is not None) != pairs:
        reads, have = ("two texts a row", "one") if signature.pairs else ("single texts", "two each")
        raise ModelError(
            f"the teacher {folder} reads {reads}, and the rows have {have}",
            cause="it was trained without `data.columns.text_pair`, or with it",
            fix="name a teacher that was trained on such rows",
        )
    if signature.task != task:
        raise ModelError(
            f"the teacher {folder} does {signature.task}, and the recipe asks for {task}",
            cause="train.teacher names a model of another recipe",
            fix="name a model that was trained for the same task",
        )
    if sorted(signature.labels) != sorted(labels):
        theirs, ours, odd = (
            ", ".join(names) for names in (signature.labels, labels, sorted(set(signature.labels) ^ set(labels)))
        )
        raise ModelError(
            f"the teacher {folder} knows the labels {theirs}, and the data has {ours}",
            cause=f"not in both: {odd}; the teacher was trained on other data, or labels were renamed",
            fix="name a teacher that was trained with the very labels of this data",
        )
