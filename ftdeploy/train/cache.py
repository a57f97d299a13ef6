"""Outputs of frozen layers, computed once for every row and read in every epoch in which these layers are frozen.

A frozen layer above frozen embeddings gives the same output for a row each time, as long as it runs without dropout and
the padding of the row is masked. So while it is frozen, neither it nor any layer below need run again. The outputs lie
on disk, mapped into memory; whether they are used changes results by rounding only, and it is checked that it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy import progress
from ftdeploy.batching import by_length
from ftdeploy.train.tokens import Row, row_lengths
from ftdeploy.train.unfreeze import Unfreezing, layers_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Saved layer passes must be this many times those that filling costs.
WORTH = 1.2
#: Padded tokens in a forward pass that fills.
FILL_TOKENS = 4096
#: Largest difference between logits with and without the cache, as a share of the largest logit; bf16 has 8 bits.
TOLERANCE = 0.02
_FLOAT = 4  # bytes


def choose_boundaries(plan: Unfreezing, *, steps: int, steps_per_epoch: int, tokens: int, width: int,
                      budget: int) -> tuple[int, ...]:  # fmt: skip
    """Numbers of frozen layers for which outputs are kept: where it saves time and fits.

    Args:
        plan: which layers are frozen when.
        steps: of the whole training.
        steps_per_epoch: of an epoch.
        tokens: of all training rows.
        width: hidden size.
        budget: bytes.

    Returns:
        Ascending; empty when it is not worth it.
    """
    stages = [*plan.boundaries(steps), (steps, 0)]
    saved: dict[int, float] = {}
    for (start, layers), (end, _) in pairwise(stages):
        if layers:
            saved[layers] = saved.get(layers, 0.0) + layers * (end - start) / steps_per_epoch
    fitting = budget // max(1, tokens * width * _FLOAT)
    chosen = sorted(saved, key=lambda layers: -saved[layers])[:fitting]
    if sum(saved[layers] for layers in chosen) < WORTH * max(chosen, default=1):
        return ()
    return tuple(sorted(chosen))


class _Enough(Exception):  # noqa: N818  # ends a forward pass at the highest layer that is wanted
    pass


class ActivationCache:
    """Outputs of the layers below some boundaries, float32 of shape (tokens of all rows, hidden size) for each.

    Args:
        network: as it is trained; its layers below the highest boundary are those of the checkpoint.
        boundaries: numbers of frozen layers, ascending.
        rows: the training rows.
        folder: where the files go; whole ones in it are used again.
    """

    def __init__(self, network: PreTrainedModel, boundaries: Sequence[int], rows: Sequence[Row], folder: Path) -> None:
        import numpy as np

        self._layers = layers_of(network)
        self._rows = rows
        self._folder = folder
        self._boundaries = tuple(boundaries)
        self._ends = np.cumsum([0, *row_lengths(rows)])
        self._width = int(network.config.hidden_size)
        self._kept: dict[int, Any] = {}
        self._form: Mapping[str, Any] = {}

    def has(self, boundary: int) -> bool:
        """Whether outputs for so many frozen layers are kept."""
        return boundary in self._kept

    def fill(self, network: Any, collate: Any, context: Any) -> None:
        """Compute what is not there, and refuse to serve when the network answers otherwise with it.

        Args:
            network: called with ``input_ids`` and ``attention_mask``.
            collate: rows to a batch on the network's device.
            context: the context manager of a forward pass in training (autocast).
        """
        import numpy as np
        import torch

        note = self._folder / "activations.json"
        files = {boundary: self._folder / f"activations-{boundary}.f32" for boundary in self._boundaries}
        shape = (int(self._ends[-1]), self._width)
        was_training = network.training
        network.eval()
        with torch.no_grad():
            if not note.exists():
                stores = {at: np.memmap(file, np.float32, "w+", shape=shape) for at, file in files.items()}
                form = self._compute(network, collate, context, stores)
                for store in stores.values():
                    store.flush()
                unfinished = note.with_suffix(".partial")
                unfinished.write_text(json.dumps(form), encoding="utf-8")
                unfinished.rename(note)
            self._form = json.loads(note.read_text(encoding="utf-8"))
            self._kept = {at: np.memmap(file, np.float32, "r", shape=shape) for at, file in files.items()}
            if not self._is_right(network, collate, context):
                self._kept = {}
                progress.say("outputs of frozen layers are not cached: this network answers otherwise with them")
        network.train(was_training)

    def _compute(self, network: Any, collate: Any, context: Any, stores: Mapping[int, Any]) -> dict[str, Any]:
        form: dict[str, Any] = {}
        batch: list[int] = []
        top = max(stores)

        def keep(at: int, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            parts = len(output) if isinstance(output, tuple) else 0
            form.update(parts=parts, dtype=str(hidden.dtype).removeprefix("torch."))
            values = hidden.float().cpu().numpy()
            for position, row in enumerate(batch):
                start, end = self._ends[row], self._ends[row + 1]
                stores[at][start:end] = values[position, : end - start]
            if at == top:
                raise _Enough

        lengths = row_lengths(self._rows)
        with ExitStack() as stack, progress.task("outputs of frozen layers", len(lengths)) as advance:
            for at in stores:
                hook = self._layers[at - 1].register_forward_hook(lambda _m, _i, output, at=at: keep(at, output))
                stack.callback(hook.remove)
            for found in by_length(lengths, tokens=FILL_TOKENS, rows=256):
                batch[:] = found
                inputs = collate([self._rows[row] for row in found])
                try:
                    with context():
                        network(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
                except _Enough:
                    pass
                advance(len(found))
        return form

    def _is_right(self, network: Any, collate: Any, context: Any) -> bool:
        """Rows of all lengths in one batch, so that what padding does is seen too."""
        import torch

        lengths = row_lengths(self._rows)
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        chosen = order[:: max(1, len(order) // 16)]
        inputs = collate([self._rows[row] for row in chosen])
        asked = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with context():
            expected = network(**asked)["logits"].float()
            for boundary in self._boundaries:
                with self.serving(boundary, torch.tensor(chosen), asked["input_ids"]):
                    found = network(**asked)["logits"].float()
                if not float((found - expected).abs().max()) <= TOLERANCE * max(1.0, float(expected.abs().max())):
                    return False
        return True

    @contextmanager
    def serving(self, boundary: int, rows: torch.Tensor, input_ids: torch.Tensor) -> Iterator[None]:
        """In the block, the layers below the boundary give their kept outputs instead of running.

        Args:
            boundary: number of frozen layers.
            rows: int64 (rows,), indices of the batch's rows.
            input_ids: int64 (rows, longest), the batch.
        """
        import torch

        padded = torch.zeros((*input_ids.shape, self._width), dtype=torch.float32)
        for position, row in enumerate(rows.tolist()):
            start, end = self._ends[row], self._ends[row + 1]
            padded[position, : end - start] = torch.from_numpy(self._kept[boundary][start:end].copy())
        hidden = padded.to(device=input_ids.device, dtype=getattr(torch, self._form["dtype"]))
        # DeBERTa unpacks two, of which the other, the attention, is asked for by nobody.
        answer = (hidden, *[None] * (self._form["parts"] - 1)) if self._form["parts"] else hidden
        replaced = self._layers[:boundary]
        try:
            for layer in replaced:
                layer.forward = lambda *_args, **_kwargs: answer
            yield
        finally:
            for layer in replaced:
                del layer.forward
