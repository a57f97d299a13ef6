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
from ftdeploy.batching import SERVED, Batching, pad, with_tokens
from ftdeploy.checkpoints import check_checkpoint, positions_of
from ftdeploy.encoded import Encoded
from ftdeploy.errors import DependencyError, ModelError
from ftdeploy.hardware import choose_device, plan_lanes
from ftdeploy.measure import Opened
from ftdeploy.models.model import (
    Kind,
    OneLabel,
    batched_logits,
    label_order,
    no_advance,
    single_logits,
)
from ftdeploy.onnx_export import note_pairs, pairs_in, pairs_of, tell_texts_apart
from ftdeploy.pairs import TEXT, TEXT_PAIR, is_pair
from ftdeploy.sources import hub
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.said import softmax
from ftdeploy.windows import Windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

#: What checkpoints of others can be asked for.
_TASK = TASKS["text-classification"]
#: Files that have no say in the answers.
_SILENT = ("artifact.json", "history.json", "training_args.bin", "trainer_state.json", "model.safetensors.index.json")
#: Tokens of the longest input where neither tokenizer nor architecture sets an end.
_LONGEST = 512
#: What transformers writes for a tokenizer without a limit is 1e30.
_NO_LIMIT = 1_000_000


class TorchRunner:
    """A sequence classifier in torch, eager, float32, with the attention that transformers prefers.

    Args:
        folder: passed `check_checkpoint`.
        max_length: longer texts are cut at the right.
        windows: how they are read instead; None cuts them.
        threads: of a pass on processors.
        device: ``cpu`` or ``cuda``.

    Raises:
        ModelError: no classifier with one label a text, or no padding token.
    """

    def __init__(self, folder: Path, *, max_length: int, threads: int, device: str,
                 windows: Windows | None = None) -> None:  # fmt: skip
        self._model, fast, self._pad_id = _load(folder)
        self._fast, self._tokenizer = fast, fast.backend_tokenizer
        self.windows, self._length, self._two = windows, max_length, False
        if pairs_of(self._model.config) is not None:
            self._read_pairs()
        else:
            _TASK.prepare_tokenizer(self._tokenizer, max_length, windows)
        self._model.to(device)
        self._threads, self._device = threads, device
        self.config = self._model.config
        self.provider = f"torch eager float32 {device}"

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokenise as the export does: cut at the right, the closing special token kept, or in windows. A checkpoint of
        others does not say whether it reads single texts or pairs: it reads what it is given first.

        Raises:
            ModelError: it is given pairs, and its tokenizer has no template for them.
        """
        if not self._two and texts and is_pair(texts[0]):
            note_pairs(self._model.config, pairs_in(self._fast, self._model.config, (TEXT, TEXT_PAIR)))
            self._read_pairs()
        return _TASK.encode(self._tokenizer, texts, unknown=None, windows=self.windows,
                            pair_length=self._length if self._two else None)  # fmt: skip

    def _read_pairs(self) -> None:
        self._two = True
        tell_texts_apart(self._model)
        _TASK.prepare_tokenizer(self._tokenizer, self._length, pairs=True)

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One forward pass, padded to the longest row: float32, shape (rows, labels)."""
        import torch

        if self._device == "cpu":
            torch.set_num_threads(self._threads)  # it holds for the calling thread, and lanes are threads
        padded = pad(with_tokens(rows, self._pad_id), self._pad_id)
        ids, mask = (torch.from_numpy(part).to(self._device) for part in padded)
        with torch.inference_mode():
            found: NDArray[np.float32] = self._model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return found

    run = logits


def _load(folder: Path) -> tuple[Any, PreTrainedTokenizerBase, int]:
    """Model in evaluation mode, tokenizer, padding id."""
    try:
        import torch  # noqa: F401  # without it transformers fails with another message
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils import logging
    except ImportError as error:
        raise DependencyError(
            f"the checkpoint {folder} needs the packages torch and transformers",
            cause="ftdeploy was installed without its training extra",
            fix="pip install 'ftdeploy[train]'",
        ) from error
    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # it would advise to train a model that is refused below
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
        )
        fast = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, RuntimeError, KeyError) as error:  # what transformers raises for what it cannot load
        raise ModelError(
            f"{folder} cannot be loaded as a text classifier: {(str(error).strip().splitlines() or [''])[0][:300]}",
            cause="the architecture has no classification head in this transformers, or weights do not fit config.json",
            fix="name a checkpoint that was fine-tuned for text classification",
        ) from error
    finally:
        logging.set_verbosity(loud)
    if report["missing_keys"]:
        raise ModelError(
            f"{folder} lacks the weights {', '.join(sorted(report['missing_keys'])[:3])}",
            cause="it was pretrained and never fine-tuned for text classification: its answers would be random",
            fix="name a fine-tuned checkpoint",
        )
    padding = model.config.pad_token_id if model.config.pad_token_id is not None else fast.pad_token_id
    if padding is None:
        raise ModelError(
            f"{folder} has no padding token",
            cause="it is a decoder, whose classifier reads the last token before the padding",
            fix="set pad_token_id in its config.json to the token that it was fine-tuned with",
        )
    model.config.pad_token_id = padding
    return model.eval(), fast, int(padding)


class CheckpointModel(OneLabel):
    """A checkpoint, open; see `ftdeploy.models.Model`.

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

    Raises:
        ModelError: it is refused (see `check_checkpoint`), or is no classifier with these labels.
        DeviceError: a device was forced that is not there.
        DependencyError: torch or transformers is not installed.
    """

    def __init__(self, name: str, folder: Path, *, kind: Kind, digest: str, origin: str, max_length: int | None = None,
                 windows: Windows | None = None, device: str = "auto", batching: Batching | None = None,
                 labels: Sequence[str] | None = None) -> None:  # fmt: skip
        config = _checked_config(folder)
        wanted = os.environ.get("FTDEPLOY_DEVICE", "auto") if device == "auto" else device
        chosen = choose_device(wanted).name
        self.name, self.kind, self.digest = name, kind, digest
        self.cacheable, self.folder = True, None
        self.batching = batching or SERVED
        self.max_length = max_length or longest_input(folder, config)
        self._lanes, threads = plan_lanes(
            threads=self.batching.threads, lanes=self.batching.lanes, on_cpu=chosen == "cpu"
        )
        self._runner = TorchRunner(folder, max_length=self.max_length, windows=windows, threads=threads, device=chosen)
        self.pairs = True if pairs_of(self._runner.config) is not None else None
        named: Mapping[int, str] = self._runner.config.id2label
        self.labels = label_order([named[index] for index in sorted(named)], labels, name=name)
        self.provider = self._runner.provider
        self._size = sum(path.stat().st_size for path in stored_files(folder))
        self.about = f"{origin}, {config.get('model_type', 'unknown')} in {_versions()}"
        self.conditions: Mapping[str, str | int] = {
            "runtime": f"{_versions()} {self.provider}",
            "max_length": self.max_length,
            **({} if windows is None else {"windows": windows.model_dump_json()}),
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

    def timed(self) -> Opened:
        """The model as it is open here, with the bytes of its weights and tokenizer."""
        return Opened(runner=self._runner, lanes=self._lanes, size=self._size)

    def close(self) -> None:
        """See `ftdeploy.models.Model`."""
        self.__dict__.pop("_runner", None)


def _checked_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint that can be loaded and classifies texts into one label each."""
    check_checkpoint(folder)
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("problem_type") in ("multi_label_classification", "regression"):
        raise ModelError(
            f"{folder} is for {config['problem_type'].replace('_', ' ')} (problem_type in its config.json)",
            cause="its scores are not probabilities of labels of which one is right",
            fix="name a bundle or an export of it; or a checkpoint for single-label classification",
        )
    if len(config.get("id2label", {0: "", 1: ""})) < 2:  # noqa: PLR2004  # a label is told from another
        raise ModelError(
            f"{folder} has one output only",
            cause="it was fine-tuned for regression or ranking",
            fix="name a checkpoint that tells two labels or more apart",
        )
    return config


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
             labels: Sequence[str] | None = None) -> CheckpointModel:  # fmt: skip
    """Open a model of the Hugging Face hub; ``HF_HUB_OFFLINE`` and the hub's own cache are respected.

    Args:
        name: ``owner/name``, or ``owner/name@revision``.
        device: see `CheckpointModel`.
        batching: see `CheckpointModel`.
        labels: see `CheckpointModel`.

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
    )


def _versions() -> str:
    from importlib.metadata import version

    return f"transformers {version('transformers')}, torch {version('torch')}"
