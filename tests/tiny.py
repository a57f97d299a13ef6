"""A model folder and a bundle that are genuine and tiny: made in milliseconds, for tests of what runs models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from ftdeploy.artifact import Artifact, seal
from ftdeploy.serve import RUNTIME, RUNTIME_REQUIREMENTS
from ftdeploy.signature import Signature, write_signature

ROOT = Path(__file__).resolve().parent.parent
NAME = "tiny"
WIDTH = 8
MAX_LENGTH = 32

#: The second half of the list pulls towards the last label, the first half towards the first.
WORDS = ("bad", "awful", "boring", "poor", "worst", "good", "great", "lovely", "superb", "best")
_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "the", "film", "was", "a", "and", "not", ".", ",", "!")


def write_model_folder(folder: Path, labels: Sequence[str] = ("negative", "positive"), *, name: str = NAME,
                       serve: Mapping[str, float] | None = None,
                       traffic: Mapping[str, float | bool] | None = None,
                       thresholds: Mapping[str, float] | None = None, fallback: str = "") -> None:  # fmt: skip
    """Write ``model.onnx``, ``tokenizer.json`` and ``signature.json`` of a bag-of-words classifier.

    Args:
        folder: made when missing.
        labels: texts with words of the second half of `WORDS` get the last label, of the first half the first.
        name: the model's name.
        serve: limits for the signature.
        traffic: traffic options for the signature.
        thresholds, fallback: least scores of labels, and what is answered below them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_graph(len(labels)), str(folder / "model.onnx"))
    tokenizer_of_tiny_model().save(str(folder / "tokenizer.json"))
    signature = Signature(
        name=name,
        task="text-classification",
        labels=tuple(labels),
        max_length=MAX_LENGTH,
        serve=serve or {},
        traffic=traffic or {},
        thresholds=thresholds or {},
        fallback=fallback,
    )
    write_signature(folder, signature)


def tokenizer_of_tiny_model() -> Tokenizer:
    """WordPiece over `WORDS` and a few more, lower case."""
    vocabulary = {piece: index for index, piece in enumerate(_PIECES)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  # a token of text, not a secret
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.enable_truncation(MAX_LENGTH)
    return tokenizer


def _graph(labels: int) -> onnx.ModelProto:
    random = np.random.default_rng(7)
    table = random.normal(0, 0.1, (len(_PIECES), WIDTH)).astype(np.float32)
    for position, word in enumerate(WORDS):
        table[_PIECES.index(word), 0] = 4.0 if position >= len(WORDS) // 2 else -4.0
    head = random.normal(0, 0.1, (WIDTH, labels)).astype(np.float32)
    head[0] = np.linspace(-4, 4, labels)
    weights = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(head, "head"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "one"),
        numpy_helper.from_array(np.array([2], dtype=np.int64), "two"),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight", "two"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "head"], ["logits"]),
    ]
    tensor = helper.make_tensor_value_info
    inputs = [tensor(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")]
    outputs = [
        tensor("logits", TensorProto.FLOAT, ["batch", labels]),
        tensor("embedding", TensorProto.FLOAT, ["batch", WIDTH]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_source(folder: Path, **signature: object) -> None:
    """The ``src`` folder of a bundle, around a tiny model: service, page, ``ftdeploy``, ``model/``.

    Args:
        folder: made when missing.
        signature: passed on to `write_model_folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "bentos", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in RUNTIME:
        target = folder / "ftdeploy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "ftdeploy" / name, target)
    write_model_folder(folder / "model", **signature)  # type: ignore[arg-type]  # same keywords


def write_bundle(folder: Path, *, replaced: Mapping[str, bytes] | None = None, **signature: object) -> Artifact:
    """A sealed bundle that ``bentoml serve`` takes, around a tiny model.

    Args:
        folder: where it goes; must not exist.
        replaced: files of ``src`` that are others before it is sealed, as name -> content.
        signature: passed on to `write_model_folder`.
    """
    made = folder.with_name(folder.name + ".made")
    write_source(made / "src", **signature)
    model = made / "src" / "model"
    np.savez(model / "drift_reference.npz", rows=np.zeros(1))
    for name, text in (("report.json", "{}"), ("model_card.md", "# tiny"), ("sbom.json", "{}")):
        (model / name).write_text(text + "\n", encoding="utf-8")
    name = json.loads((model / "signature.json").read_bytes())["name"]
    (made / "bento.yaml").write_text(yaml.safe_dump(bento_document(name), sort_keys=False), encoding="utf-8")
    requirements = made / "env" / "python" / "requirements.txt"
    requirements.parent.mkdir(parents=True)
    requirements.write_text("".join(f"{line}\n" for line in RUNTIME_REQUIREMENTS), encoding="utf-8")
    for name, content in (replaced or {}).items():
        (made / "src" / name).write_bytes(content)
    return seal(made, target=folder, kind="bundle", made_by="tiny@1", made_from=(), key="", settings={}, facts={})


def bento_document(name: str) -> dict[str, object]:
    """The smallest ``bento.yaml`` that BentoML 1.4 serves."""
    from importlib.metadata import version

    return {
        "service": "service:Model",
        "name": name,
        "version": "1",
        "bentoml_version": version("bentoml"),
        "creation_time": "1970-01-01T00:00:00+00:00",
        "entry_service": name,
        "services": [{"name": name, "service": "", "models": [], "dependencies": [], "config": {"workers": 1}}],
        "spec": 2,
    }
