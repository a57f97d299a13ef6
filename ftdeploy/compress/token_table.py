"""The rows of an ONNX graph that belong to tokens, and to their positions: found from the token ids, and cut.

Found by what the graph does with its input, not by names: every table that is looked up by the token ids is cut, and
whatever else is done with the ids or with such a table is refused, because it would silently mean other tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import CompressionError
from ftdeploy.onnx_export import read_below

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_IDS = "input_ids"
#: Leave values and rows where they are.
_SAME = ("Cast", "Identity")
_QUANTIZE = ("QuantizeLinear", "DequantizeLinear")
#: Operators that look up rows: where the ids come in, and which inputs have a row for each token.
_LOOKUPS = {
    "Gather": (1, (0,)),
    "GatherBlockQuantized": (1, (0, 2, 3)),
    "EmbedLayerNormalization": (0, (2,)),
    "QEmbedLayerNormalization": (0, (2,)),
}


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """A graph by names: stored tensors, the nodes that make the others, and for each table found the nodes that may
    read it, by their first output."""

    weights: Mapping[str, Any]
    makers: Mapping[str, Any]
    readers: dict[str, set[str]] = field(default_factory=dict)


def cut_rows(model: onnx.ModelProto, ids: Sequence[int]) -> None:
    """Keep these rows of every table that is looked up by ``input_ids``, in this order; changes ``model``.

    Tables may be float, quantized by tensor, row or column (with DequantizeLinear before or after the look-up), or
    quantized in blocks (GatherBlockQuantized). A comparison of the ids with a constant, as RoBERTa finds its padding,
    is allowed where that id stays the same.

    Args:
        model: with its weights loaded.
        ids: old ids, in the order of the new ones.

    Raises:
        CompressionError: the graph looks up nothing by ``input_ids``, uses the ids or a table for something else (a
            tied language-model head), or a table has fewer rows than the tokenizer has tokens.
    """
    parts = _Parts(
        weights={tensor.name: tensor for tensor in model.graph.initializer},
        makers={name: node for node in model.graph.node for name in node.output},
    )
    known = {_IDS}
    for node in model.graph.node:
        places = [place for place, name in enumerate(node.input) if name in known]
        if not places or node.op_type == "Shape":
            continue
        if node.op_type in _SAME:
            known.update(node.output)
        elif node.op_type in _LOOKUPS and places == [_LOOKUPS[node.op_type][0]]:
            _refuse_other_axes(node)
            _follow(node, _LOOKUPS[node.op_type][1], parts)
        elif not _compares_with_kept(node, known, parts, ids):
            raise _refusal(f"{node.op_type} {node.name!r} uses the token ids for more than looking them up")
    if not parts.readers:
        raise _refusal(f"nothing is looked up by {_IDS}")
    _refuse_other_uses(model.graph, parts, known)
    for name in sorted(parts.readers.keys() & parts.weights.keys()):
        _cut(parts.weights[name], ids)
    for info in [info for info in model.graph.value_info if info.name in parts.readers]:
        model.graph.value_info.remove(info)  # its shape has the old number of rows


def cut_positions(model: onnx.ModelProto, length: int) -> None:
    """Keep the rows of the first ``length`` positions, where a float table is looked up by 0, 1, 2, ... as BERT's is;
    changes ``model``. What finds its positions in another way keeps its table.

    Args:
        model: with its weights loaded.
        length: most tokens of a row.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = Counter(name for node in model.graph.node for name in node.input)
    for node in model.graph.node:
        table = weights.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or readers[table.name] > 1 or table.dims[0] <= length:
            continue
        if _counts_from_zero(makers.get(node.input[1]), weights, makers):
            _cut(table, range(length))


def _counts_from_zero(maker: Any, weights: Mapping[str, Any], makers: Mapping[str, Any]) -> bool:
    """Whether a node cuts the beginning off 0, 1, 2, ..., which are stored."""
    import numpy as np

    if maker is None or maker.op_type != "Slice":
        return False
    stored = [_stored(name, weights, makers) for name in maker.input]
    if len(stored) < 4 or any(one is None for one in stored[:2] + stored[3:]):  # noqa: PLR2004  # data, starts, ends, axes
        return False
    numbers, start, _end, axis, *step = (np.asarray(one) for one in stored)
    last = numbers.ndim - 1
    counts = bool(np.array_equal(numbers.reshape(-1), np.arange(numbers.shape[last])))
    plain = all(one.tolist() == [1] for one in step)
    return counts and plain and start.tolist() == [0] and axis.tolist() in ([last], [-1])


def _stored(name: str, weights: Mapping[str, Any], makers: Mapping[str, Any]) -> NDArray[Any] | None:
    """A tensor that stands in the graph, as a weight or as a constant."""
    from onnx import numpy_helper

    maker = makers.get(name)
    tensor = weights.get(name)
    if tensor is None and maker is not None and maker.op_type == "Constant":
        tensor = next((attribute.t for attribute in maker.attribute if attribute.name == "value"), None)
    return None if tensor is None else numpy_helper.to_array(tensor)


def _follow(node: Any, places: Sequence[int], parts: _Parts) -> None:
    """Note every tensor with a row for each token that ``node`` reads at ``places``, back to the stored ones."""
    for name in (node.input[place] for place in places if place < len(node.input) and node.input[place]):
        parts.readers.setdefault(name, set()).add(node.output[0])
        if name in parts.weights:
            continue
        maker = parts.makers.get(name)
        if maker is None or maker.op_type not in (*_SAME, *_QUANTIZE):
            raise _refusal(f"the table {name!r} is no stored weight")
        _follow(maker, _places_by_row(maker, parts), parts)


def _places_by_row(maker: Any, parts: _Parts) -> tuple[int, ...]:
    """Inputs of a node that makes a whole table which have a row for each token: scales may, or not."""
    if maker.op_type in _SAME:
        return (0,)
    attributes = _numbers(maker)
    scale = parts.weights.get(maker.input[1])
    if scale is None:
        raise _refusal(f"the scale of {maker.op_type} {maker.name!r} is no stored weight")
    by_row = attributes.get("axis", 1) in (0, -2)
    blocks = attributes.get("block_size", 0) > 0
    if blocks and by_row:
        raise _refusal(f"{maker.op_type} {maker.name!r} has one scale for a block of tokens")
    of_rows = blocks or (by_row and len(scale.dims) == 1 and scale.dims[0] > 1)
    return (0, 1, 2) if of_rows else (0,)


def _refuse_other_axes(node: Any) -> None:
    attributes = _numbers(node)
    if attributes.get("axis" if node.op_type == "Gather" else "gather_axis", 0) != 0:
        raise _refusal(f"{node.op_type} {node.name!r} looks up something other than rows")
    if attributes.get("quantize_axis", 1) in (0, -2):
        raise _refusal(f"{node.op_type} {node.name!r} has one scale for a block of tokens")


def _numbers(node: Any) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute}


def _compares_with_kept(node: Any, known: set[str], parts: _Parts, ids: Sequence[int]) -> bool:
    """Whether a node asks if a token is a certain one, whose id does not change."""
    if node.op_type != "Equal":
        return False
    others = [name for name in node.input if name not in known]
    if len(others) != 1:
        return False
    stored = _stored(others[0], parts.weights, parts.makers)
    if stored is None:
        return False
    asked = stored.reshape(-1).tolist()
    # A number that no token ever had stays one, as long as it is none of the new ids either.
    return all(id_ == ids[id_] if 0 <= id_ < len(ids) else id_ not in ids for id_ in asked)


def _refuse_other_uses(graph: Any, parts: _Parts, known: set[str]) -> None:
    for node in graph.node:
        for name in node.input:
            if name in parts.readers and node.output[0] not in parts.readers[name]:
                raise _refusal(f"the table {name!r} is also used by {node.op_type} {node.name!r} (tied weights)")
        for name in read_below(node):
            if name in parts.readers or name in known:
                raise _refusal(f"{name!r} is used inside {node.op_type} {node.name!r}")
    for entry in (*graph.input, *graph.output):
        if entry.name in parts.readers or (entry.name in known and entry.name != _IDS):
            raise _refusal(f"{entry.name!r} is an input or output of the model")


def _cut(tensor: Any, ids: Sequence[int]) -> None:
    import numpy as np
    from onnx import numpy_helper

    rows = numpy_helper.to_array(tensor)
    if max(ids) >= len(rows):
        raise CompressionError(
            f"the tokenizer has a token {max(ids)}, and the table {tensor.name!r} has {len(rows)} rows",
            cause="tokens were added to the tokenizer and not to the model",
            fix="make the checkpoint's embeddings as long as its vocabulary, and train again",
        )
    tensor.CopyFrom(numpy_helper.from_array(rows[np.asarray(ids)], tensor.name))


def _refusal(what: str) -> CompressionError:
    return CompressionError(
        f"the vocabulary cannot be trimmed: {what}",
        cause="the graph ties something other than its embedding to the numbers of the tokens",
        fix="leave vocabulary trimming out for this model",
    )
