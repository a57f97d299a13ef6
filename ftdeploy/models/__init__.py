"""models: whatever answers texts with labels, behind one face: bundles, model folders, checkpoints, the hub, services.

`open_model` decides by what a place is; `ftdeploy.models.predictions` answers many rows, and keeps the answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ftdeploy.artifact import MANIFEST, Artifact, open_artifact
from ftdeploy.batching import Batching
from ftdeploy.errors import ArtifactError, SourceError, did_you_mean
from ftdeploy.models.checkpoint import CheckpointModel, checkpoint_digest, open_hub
from ftdeploy.models.local import LocalModel, folder_digest, open_local
from ftdeploy.models.model import Kind, Model
from ftdeploy.models.pipeline import as_pipeline
from ftdeploy.models.service import ServiceModel
from ftdeploy.signature import Signature, read_signature
from ftdeploy.tasks import TASKS, Task, known_task
from ftdeploy.windows import Windows

__all__ = ["Kind", "Model", "as_pipeline", "open_model"]

#: A name on the hub, perhaps with a revision.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?(@[\w./-]{1,100})?", re.ASCII)
#: Where the model of a run is found, the last stage first.
_OF_A_RUN = ("bundle", "compressed", "onnx", "checkpoint")


def open_model(place: str, *, device: str = "auto", batching: Batching | None = None,
               labels: Sequence[str] | None = None, task: str | None = None) -> Model:  # fmt: skip
    """Open a model, whatever it is.

    Args:
        place: the URL of a running service; a folder (bundle, onnx, compressed or checkpoint artifact, model folder,
            checkpoint of transformers); else a name on the Hugging Face hub (``owner/name``, ``owner/name@revision``).
        device: ``auto``, ``cpu`` or ``cuda``; a service runs where it runs.
        batching: how it is run; None as it is served.
        labels: class id -> label, as the data has them. A model with others is refused; one that only counts its
            labels (``LABEL_0``) is taken to count these.
        task: a key of ``ftdeploy.tasks.TASKS``: what a service or a checkpoint is asked for. None takes what it says
            of itself, else one label a text. A model folder does what its signature says.

    Raises:
        SourceError: there is no such place, or it cannot be reached.
        ServeError: a service fails, or answers in a wrong form.
        ArtifactError: a folder is no model, or is not as it was sealed.
        ModelError: a checkpoint is refused, the labels are others, or it is a model of another task.
        DeviceError: a device was forced that is not there.
        ValueError: there is no such task.
    """
    asked = None if task is None else TASKS[known_task(task)]
    if place.startswith(("http://", "https://")):
        return ServiceModel(place, labels=labels, task=asked)
    folder = Path(place).expanduser()
    if folder.is_dir():
        return _open_folder(place, folder, device=device, batching=batching, labels=labels, task=asked)
    if folder.exists():
        raise SourceError(
            f"{place} is a file",
            cause="a model is a folder, with its tokenizer and what it says of itself",
            fix=f"name the folder that holds it: {folder.parent}",
        )
    return _open_named(place, folder, device=device, batching=batching, labels=labels, task=asked)


def _open_folder(place: str, folder: Path, *, device: str, batching: Batching | None,
                 labels: Sequence[str] | None, task: Task | None) -> Model:  # fmt: skip
    if (folder / MANIFEST).is_file():
        artifact = open_artifact(folder)
        if artifact.kind == "checkpoint":
            return _open_checkpoint(place, artifact, device=device, batching=batching, labels=labels, task=task)
        if artifact.kind in ("bundle", "onnx", "compressed"):
            return open_local(place, artifact, device=device, batching=batching, labels=labels)
        raise ArtifactError(
            f"{place} is a {artifact.kind} artifact, and no model",
            cause="the wrong folder of the run was named",
            fix=_model_inside(folder.parent),
        )
    if (folder / "signature.json").is_file():
        return LocalModel(place, "onnx", folder, digest=folder_digest(folder), device=device, batching=batching,
                          labels=labels)  # fmt: skip
    if not (folder / "config.json").is_file():
        raise ArtifactError(
            f"{place} is no model: it has neither {MANIFEST}, signature.json nor config.json",
            cause="the folder of a whole run was named, or another one",
            fix=_model_inside(folder),
        )
    return CheckpointModel(
        place, folder, kind="checkpoint", digest=checkpoint_digest(folder), origin=f"checkpoint {folder.name}",
        device=device, batching=batching, labels=labels, task=task,
    )  # fmt: skip


def _open_checkpoint(place: str, artifact: Artifact, *, device: str, batching: Batching | None,
                     labels: Sequence[str] | None, task: Task | None) -> Model:  # fmt: skip
    stated = artifact.settings.get("model", {})
    windows = Windows.model_validate(stated["windows"]) if stated.get("windows") else None
    name = str(artifact.settings.get("task", ""))
    sets = _export_of(artifact) if name in TASKS and TASKS[name].multi_label else None
    return CheckpointModel(
        place, artifact.path, kind="checkpoint", digest=artifact.digest, origin=f"checkpoint {artifact.digest[:12]}",
        max_length=stated.get("max_length"), windows=windows, device=device, batching=batching, labels=labels,
        task=task, stated=name, sets=sets,
    )  # fmt: skip


def _export_of(checkpoint: Artifact) -> Signature | None:
    """What the export says that was made from a checkpoint, where it stands beside it, as in the folder of a run."""
    folder = checkpoint.path.parent / "onnx"
    if not (folder / MANIFEST).is_file():
        return None
    return read_signature(folder) if checkpoint.digest in open_artifact(folder).made_from else None


def _model_inside(folder: Path) -> str:
    found = next((folder / name for name in _OF_A_RUN if (folder / name / MANIFEST).is_file()), None)
    return f"did you mean {os.fspath(found)!r}?" if found else "name a bundle, a model artifact, or a checkpoint"


def _open_named(place: str, folder: Path, *, device: str, batching: Batching | None,
                labels: Sequence[str] | None, task: Task | None) -> Model:  # fmt: skip
    """A model of the hub; or the error that nothing stands there."""
    siblings = [one.name for one in folder.parent.iterdir() if one.is_dir()] if folder.parent.is_dir() else []
    close = did_you_mean(folder.name, siblings[:200])
    hint = (
        close.replace("did you mean '", f"did you mean '{folder.parent}/") if close.startswith("did you mean") else ""
    )
    # A name on the hub has one slash at most, and no folder before it; `runs/bundel` is meant to be a path.
    local = place.startswith((".", "/", "~")) or ("/" in place and folder.parent.is_dir())
    if local or not _HUB_NAME.fullmatch(place):
        raise SourceError(
            f"{place} is no folder, and no name on the hub",
            cause="the path is wrong; it is relative to where the command runs",
            fix=hint or "name a folder, a model of the hub as owner/name, or a service by its http:// or https:// URL",
        )
    try:
        return open_hub(place, device=device, batching=batching, labels=labels, task=task)
    except SourceError as error:
        raise SourceError(
            f"{place} is no folder here, and {error.what}", cause=error.cause, fix=hint or error.fix
        ) from error
