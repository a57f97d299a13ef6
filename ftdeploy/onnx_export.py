"""A torch model as an ONNX model folder, with Optimum: two outputs, tokenizer with truncation, input names.

Shared by the stages that make ONNX from torch: export for the fine-tuned model, compress for its students.
"""

from __future__ import annotations

import inspect
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import ModelError
from ftdeploy.signature import Units
from ftdeploy.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    #: (what the model gave, attention mask) -> the first output.
    Answer = Callable[[Any, torch.Tensor], torch.Tensor]


def load_model(folder: Path, task: Task) -> PreTrainedModel:
    """The torch model of a checkpoint, in evaluation mode, float32, on the CPU; safetensors only, no remote code."""
    import transformers

    loader = getattr(transformers, task.auto_class)
    model = loader.from_pretrained(folder, use_safetensors=True, trust_remote_code=False, local_files_only=True)
    return model.eval()


def supported(model_type: str, task: str) -> bool:
    """Whether Optimum knows how to export this architecture for this task."""
    from optimum.exporters.onnx import model_configs  # noqa: F401  # importing it is what fills the manager
    from optimum.exporters.tasks import TasksManager

    try:
        known = TasksManager.get_supported_tasks_for_model_type(
            model_type, exporter="onnx", library_name="transformers"
        )
    except KeyError:
        return False
    return task in known


def export_onnx(model: PreTrainedModel, task: Task, *, opset: int, embedding_layer: int, out: Path) -> None:
    """Write ``model.onnx`` with the outputs ``logits`` and ``embedding``.

    Args:
        model: in evaluation mode, on the CPU.
        task: whose head it has.
        opset: ONNX operator set.
        embedding_layer: the encoder layer whose masked mean is the second output; 0 is the embeddings.
        out: a folder.

    Raises:
        ModelError: Optimum does not know the architecture for this task, or the model is too large for one file.
    """
    from optimum.exporters.onnx import onnx_export_from_model
    from optimum.exporters.tasks import TasksManager

    model_type = model.config.model_type
    if not supported(model_type, task.exported_as):
        raise ModelError(
            f"Optimum cannot export {model_type!r} models for {task.name}",
            cause="the architecture is not among those that Optimum's ONNX exporter knows",
            fix="choose a checkpoint of another architecture (bert, distilbert, roberta, electra, deberta, mpnet, ...)",
        )
    constructor = TasksManager.get_exporter_config_constructor(
        exporter="onnx", model_type=model_type, task=task.exported_as, library_name="transformers"
    )
    config = _with_embedding(constructor, embedding_layer, answer_of(model, task))(model.config, task=task.exported_as)
    with warnings.catch_warnings():
        # The tracer warns of every Python branch it froze; parity below is the proof that none mattered.
        warnings.simplefilter("ignore")
        onnx_export_from_model(
            model,
            out / "exported",
            task=task.exported_as,
            opset=opset,
            custom_onnx_configs={"model": config},
            do_validation=False,
            no_post_process=True,
            do_constant_folding=True,
        )
    model.__dict__.pop("forward", None)  # the exporter leaves its patched forward behind
    (out / "exported" / "model.onnx").rename(out / "model.onnx")
    data = out / "exported" / "model.onnx_data"
    if data.exists():
        raise ModelError(
            "the exported model is larger than 2 GB",
            cause="ONNX keeps the weights of such models in a second file, which the later stages do not read yet",
            fix="choose a smaller checkpoint",
        )
    shutil.rmtree(out / "exported")


def answer_of(model: PreTrainedModel, task: Task) -> Answer:
    """What makes the first output of a forward pass: the head's logits; or of a model without, one vector a text."""
    if not task.vectors:
        return lambda found, _mask: found.logits
    pool = POOLING[pooling_of(model.config)]
    return lambda found, mask: _of_length_one(pool(found.last_hidden_state, mask))


def units_of(config: PretrainedConfig) -> Units:
    """What a number is in the units of the data, as `train` noted it; of another's checkpoint the number itself."""
    offset, scale = getattr(config, "ftdeploy_offset", 0.0), getattr(config, "ftdeploy_scale", 1.0)
    return Units(offset=float(offset), scale=float(scale))


def pooling_of(config: PretrainedConfig) -> str:
    """How a checkpoint that `train` wrote makes one vector of its tokens': a key of `POOLING`."""
    return str(getattr(config, POOLING_KEY, "mean"))


def _mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _first(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG001  # poolings share one signature
    return hidden[:, 0]


def _of_length_one(vectors: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = vectors.norm(dim=1, keepdim=True)
    return vectors / lengths.clamp_min(1e-12)


#: One vector of the tokens': (hidden states, attention mask) -> shape (rows, width). The terms are those of
#: sentence-transformers.
POOLING: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"mean": _mean, "cls": _first}
#: Where `train` writes it down in config.json.
POOLING_KEY = "ftdeploy_pooling"


def _with_embedding(constructor: Any, layer: int, answer: Answer) -> Any:
    """The architecture's own export configuration, with both outputs declared and computed."""
    base = constructor.func  # TasksManager hands out functools.partial(class, task=...)

    class WithEmbedding(base):  # type: ignore[misc, valid-type]  # optimum ships no types
        @property
        def outputs(self) -> dict[str, dict[int, str]]:
            of_the_task = super().outputs
            logits = of_the_task.get("logits", {0: "batch_size"})  # a model without a head declares its hidden states
            return {"logits": logits, "embedding": {0: "batch_size"}}

        def patch_model_for_export(self, *args: Any, **kwargs: Any) -> Any:
            patcher = super().patch_model_for_export(*args, **kwargs)
            patcher.orig_forward = forward_with_embedding(patcher.orig_forward, layer, answer=answer)
            return patcher

    return WithEmbedding


def forward_with_embedding(original: Callable[..., Any], layer: int, *, answer: Answer) -> Callable[..., Any]:
    """A forward that returns ``logits``, the answer, and ``embedding``: the masked mean of one layer's hidden
    states."""

    def forward(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = inspect.signature(original).bind(*args, **kwargs)
        given.arguments |= {"output_hidden_states": True, "return_dict": True}
        found = original(*given.args, **given.kwargs)
        mask = given.arguments["attention_mask"]
        return {"logits": answer(found, mask), "embedding": _mean(found.hidden_states[layer], mask)}

    # Optimum reads the names of the inputs off the signature.
    forward.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]  # functions take attributes
    return forward


def write_tokenizer(checkpoint: Path, out: Path, *, max_length: int) -> Any:
    """``tokenizer.json`` with truncation written into it, so that nobody downstream can forget it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False, local_files_only=True)
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(max_length)
    backend.no_padding()
    backend.save(str(out / "tokenizer.json"))
    return tokenizer


def input_names(path: Path) -> tuple[str, ...]:
    """Names of an ONNX model's inputs, in order."""
    import onnx

    return tuple(entry.name for entry in onnx.load(str(path)).graph.input)
