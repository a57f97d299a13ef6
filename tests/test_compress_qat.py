"""Twin of ftdeploy/compress/qat.py: held against ONNX Runtime, which is what it imitates."""

from __future__ import annotations

import copy
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from ftdeploy.compress.qat import (
    fake_quantize_activation,
    fake_quantize_rows,
    fake_quantize_weight,
    fake_quantized,
)
from ftdeploy.compress.tools.int8 import levels

OFF = (0.0, -3.0, 2.5)


@pytest.fixture
def model() -> Any:
    """A BERT of two layers, with weights far enough apart that int8 shows."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        config = BertConfig(
            vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=40, attn_implementation="eager",
        )  # fmt: skip
        made = BertForSequenceClassification(config).eval()
        for parameter in made.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return made


def rows(count: int = 8) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return torch.randint(1, 60, (count, 16))


@pytest.mark.parametrize("off", OFF)
def test_activation_levels_are_those_of_onnx_runtime(off: float) -> None:
    """Minimum, maximum, zero point and rounding are DynamicQuantizeLinear's, with 0 inside the range or at its end."""
    given = torch.randn(7, 33, generator=torch.Generator().manual_seed(1)) + off
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", "columns"]) for name in "xy"]
    graph = helper.make_graph(nodes, "levels", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": given.numpy()})[0]
    assert np.allclose(fake_quantize_activation(given).numpy(), expected, rtol=1e-6, atol=1e-6)
    assert len(np.unique(expected)) <= 256


@pytest.mark.parametrize("level", [127, 64])
def test_weight_levels(level: int) -> None:
    """A scale an output channel, symmetric, so many levels a side; a channel of zeros stays one."""
    weight = torch.randn(5, 400, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [[1], [9], [0.01], [3], [0]]
    )
    found = fake_quantize_weight(weight, level)
    scale = weight.abs().amax(1, keepdim=True) / level
    assert torch.all((found - weight).abs() <= scale * 0.501)
    assert torch.allclose(found[:4] / scale[:4], (found[:4] / scale[:4]).round(), atol=1e-3)
    assert torch.equal(found[4], torch.zeros(400))


def test_embedding_has_one_scale() -> None:
    """A row is rounded to the levels of the whole table, whichever rows were read."""
    table = torch.randn(30, 8, generator=torch.Generator().manual_seed(1))
    scale = table.abs().max() / 127
    found = fake_quantize_rows(table[3:5], table)
    assert torch.allclose(found, (table[3:5] / scale).round() * scale, atol=1e-6)


@pytest.mark.parametrize("reduce_range", [True, False])
def test_answers_as_the_quantized_graph_does(model: Any, tmp_path: Path, reduce_range: bool) -> None:
    """The logits agree with those of the graph that ONNX Runtime's quantizer makes ten times better than the float
    model's do: it is the very same arithmetic."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    ids = rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every branch it froze, and of its own age
        torch.onnx.export(
            model, (ids,), str(tmp_path / "plain.onnx"), dynamo=False, opset_version=17,
            input_names=["input_ids"], output_names=["logits"], do_constant_folding=True,
        )  # fmt: skip
        quantize_dynamic(
            tmp_path / "plain.onnx", tmp_path / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"], extra_options={"MatMulConstBOnly": True}, reduce_range=reduce_range,
        )  # fmt: skip
    operators = [node.op_type for node in onnx.load(str(tmp_path / "int8.onnx")).graph.node]
    assert operators.count("MatMulInteger") == 2 * 6 + 2
    settings = ort.SessionOptions()
    settings.add_session_config_entry("session.x64quantprecision", "1")  # exact also without VNNI
    session = ort.InferenceSession(tmp_path / "int8.onnx", settings, providers=["CPUExecutionProvider"])
    expected = torch.from_numpy(session.run(None, {"input_ids": ids.numpy()})[0])
    with torch.no_grad(), _float_embeddings(model), fake_quantized(model, level=levels(reduce_range=reduce_range)):
        found = model(ids).logits
    plain = model(ids).logits
    assert (found - expected).abs().mean() * 10 < (plain - expected).abs().mean()


def _float_embeddings(model: Any) -> ExitStack:
    """Read the tables by indexing: that quantizer has other levels for them, so here they stay float in both."""
    stack = ExitStack()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            weight = module.weight
            module.__dict__["forward"] = weight.__getitem__
            stack.callback(delattr, module, "forward")
    return stack


@pytest.mark.parametrize("activations", [True, False])
def test_off_again(model: Any, activations: bool) -> None:
    """Outside, and after an error inside, the model is the plain one; its parameters and their names never change."""
    ids = rows()
    names = list(model.state_dict())
    plain = model(ids).logits
    with suppress(ZeroDivisionError), fake_quantized(model, activations=activations):
        assert list(model.state_dict()) == names
        assert not torch.allclose(model(ids).logits, plain, atol=1e-4)
        raise ZeroDivisionError
    assert torch.equal(model(ids).logits, plain)


def test_other_models_are_left_alone(model: Any) -> None:
    """A teacher may run inside, and so may a copy that was made inside: only the model itself is quantized."""
    teacher, ids = copy.deepcopy(model), rows()
    plain = teacher(ids).logits
    with fake_quantized(model):
        assert torch.equal(teacher(ids).logits, plain)
        assert torch.equal(copy.deepcopy(model)(ids).logits, plain)
        assert not torch.equal(model(ids).logits, plain)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_training_lowers_the_quantized_loss(model: Any, precision: torch.dtype) -> None:
    """Gradients reach every parameter straight through the rounding, in float32 and under bf16 autocast, and the
    quantized model learns."""
    ids, labels = rows(16), torch.arange(16) % 2
    model.requires_grad_(requires_grad=True)
    start = _quantized_loss(model, ids, labels)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(12):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32), fake_quantized(model):
            logits = model(ids).logits
        loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if not step:
            without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
            assert without == []
        optimizer.step()
    assert _quantized_loss(model, ids, labels) < start / 2


def _quantized_loss(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad(), fake_quantized(model):
        return float(nn.functional.cross_entropy(model(ids).logits, labels))


def test_levels_follow_the_optimizer(model: Any) -> None:
    """Weights that a step changed inside are quantized as they are now."""
    ids = rows()
    with torch.no_grad(), fake_quantized(model):
        before = model(ids).logits
        model.classifier.weight.mul_(2)
        model.classifier.bias.mul_(2)
        assert torch.allclose(model(ids).logits, 2 * before, atol=1e-5)
