"""Models of ours: bundles and model folders, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy.artifact import Artifact, digest_of, sha256_file
from ftdeploy.batching import Batching
from ftdeploy.encoded import Encoded, Outputs
from ftdeploy.hardware import served_lanes
from ftdeploy.measure import MODEL_FILES
from ftdeploy.models.model import Kind, batched_logits, label_order, no_advance, run_alone, single_logits
from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature
from ftdeploy.tasks.said import Said, softmax

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class _OnnxRunner:
    """A `Predictor` that gives out its logits alone."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.provider = predictor.provider
        self.windows = predictor.signature.windows

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return self.predictor.encode(texts)

    def run(self, rows: Sequence[Sequence[int]]) -> Outputs:
        return self.predictor.run(rows)

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        return self.run(rows).logits


class LocalModel:
    """A model folder, open; see `ftdeploy.models.Model`.

    Args:
        name: as the user gave it.
        kind: what holds the folder.
        folder: the model folder.
        digest: of the artifact around it.
        device: ``auto``, ``cpu`` or ``cuda``.
        batching: how it is run; None as its signature says that it is served.
        labels: what it should answer with; None takes what it has.

    Raises:
        ArtifactError: the folder is incomplete or damaged.
        DeviceError: a device was forced that is not there.
        ModelError: it has other labels.
    """

    def __init__(self, name: str, kind: Kind, folder: Path, *, digest: str, device: str = "auto",
                 batching: Batching | None = None, labels: Sequence[str] | None = None) -> None:  # fmt: skip
        self.name, self.kind, self.digest, self.folder = name, kind, digest, folder
        self.cacheable = True
        self.batching = batching or served_batching(folder)
        self._lanes, threads = served_lanes(self.batching, device)
        predictor = Predictor(folder, threads=threads, device=device)
        self._signature = predictor.signature
        self.labels = label_order(self._signature.labels, labels, name=name)
        self.max_length = self._signature.max_length
        self.pairs: bool | None = self._signature.pairs is not None
        self._runner = _OnnxRunner(predictor)
        self.provider = predictor.provider
        self.about = f"{kind} {digest[:12]}, ONNX Runtime {version_of_runtime()}"
        if predictor.task.multi_label and self._signature.thresholds:
            self.about += ", labels by thresholds of their own"
        self.conditions: Mapping[str, str | int] = {
            "runtime": f"onnxruntime {version_of_runtime()} {self.provider}",
            "batch_tokens": self.batching.tokens,
            "batch_rows": self.batching.rows,
        }

    def scores(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> NDArray[np.float32]:
        """See `ftdeploy.models.Model`."""
        logits = batched_logits(
            self._runner, texts, classes=len(self.labels), batching=self.batching, lanes=self._lanes, advance=advance
        )
        return softmax(logits / self._signature.temperature)

    def alone(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `ftdeploy.models.Model`."""
        return softmax(single_logits(self._runner, texts, classes=len(self.labels)) / self._signature.temperature)

    def said(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> Said:
        """See `ftdeploy.models.Model`."""
        found = self._runner.predictor.predict(texts, batching=self.batching, advance=advance)
        return self._runner.predictor.task.said(found, self._signature)

    def said_alone(self, texts: Sequence[str]) -> Said:
        """See `ftdeploy.models.Model`."""
        predictor = self._runner.predictor
        outputs = run_alone(predictor.run, predictor.encode(texts), predictor.signature.windows)
        return predictor.task.said(outputs, self._signature)

    def timed(self) -> Path:
        """The folder: it is opened anew, so that its memory can be measured too."""
        return self.folder

    def close(self) -> None:
        """See `ftdeploy.models.Model`."""
        self.__dict__.pop("_runner", None)


def version_of_runtime() -> str:
    """The version of ONNX Runtime, whichever of its packages is installed."""
    import onnxruntime

    return str(onnxruntime.__version__)


def open_local(name: str, artifact: Artifact, *, device: str = "auto", batching: Batching | None = None,
               labels: Sequence[str] | None = None) -> LocalModel:  # fmt: skip
    """Open a bundle, or an onnx or compressed artifact; see `LocalModel`."""
    kind: Kind = {"bundle": "bundle", "compressed": "compressed"}.get(artifact.kind, "onnx")  # type: ignore[assignment]
    folder = artifact.path / "src" / "model" if kind == "bundle" else artifact.path
    return LocalModel(name, kind, folder, digest=artifact.digest, device=device, batching=batching, labels=labels)


def folder_digest(folder: Path) -> str:
    """What decides the answers of a model folder that no artifact holds: its model, tokenizer and signature."""
    names = (*MODEL_FILES, "signature.json")
    return digest_of({name: sha256_file(folder / name) for name in names if (folder / name).is_file()})


def served_batching(folder: Path) -> Batching:
    """As the bundle is served; a model that is not packaged yet states nothing, and the defaults hold."""
    stated = read_signature(folder).serve
    named = {"tokens": "batch_tokens", "rows": "batch_rows", "threads": "threads", "lanes": "lanes"}
    return Batching(**{part: int(stated[name]) for part, name in named.items() if name in stated})  # type: ignore[arg-type]  # limits of these names are numbers
