"""Int8 weights that are stored in four bits, and are int8 again when the model is opened.

Blocks of `BLOCK` inputs have a whole factor each: an int8 weight is four bits times the factor, both integers, and the
output's scale stands beside it as for any int8 weight. (QLoRA quantizes its scales likewise, Dettmers et al. 2023.)
What unpacks them are plain operators on constants, which ONNX Runtime computes once, when it opens the model: products
are the same int8 kernels, as fast as with weights stored in int8, where kernels that read four bits (MatMulNBits) are
slower for more than a few rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.compress.tools.int8 import PAIR, pair_sums, symmetric

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

#: Inputs whose weights share a factor.
BLOCK = 32
#: Least and greatest of four bits.
_LOW, _HIGH = -8, 7
#: Largest factor: 8 * 16 is as large as int8 goes.
_FACTORS = 16
#: Opset from which BitwiseAnd is there.
OPSET = 18
#: How often the scales are widened, until no sum of a pair can saturate.
_TRIES = 8
#: Share of the inputs' mean second moment that is added to each: rows that were not seen are not like these.
_DAMPING = 0.01


def fits(weights: NDArray[np.float32]) -> bool:
    """Whether a matrix, shape (inputs, outputs), can be cut into whole blocks, two weights to a byte."""
    return len(weights) % (2 * BLOCK) == 0


def packed(weights: NDArray[np.float32], seen: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.int8],
                                                                              NDArray[np.float32]]:  # fmt: skip
    """Weights as integers of four bits, a factor a block, and a scale an output, such that no sum of a pair can
    saturate (see `ftdeploy.compress.tools.int8`).

    They are rounded input by input: what rounding one changes of the products, the later ones make up for, as far as
    their inputs go together (GPTQ, Frantar et al. 2022, https://arxiv.org/abs/2210.17323).

    Args:
        weights: float32, shape (inputs, outputs), for which `fits` holds.
        seen: what is multiplied with them, of calibration rows: float32, shape (tokens, inputs).

    Returns:
        integers from -8 to 7, int8, of that shape; factors from 1 to 16, int8, (inputs / `BLOCK`, outputs); scales,
        float32, (outputs,).
    """
    _, scales = symmetric(weights)
    spread = _spread(seen)
    for _ in range(_TRIES):
        integers, factors = _compensated(weights / scales, spread)
        sums = pair_sums(unpacked(integers, factors).astype(np.float32))
        if sums.max(initial=0) <= PAIR:
            break
        # Rounding has made some sums larger than what they are rounded from.
        scales = np.where(sums > PAIR, scales * (sums / (PAIR - 1)), scales).astype(np.float32)
    return integers, factors, scales


def _spread(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """How the error of an input's weight is made up for by those of later inputs: the upper Cholesky factor of the
    inverse of the inputs' second moments, float32, shape (inputs, inputs)."""
    moments = seen.T.astype(np.float64) @ seen
    damp = _DAMPING * float(np.mean(np.diag(moments))) or 1.0
    inverse = np.linalg.inv(moments + damp * np.eye(len(moments)))
    return np.linalg.cholesky(inverse).T.astype(np.float32)


def _compensated(levels: NDArray[np.float32], spread: NDArray[np.float32]) -> tuple[NDArray[np.int8],
                                                                                    NDArray[np.int8]]:  # fmt: skip
    """Integers and factors of weights in units of int8."""
    left = levels.copy()
    integers, factors = np.zeros(levels.shape, dtype=np.int8), []
    for start in range(0, len(levels), BLOCK):
        block, inside = left[start : start + BLOCK], spread[start : start + BLOCK]
        factor = _factor(block)
        errors = np.zeros_like(block)
        for at in range(BLOCK):
            rounded = np.rint(block[at] / factor).clip(_LOW, _HIGH)
            integers[start + at] = rounded
            errors[at] = (block[at] - rounded * factor) / inside[at, start + at]
            block[at + 1 :] -= np.outer(inside[at, start + at + 1 : start + BLOCK], errors[at])
        left[start + BLOCK :] -= inside[:, start + BLOCK :].T @ errors
        factors.append(factor)
    return integers, np.array(factors, dtype=np.int8)


def _factor(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each output the factor of least squared error for a block's weights, of shape (inputs, outputs)."""
    factors = np.arange(1, _FACTORS + 1, dtype=np.float32)[:, None, None]
    error = np.square(np.rint(block / factors).clip(_LOW, _HIGH) * factors - block).sum(axis=1)
    found: NDArray[np.float32] = (error.argmin(axis=0) + 1).astype(np.float32)
    return found


def unpacked(integers: NDArray[np.int8], factors: NDArray[np.int8]) -> NDArray[np.int8]:
    """The int8 weights, shape (inputs, outputs)."""
    made: NDArray[np.int8] = integers * np.repeat(factors, BLOCK, axis=0)
    return made


def unpacking(name: str, integers: NDArray[np.int8],
              factors: NDArray[np.int8]) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:  # fmt: skip
    """Nodes that make the int8 weights ``name`` of shape (inputs, outputs), and the constants that they read."""
    from onnx import TensorProto, helper

    rows, width = integers.shape
    halves = (integers - _LOW).astype(np.uint8).reshape(2, rows // 2, width)
    constants: dict[str, NDArray[Any]] = {
        f"{name}.nibbles": halves[0] | (halves[1] << 4),
        f"{name}.factors": factors[:, None],
        f"unpack.blocks.{width}": np.array([-1, BLOCK, width]), f"unpack.rows.{width}": np.array([-1, width]),
        "unpack.lower": np.array(15, dtype=np.uint8), "unpack.four": np.array(4, dtype=np.uint8),
        "unpack.eight": np.array(-_LOW, dtype=np.float32),
    }  # fmt: skip
    steps: tuple[tuple[str, tuple[str, ...], str, dict[str, Any]], ...] = (
        ("BitwiseAnd", (f"{name}.nibbles", "unpack.lower"), f"{name}.low", {}),
        ("BitShift", (f"{name}.nibbles", "unpack.four"), f"{name}.high", {"direction": "RIGHT"}),
        ("Concat", (f"{name}.low", f"{name}.high"), f"{name}.both", {"axis": 0}),
        ("Cast", (f"{name}.both",), f"{name}.numbers", {"to": TensorProto.FLOAT}),
        ("Sub", (f"{name}.numbers", "unpack.eight"), f"{name}.centred", {}),
        ("Reshape", (f"{name}.centred", f"unpack.blocks.{width}"), f"{name}.blocks", {}),
        ("Cast", (f"{name}.factors",), f"{name}.times", {"to": TensorProto.FLOAT}),
        ("Mul", (f"{name}.blocks", f"{name}.times"), f"{name}.levels", {}),
        ("Reshape", (f"{name}.levels", f"unpack.rows.{width}"), f"{name}.matrix", {}),
        ("Cast", (f"{name}.matrix",), name, {"to": TensorProto.INT8}),
    )
    nodes = [
        helper.make_node(kind, list(read), [made], f"{made}/{kind}", **settings) for kind, read, made, settings in steps
    ]
    return nodes, constants
