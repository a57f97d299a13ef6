"""A torch model as an ONNX model folder, with Optimum: two outputs, tokenizer with truncation, input names.

Shared by the stages that make ONNX from torch: export for the fine-tuned model, compress for its students.
"""

from __future__ import annotations

import inspect
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from ftdeploy.errors import ModelError
from ftdeploy.pairs import Pairs, prepare_pairs, token_types
from ftdeploy.signature import Units
from ftdeploy.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    #: (what the model gave, attention mask) -> the first output.
    Answer = Callable[[Any, torch.Tensor], torch.Tensor]


def load_model(folder: Path, task: Task) -> PreTrainedModel:
    """The torch model of a checkpoint, in evaluation mode, float32, on the CPU; safetensors only, no remote code."""
    import transformers

    loader = getattr(transformers, task.auto_class)
    model = loader.from_pretrained(folder, use_safetensors=True, trust_remote_code=False, local_files_only=True)
    tell_texts_apart(model)
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
    _read_directly(out / "model.onnx")


def _read_directly(path: Path) -> None:
    """Let every node read a weight that several share by its own name. Torch's exporter gives all but one of them a
    copy (Identity), behind which no quantizer finds the weight: the product stays in float, beside the int8 one."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    kept = {output.name for output in graph.output} | {name for node in graph.node for name in read_below(node)}
    copies = {node.output[0]: node.input[0] for node in graph.node
              if node.op_type == "Identity" and node.input[0] in stored and node.output[0] not in kept}  # fmt: skip
    if not copies:
        return
    left = [node for node in graph.node if node.output[0] not in copies]
    for node in left:
        node.input[:] = [copies.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(left)
    onnx.save(model, path)


def read_below(node: Any) -> Iterator[str]:
    """Names that the subgraphs of an ONNX node (If, Loop, Scan) read."""
    for graph in graphs_below(node):
        for inner in graph.node:
            yield from inner.input
            yield from read_below(inner)


def graphs_below(node: Any) -> Iterator[Any]:
    """The subgraphs of an ONNX node."""
    for attribute in node.attribute:
        yield from (attribute.g, *attribute.graphs)


def answer_of(model: PreTrainedModel, task: Task) -> Answer:
    """What makes the first output of a forward pass: the head's logits; or of a model without, one vector a text."""
    if not task.vectors:
        return lambda found, _mask: found.logits
    pool = POOLING[pooling_of(model.config)]
    return lambda found, mask: _of_length_one(pool(found.last_hidden_state, mask))


def note_pairs(config: PretrainedConfig, pairs: Pairs | None) -> None:
    """Write into a checkpoint's config how its rows of two texts are read, for `pairs_of`; or, with None, that they are
    single ones, whatever it was trained on before."""
    if pairs is not None:
        setattr(config, PAIRS_KEY, pairs.model_dump(mode="json"))
    elif hasattr(config, PAIRS_KEY):
        delattr(config, PAIRS_KEY)


def pairs_of(config: PretrainedConfig) -> Pairs | None:
    """How a checkpoint that `train` wrote reads rows of two texts; None where its rows are single ones."""
    found = getattr(config, PAIRS_KEY, None)
    return None if found is None else Pairs.model_validate(found)


def tell_texts_apart(model: PreTrainedModel) -> None:
    """Have a network that reads pairs give itself ``token_type_ids`` wherever it is called without: everything that
    trains, prunes, teaches and exports then calls it with ids and mask, as any other."""
    pairs = pairs_of(model.config)
    if pairs is None or pairs.types_after is None:
        return

    def given(_network: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids = named.get("input_ids", args[0] if args else None)
        if ids is None or named.get("token_type_ids") is not None or len(args) > _BEFORE_TYPES:
            return args, named
        ends = (ids == pairs.types_after).long()
        # Behind the first: the sum before a position, so without its own. Padding is masked, whatever its type.
        return args, {**named, "token_type_ids": ((ends.cumsum(1) - ends) > 0).long()}

    model.base_model.register_forward_pre_hook(given, with_kwargs=True)


def require_pairs(folder: Path, columns: tuple[str, str]) -> None:
    """Refuse a checkpoint that cannot read rows of two texts; see `pairs_in`."""
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
    pairs_in(tokenizer, AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True), columns)


def pairs_in(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, columns: tuple[str, str]) -> Pairs:
    """How a network reads rows of two texts: by its tokenizer's template of pairs.

    Args:
        tokenizer: of the checkpoint.
        config: of the network.
        columns: how the data calls the texts.

    Raises:
        ModelError: the template puts nothing between the texts, or the second has token types of another kind.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())  # a copy: the other one is saved with the model
    prepare_pairs(backend)
    encoding = backend.encode("a", "a")  # each is a token, if only the unknown one
    owners, ids = encoding.sequence_ids, encoding.ids
    first, second = owners.index(0), owners.index(1)
    between = [place for place in range(first, second) if owners[place] is None]
    if not between:
        raise ModelError(
            "the checkpoint's tokenizer puts nothing between the two texts of a row",
            cause="it was made for single texts: its template of pairs has no special token in the middle",
            fix="choose a checkpoint whose tokenizer has one (BERT's [SEP], RoBERTa's </s>); or make one text of the "
            "two columns, and leave `data.columns.text_pair` out",
        )
    if int(getattr(config, "type_vocab_size", 0) or 0) <= 1 or not any(encoding.type_ids):
        return Pairs(columns=columns)
    found = Pairs(columns=columns, types_after=ids[between[0]])
    row = np.array([ids])
    if token_types(row, np.ones_like(row), found)[0].tolist() != encoding.type_ids:
        raise ModelError(
            "the checkpoint's tokenizer gives token types that are not 0 up to the first text's end and 1 behind it: "
            f"{encoding.type_ids[:24]}",
            cause="its architecture marks the texts of a pair in a way of its own",
            fix="choose a checkpoint of another architecture (bert, roberta, electra, deberta, mpnet, ...)",
        )
    return found


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
PAIRS_KEY = "ftdeploy_pairs"
#: Arguments of an encoder's forward before ``token_type_ids``: ids and mask.
_BEFORE_TYPES = 2


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
