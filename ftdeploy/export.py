"""export: the checkpoint as ONNX, with Optimum, and the proof that it answers as the torch model does.

The signature says which temperature the logits are divided by, fitted on all validation rows (`ftdeploy.temperature`):
what is judged later as fp32 has probabilities as calibrated as what is shipped.

The graph has two outputs: the task's logits, and the mean-pooled output of an early encoder layer. The second one
costs nothing (the layer is computed anyway), survives quantization, and is what drift detection watches.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.dataset import label_names, read_split
from ftdeploy.encoded import Outputs, stacked
from ftdeploy.errors import ModelError, ParityError
from ftdeploy.metrics import resolve, score
from ftdeploy.onnx_export import (
    answer_of,
    export_onnx,
    forward_with_embedding,
    input_names,
    load_model,
    pairs_of,
    units_of,
    write_tokenizer,
)
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import ExportSettings, ModelSettings
from ftdeploy.signature import Signature, write_signature
from ftdeploy.stage import Facts, stage
from ftdeploy.tasks import TASKS, Task
from ftdeploy.tasks.said import numbered
from ftdeploy.temperature import calibrate_folder
from ftdeploy.thresholds import fit_sets

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from transformers import PreTrainedModel

PARITY_ROWS = 512
#: Of a vector with torch's: rounding leaves more.
LEAST_COSINE = 0.9999


@stage(
    writes="onnx", version=3, libraries=("torch", "transformers", "tokenizers", "optimum-onnx", "onnx", "onnxruntime")
)
def export(checkpoint: Artifact, dataset: Artifact, *, export: ExportSettings, model: ModelSettings, task: str,
           name: str, out: Path) -> Facts:  # fmt: skip
    """Export a checkpoint to ``model.onnx`` and prove parity on validation rows.

    Raises:
        ModelError: the architecture cannot be exported for this task, or has no such layer.
        ParityError: a logit, an embedding or a metric differs by more than the recipe allows.
    """
    chosen = TASKS[task]
    torch_model = load_model(checkpoint.path, chosen)
    _check_layer(torch_model, export.embedding_layer)
    with progress.task("export to ONNX"):
        export_onnx(torch_model, chosen, opset=export.opset, embedding_layer=export.embedding_layer, out=out)
    tokenizer = write_tokenizer(checkpoint.path, out, max_length=model.max_length)
    dimensions = int(torch_model.config.hidden_size) if chosen.vectors else 0
    write_signature(
        out,
        Signature(
            name=name,
            task=task,
            labels=label_names(dataset),
            max_length=model.max_length,
            windows=model.windows,
            pairs=pairs_of(torch_model.config),
            pad_id=tokenizer.pad_token_id or 0,
            inputs=input_names(out / "model.onnx"),
            dimensions=dimensions,
            embedding_layer=export.embedding_layer,
            units=units_of(torch_model.config),
        ),
    )
    predictor = Predictor(out, device="cpu")
    found = _parity(torch_model, predictor, dataset, export, chosen)
    (out / "parity.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    facts: Facts = {"opset": export.opset, "bytes": (out / "model.onnx").stat().st_size, **found}
    # Vectors and numbers have no probabilities.
    return facts if not chosen.probabilities else {**facts, **_calibrated(predictor, dataset, export, chosen)}


def _calibrated(predictor: Predictor, dataset: Artifact, settings: ExportSettings, task: Task) -> Facts:
    """Temperature, and where labels hold, from all validation rows, few of which `_parity` asks."""
    table = read_split(dataset, "validation", columns=["text", "label"])
    with progress.task("temperature", table.num_rows) as advance:
        outputs = predictor.predict(table["text"].to_pylist(), advance=advance)
    targets = task.targets(table["label"].to_pylist(), label_names(dataset), outputs.rows)
    facts = calibrate_folder(predictor.folder, outputs.logits, targets, settings.temperature).facts()
    if settings.thresholds == "half":
        return facts
    return {**facts, **fit_sets(predictor.folder, outputs.logits, targets)}


def _check_layer(model: PreTrainedModel, layer: int) -> None:
    layers = int(getattr(model.config, "num_hidden_layers", 0))
    if layer > layers:
        raise ModelError(
            f"export.embedding_layer is {layer}, and the model has {layers} layers",
            cause="the layer was chosen for a deeper model",
            fix=f"set export.embedding_layer to at most {layers}; about a third of the layers works well",
        )


def _parity(model: PreTrainedModel, predictor: Predictor, dataset: Artifact, settings: ExportSettings,
            task: Task) -> dict[str, float | int]:  # fmt: skip
    """Torch against ONNX Runtime on validation rows of every length: logits, embedding and the task's metrics."""
    table = read_split(dataset, "validation")
    # At even distances: sources are often sorted by label.
    table = table.take(np.unique(np.linspace(0, table.num_rows - 1, PARITY_ROWS).astype(np.int64)))
    # Rows of windows are long, and torch is asked about each alone.
    every = -(-len(predictor.encode(table["text"].to_pylist())) // PARITY_ROWS) if predictor.signature.windows else 1
    table = table.take(np.arange(0, table.num_rows, every))
    texts = table["text"].to_pylist()
    expected = _torch_outputs(model, predictor, texts, settings.embedding_layer)
    found = predictor.predict_rows(expected.rows)
    difference = float(np.abs(expected.logits - found.logits).max())  # of windows, before any mean
    embedding = float(np.abs(expected.embedding - found.embedding).max())
    facts: dict[str, float | int] = {
        "parity_rows": len(texts),
        "max_logit_difference": difference,
        "max_embedding_difference": embedding,
    }
    wrong = []
    if not difference <= settings.max_logit_difference:  # written so that NaN counts as wrong
        wrong.append(f"logits differ by up to {difference:.2g}")
    if not embedding <= settings.max_logit_difference:
        wrong.append(f"embeddings differ by up to {embedding:.2g}")
    apart = settings.max_logit_difference if task.number else 0.0  # no number is equal to the last bit
    wrong += (
        _cosines(expected, found, facts)
        if task.vectors
        else _metrics(expected, found, table, predictor, facts, apart=apart)
    )
    if wrong:
        raise ParityError(
            f"the export does not answer as the torch model does on {len(texts)} validation rows: {'; '.join(wrong)}",
            cause="an operator that traces wrongly, or an opset that this architecture does not support",
            fix="try another export.opset; if the differences are harmless, raise export.max_logit_difference",
        )
    same = f"cosine at least {facts['min_cosine']:.6f}" if task.vectors else "metrics equal"
    progress.say(f"parity: {len(texts)} rows, logits within {difference:.1e} of torch, {same}")
    return facts


def _cosines(expected: Outputs, found: Outputs, facts: dict[str, float | int]) -> list[str]:
    """Which way the vectors point; which rows are nearest is no proof, where two are equally near."""
    products = (expected.logits * found.logits).sum(axis=1)
    lengths = np.linalg.norm(expected.logits, axis=1) * np.linalg.norm(found.logits, axis=1)
    facts["min_cosine"] = float((products / np.maximum(lengths, 1e-12)).min())
    return (
        [] if facts["min_cosine"] >= LEAST_COSINE else [f"a vector's cosine with torch's is {facts['min_cosine']:.6f}"]
    )


def _metrics(expected: Outputs, found: Outputs, table: pa.Table, predictor: Predictor,
             facts: dict[str, float | int], *, apart: float) -> list[str]:  # fmt: skip
    """The task's metrics, which may not be further apart than that."""
    task, wrong = predictor.task, []
    said, again = (task.said(predictor.pooled(one), predictor.signature).labels for one in (expected, found))
    table_of, (references, before_ids, after_ids) = numbered(
        *task.compared(table["label"].to_pylist(), [said, again]),
        known=predictor.signature.labels if task.one_label else (),
    )
    for metric in task.metrics:
        one = resolve(metric, table_of)
        before, after = (score(one, references, ids, len(table_of)) for ids in (before_ids, after_ids))
        facts[f"parity_{metric}"] = after
        if not abs(before - after) <= apart:
            wrong.append(f"{metric} is {after:.4f} in ONNX Runtime and {before:.4f} in torch")
    return wrong


def _torch_outputs(model: PreTrainedModel, predictor: Predictor, texts: Sequence[str], layer: int) -> Outputs:
    """What torch answers, one row at a time in no batch at all: nothing of the batching can hide a difference."""
    import torch

    logits, embeddings = [], []
    forward = forward_with_embedding(model.forward, layer, answer=answer_of(model, predictor.task))
    rows = predictor.encode(texts)
    with torch.inference_mode(), progress.task("parity", len(rows)) as advance:
        for row in rows:
            ids = torch.tensor([row.ids])
            found = forward(input_ids=ids, attention_mask=torch.ones_like(ids))
            logits.append(found["logits"].numpy())
            embeddings.append(found["embedding"].numpy())
            advance(1)
    return Outputs(logits=stacked(logits), embedding=np.concatenate(embeddings), rows=rows)
