"""A checkpoint of transformers, open in torch: token ids in, logits out; or where there is no head, vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.batching import pad, with_tokens
from ftdeploy.encoded import Encoded, Outputs
from ftdeploy.errors import DependencyError, ModelError
from ftdeploy.onnx_export import POOLING_KEY, answer_of, note_pairs, pairs_in, pairs_of, tell_texts_apart
from ftdeploy.pairs import TEXT, TEXT_PAIR, is_pair
from ftdeploy.pooling import choose_pooling, note_pooling
from ftdeploy.tasks import Task
from ftdeploy.windows import Windows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase


class TorchRunner:
    """A checkpoint in torch, eager, float32, with the attention that transformers prefers.

    Args:
        folder: passed `check_checkpoint`.
        task: what it is loaded for.
        max_length: longer texts are cut at the right.
        windows: how they are read instead; None cuts them.
        threads: of a pass on processors.
        device: ``cpu`` or ``cuda``.

    Raises:
        ModelError: it has no head for the task, or no padding token.
    """

    def __init__(self, folder: Path, *, task: Task, max_length: int, threads: int, device: str,
                 windows: Windows | None = None) -> None:  # fmt: skip
        self._model, fast, self._pad_id = _load(folder, task)
        if task.vectors and not hasattr(self._model.config, POOLING_KEY):  # as `train` would have noted it
            note_pooling(self._model.config, choose_pooling(folder, "auto")[0])
        self._answer = answer_of(self._model, task)
        self._task = task
        self._fast, self._tokenizer = fast, fast.backend_tokenizer
        self.windows, self._length, self._two = windows, max_length, False
        if pairs_of(self._model.config) is not None:
            self._read_pairs()
        else:
            self._task.prepare_tokenizer(self._tokenizer, max_length, windows)
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
        return self._task.encode(self._tokenizer, texts, unknown=None, windows=self.windows,
                            pair_length=self._length if self._two else None)  # fmt: skip

    def _read_pairs(self) -> None:
        self._two = True
        tell_texts_apart(self._model)
        self._task.prepare_tokenizer(self._tokenizer, self._length, pairs=True)

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One forward pass, padded to the longest row: float32, shape (rows, labels), or (rows, tokens, labels) where
        each token is labelled, or (rows, dimensions) of a model without a head."""
        import torch

        if self._device == "cpu":
            torch.set_num_threads(self._threads)  # it holds for the calling thread, and lanes are threads
        padded = pad(with_tokens(rows, self._pad_id), self._pad_id)
        ids, mask = (torch.from_numpy(part).to(self._device) for part in padded)
        with torch.inference_mode():
            answer = self._answer(self._model(input_ids=ids, attention_mask=mask), mask)
        found: NDArray[np.float32] = answer.float().cpu().numpy()
        return found * padded[1][..., None].astype(found.dtype) if self._task.per_token else found

    def run(self, rows: Sequence[Sequence[int]]) -> Outputs:
        """`logits` as a model folder gives them; nobody asks for the embedding, which has no width."""
        found = self.logits(rows)
        return Outputs(logits=found, embedding=np.empty((len(found), 0), dtype=np.float32))


def _load(folder: Path, task: Task) -> tuple[Any, PreTrainedTokenizerBase, int]:
    """Model in evaluation mode, tokenizer, padding id."""
    try:
        import torch  # noqa: F401  # without it transformers fails with another message
        import transformers
        from transformers.utils import logging
    except ImportError as error:
        raise DependencyError(
            f"the checkpoint {folder} needs the packages torch and transformers",
            cause="ftdeploy was installed without its training extra",
            fix="pip install 'ftdeploy[train]'",
        ) from error
    wanted = "a model that labels tokens" if task.per_token else "a text classifier"
    wanted = "an encoder" if task.vectors else wanted
    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # it would advise to train a model that is refused below
    try:
        model, report = getattr(transformers, task.auto_class).from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
        )
        fast = transformers.AutoTokenizer.from_pretrained(
            folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except (ValueError, OSError, RuntimeError, KeyError) as error:  # what transformers raises for what it cannot load
        raise ModelError(
            f"{folder} cannot be loaded as {wanted}: {(str(error).strip().splitlines() or [''])[0][:300]}",
            cause="the architecture has no such head in this transformers, or weights do not fit config.json",
            fix=f"name a checkpoint that was fine-tuned for {task.name}",
        ) from error
    finally:
        logging.set_verbosity(loud)
    # Of a model without a head the pooler is loaded too, and makes none of its vectors.
    missing = [key for key in report["missing_keys"] if not (task.vectors and key.startswith("pooler."))]
    if missing:
        raise ModelError(
            f"{folder} lacks the weights {', '.join(sorted(missing)[:3])}",
            cause=f"it was pretrained and never fine-tuned for {task.name}: its answers would be random",
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
