"""Checkpoints of transformers, in torch: a folder, a checkpoint artifact, or a model of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy import progress
from ftdeploy.artifact import digest_of, sha256_file
from ftdeploy.batching import SERVED, Batching
from ftdeploy.checkpoints import check_checkpoint, positions_of
from ftdeploy.hardware import choose_device, plan_lanes
from ftdeploy.measure import Opened
from ftdeploy.models.checkpoint_task import outputs_of, task_of
from ftdeploy.models.model import Kind, OneLabel, batched_logits, no_advance, run_alone, single_logits
from ftdeploy.models.torch_runner import TorchRunner
from ftdeploy.onnx_export import pairs_of, units_of
from ftdeploy.predictor import run_all_rows
from ftdeploy.signature import Signature
from ftdeploy.sources import hub
from ftdeploy.tasks import Task
from ftdeploy.tasks.said import Said, softmax
from ftdeploy.windows import Windows, pooled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Files that have no say in the answers.
_SILENT = ("artifact.json", "history.json", "training_args.bin", "trainer_state.json", "model.safetensors.index.json")
#: Tokens of the longest input where neither tokenizer nor architecture sets an end.
_LONGEST = 512
#: What transformers writes for a tokenizer without a limit is 1e30.
_NO_LIMIT = 1_000_000


class CheckpointModel(OneLabel):
    """A checkpoint, open; see `ftdeploy.models.Model`.

    Its answers are made by the task, as those of a model folder, of torch's logits.

    Args:
        name: as the user gave it.
        folder: the checkpoint's.
        kind: ``checkpoint`` or ``hub``.
        digest: of what decides its answers.
        origin: where it comes from, for ``about``.
        max_length: tokens of the longest input; None asks the checkpoint.
        windows: how longer texts are read; None cuts them.
        device: ``auto``, ``cpu`` or ``cuda``.
        batching: how it is run.
        labels: what it should answer with; None takes what it has.
        task: what it is asked for; None takes what it says of itself, else one label a text.
        stated: the name of its task, where somebody knows it: ``config.json`` has no such key.
        sets: of its export, where any number of labels are an answer: from where on each holds.

    Raises:
        ModelError: it is refused (see `check_checkpoint`), is of another task (see `task_of`), or has other labels.
        DeviceError: a device was forced that is not there.
        DependencyError: torch or transformers is not installed.
    """

    def __init__(self, name: str, folder: Path, *, kind: Kind, digest: str, origin: str, max_length: int | None = None,
                 windows: Windows | None = None, device: str = "auto", batching: Batching | None = None,
                 labels: Sequence[str] | None = None, task: Task | None = None, stated: str = "",
                 sets: Signature | None = None) -> None:  # fmt: skip
        check_checkpoint(folder)
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._task = task_of(folder, config, task, stated)
        wanted = os.environ.get("FTDEPLOY_DEVICE", "auto") if device == "auto" else device
        chosen = choose_device(wanted).name
        self.name, self.kind, self.digest = name, kind, digest
        self.cacheable, self.folder = True, None
        self.batching = batching or SERVED
        self.max_length = max_length or longest_input(folder, config)
        self._lanes, threads = plan_lanes(
            threads=self.batching.threads, lanes=self.batching.lanes, on_cpu=chosen == "cpu"
        )
        self._runner = TorchRunner(
            folder, task=self._task, max_length=self.max_length, windows=windows, threads=threads, device=chosen
        )
        self.pairs = True if pairs_of(self._runner.config) is not None else None
        self.labels = outputs_of(self._task, self._runner.config.id2label, labels, name=name)
        sets = sets if self._task.multi_label else None
        self._signature = Signature(
            name=folder.name,
            task=self._task.name,
            labels=self.labels,
            max_length=self.max_length,
            windows=windows,
            temperature=1.0 if sets is None else sets.temperature,
            thresholds={} if sets is None else sets.thresholds,
            units=units_of(self._runner.config),
        )
        self.provider = self._runner.provider
        self._size = sum(path.stat().st_size for path in stored_files(folder))
        self.about = f"{origin}, {config.get('model_type', 'unknown')} in {_versions()}"
        if self._signature.thresholds:
            self.about += ", labels by the thresholds of its export"
        self.conditions: Mapping[str, str | int] = {
            "runtime": f"{_versions()} {self.provider}",
            "max_length": self.max_length,
            **({} if windows is None else {"windows": windows.model_dump_json()}),
            **({} if sets is None else {"sets": sets.model_dump_json(include={"temperature", "thresholds"})}),
            "batch_tokens": self.batching.tokens,
            "batch_rows": self.batching.rows,
        }

    def scores(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> NDArray[np.float32]:
        """See `ftdeploy.models.Model`."""
        return softmax(
            batched_logits(
                self._runner, texts, classes=len(self.labels), batching=self.batching, lanes=self._lanes,
                advance=advance,
            )
        )  # fmt: skip

    def alone(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `ftdeploy.models.Model`."""
        return softmax(single_logits(self._runner, texts, classes=len(self.labels)))

    def said(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> Said:
        """See `ftdeploy.models.Model`."""
        if self._task.one_label:
            return super().said(texts)
        rows, windows = self._runner.encode(texts), self._signature.windows
        outputs = run_all_rows(
            self._runner.run, rows, per_token=self._task.per_token, batching=self.batching, advance=advance
        )
        return self._task.said(outputs if windows is None else pooled(outputs, windows), self._signature)

    def said_alone(self, texts: Sequence[str]) -> Said:
        """See `ftdeploy.models.Model`."""
        if self._task.one_label:
            return super().said_alone(texts)
        outputs = run_alone(self._runner.run, self._runner.encode(texts), self._signature.windows)
        return self._task.said(outputs, self._signature)

    def timed(self) -> Opened:
        """The model as it is open here, with the bytes of its weights and tokenizer."""
        return Opened(runner=self._runner, lanes=self._lanes, size=self._size)

    def close(self) -> None:
        """See `ftdeploy.models.Model`."""
        self.__dict__.pop("_runner", None)


def longest_input(folder: Path, config: Mapping[str, Any]) -> int:
    """Tokens of the longest input: what the tokenizer states, bounded by the positions that the model has."""
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text(encoding="utf-8")).get("model_max_length") if path.is_file() else None
    bounds = [positions_of(dict(config)), stated]
    known = [int(bound) for bound in bounds if isinstance(bound, int | float) and 0 < bound < _NO_LIMIT]
    if not known:
        progress.say(f"{folder} sets no end to its input; texts are cut at {_LONGEST} tokens")
    return min(known, default=_LONGEST)


def stored_files(folder: Path) -> list[Path]:
    """The files of a checkpoint that have to be stored and sent."""
    return [path for pattern in ("*.safetensors", "tokenizer.json", "config.json") for path in folder.glob(pattern)]


def checkpoint_digest(folder: Path) -> str:
    """sha256 over the files that have a say in a checkpoint's answers: weights, configuration, tokenizer."""
    files = [path for pattern in ("*.safetensors", "*.json", "*.model", "*.txt") for path in folder.glob(pattern)]
    return digest_of({path.name: sha256_file(path) for path in files if path.name not in _SILENT})


def open_hub(name: str, *, device: str = "auto", batching: Batching | None = None,
             labels: Sequence[str] | None = None, task: Task | None = None) -> CheckpointModel:  # fmt: skip
    """Open a model of the Hugging Face hub; ``HF_HUB_OFFLINE`` and the hub's own cache are respected.

    Args:
        name: ``owner/name``, or ``owner/name@revision``.
        device: see `CheckpointModel`.
        batching: see `CheckpointModel`.
        labels: see `CheckpointModel`.
        task: see `CheckpointModel`.

    Raises:
        SourceError: no such model, or no network and no copy in the hub's cache.
        ModelError: see `CheckpointModel`.
    """
    identity, _, revision = name.partition("@")
    folder = hub.fetch(identity, revision=revision or None, dataset=False)
    commit = folder.name  # of the hub's cache: models--owner--name/snapshots/COMMIT
    return CheckpointModel(
        name,
        folder,
        kind="hub",
        digest=hashlib.sha256(f"{identity}@{commit}".encode()).hexdigest(),
        origin=f"hub {identity}@{commit}",
        device=device,
        batching=batching,
        labels=labels,
        task=task,
    )


def _versions() -> str:
    from importlib.metadata import version

    return f"transformers {version('transformers')}, torch {version('torch')}"
