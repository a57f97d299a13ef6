"""What a model folder says of itself: task, labels, inputs, outputs, limits. Read by everything that runs a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from ftdeploy.document import Section
from ftdeploy.errors import ArtifactError
from ftdeploy.pairs import Pairs, token_types
from ftdeploy.windows import Windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SessionOptions(Section):
    """ONNX Runtime options that belong to a model: they were measured with it.

    The keys of ONNX Runtime are those of onnxruntime_session_options_config_keys.h. The defaults are its own.
    """

    graph_optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    """Level of the optimizations at load time."""
    disabled_optimizers: tuple[str, ...] = ()
    """Optimizers that made this model slower or wrong."""
    gelu_approximation: bool = False
    """GELU by tanh (``optimization.enable_gelu_approximation``): other answers, a little."""
    qdq_cleanup: bool = False
    """Remove pairs of QuantizeLinear and DequantizeLinear that are left over (``session.enable_quant_qdq_cleanup``):
    other answers, a little."""
    prepacking: bool = True
    """Keep weights a second time, in the layout that the processor multiplies in; without, slower and smaller."""
    memory_arena: bool = True
    """Keep freed memory for the next pass."""
    memory_pattern: bool = True
    """Plan the memory of a pass by that of an earlier one of the same shape."""
    spinning: bool = True
    """Threads of one pass wait for each other busily (``session.intra_op.allow_spinning`` and ``inter_op``). A lane of
    one thread has nobody to wait for."""
    dynamic_block_base: int = Field(default=0, ge=0)
    """Work is split into blocks that get smaller towards its end (``session.dynamic_block_base``); 0 does not."""
    denormal_as_zero: bool = False
    """Numbers too small for the full precision count as 0 (``session.set_denormal_as_zero``), in the threads of the
    session's own pool."""
    exact_int8: bool = False
    """Int8 weights of the full range: without VNNI their products must be made in 16 bits, exact and slower
    (``session.x64quantprecision``, without effect elsewhere). A fact of the weights, not a choice."""
    provider: Literal["", "OpenVINOExecutionProvider"] = ""
    """Execution provider that was measured as the fastest one on processors; it is taken where the installed
    onnxruntime has it and no device is forced. Empty is ONNX Runtime's own."""


class Units(Section):
    """What a network's number is in the units of the data: ``offset + scale * logit``."""

    offset: float = 0.0
    """Mean of the training rows' labels, of which the network learned the difference."""
    scale: float = Field(default=1.0, gt=0)
    """Their standard deviation."""

    def of(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers in the units of the data, float32, of the same shape."""
        return (logits.astype("float64") * self.scale + self.offset).astype("float32")


class Review(Section):
    """Documents are read passage by passage, over HTTP (`POST /review`) and on the page."""

    critical: tuple[str, ...] = ()
    """Labels that somebody has to look at: their passages are marked."""


class Anomaly(Section):
    """Texts are held against the rows of their label by a conformal p-value (`POST /anomaly`)."""

    level: float = Field(default=0.05, gt=0, lt=1)
    """A text with at most this p-value counts as unusual: so do, by chance, at most so many of the texts like the rows.
    A label needs 1 / level - 1 validation rows (19 for 0.05); those that have fewer are left out."""


class Signature(Section):
    """The contract of a model folder (``model.onnx`` and ``tokenizer.json`` beside it)."""

    version: Literal[1] = 1
    """Format of this file."""
    name: str
    """The model's name, as in URLs."""
    task: str
    """A key of ``ftdeploy.tasks.TASKS``."""
    labels: tuple[str, ...]
    """Class id -> label."""
    max_length: int = Field(ge=1)
    """Longest input in tokens, special tokens included; longer texts are cut at the right, and it is reported."""
    windows: Windows | None = None
    """How longer texts are read instead; None cuts them."""
    pairs: Pairs | None = None
    """How rows of two texts are read; None reads single ones."""
    pad_id: int = 0
    """Token id that fills short rows of a batch."""
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    """ONNX inputs, all int64 of shape (batch, sequence)."""
    outputs: tuple[str, ...] = ("logits", "embedding")
    """ONNX outputs: logits float32 (batch, labels), or where an answer is a vector that (batch, dimensions); embedding
    float32 (batch, width)."""
    dimensions: int = Field(default=0, ge=0)
    """How many numbers an answer has, where it is a vector; else 0."""
    embedding_layer: int = 2
    """The encoder layer whose mean-pooled output ``embedding`` is."""
    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by this before the softmax (Guo et al. 2017); 1 leaves them alone."""
    units: Units = Units()
    """Where an answer is a number: its units."""
    thresholds: Mapping[str, float] = {}
    """Label -> the least probability at which it is the answer (see ``ftdeploy.serve.thresholds``); none is 0. Or,
    where any number of labels are the answer, at which it holds; none is a half."""
    fallback: str = ""
    """The answer where the likeliest label has less; empty has none. It may be one of ``labels``."""
    review: Review | None = None
    """How documents are read; None does not."""
    anomaly: Anomaly | None = None
    """When a text is unusual, by the populations beside the model (see ``ftdeploy.anomaly``); None does not say."""
    session: SessionOptions = SessionOptions()
    """ONNX Runtime options measured with this model."""
    serve: Mapping[str, float | tuple[str, ...]] = {}
    """Limits of the HTTP service, by name (see ``ftdeploy.serve.limits``)."""
    traffic: Mapping[str, float | bool | str] = {}
    """What the service records, by name (see ``ftdeploy.serve.traffic``)."""
    alerts: Mapping[str, float | bool | str | tuple[str, ...]] = {}
    """Whom the service tells of a drift, by name (see ``ftdeploy.serve.alert_options``)."""
    monitor: Mapping[str, float] = {}
    """When `ftdeploy monitor` speaks of drift, by name (see ``ftdeploy.monitor.options``)."""

    def feeds(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """What a session of the model is given for a batch, by ``inputs``.

        Args:
            ids: token ids, int64, shape (rows, tokens).
            mask: attention mask, likewise.
        """
        given = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self.inputs:
            given["token_type_ids"] = token_types(ids, mask, self.pairs)
        return {name: given[name] for name in self.inputs}


def read_signature(folder: Path) -> Signature:
    """Read ``signature.json`` of a model folder.

    Raises:
        ArtifactError: it is missing, not JSON, or not a signature.
    """
    path = folder / "signature.json"
    try:
        return Signature.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a signature: {str(error).splitlines()[0]}",
            cause="the folder is not a model folder of ftdeploy, or it is damaged",
            fix="name an onnx, compressed or bundle folder that `ftdeploy run` made",
        ) from error


def write_signature(folder: Path, signature: Signature) -> None:
    """Write ``signature.json`` into a model folder."""
    text = json.dumps(signature.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (folder / "signature.json").write_text(text + "\n", encoding="utf-8")
