"""Checkpoints answer in torch as their export does in ONNX Runtime; what cannot answer is refused before it does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from checkpoints import LABELS, sentences
from tiny_pairs import with_template
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ftdeploy.errors import ModelError, SourceError
from ftdeploy.measure import measure
from ftdeploy.models import open_model
from ftdeploy.models.checkpoint import checkpoint_digest, longest_input
from ftdeploy.pairs import join, parts

if TYPE_CHECKING:
    from tiny_run import TinyRun

TEXTS = [row["text"] for row in sentences()[:150]] + ["", "good " * 100]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def plain(tiny: TinyRun, tmp_path: Path) -> Path:
    """The tiny run's checkpoint, as `save_pretrained` would have left it."""
    return Path(shutil.copytree(tiny.run / "checkpoint", tmp_path / "plain", ignore=lambda *_: ["artifact.json"]))


def change(folder: Path, name: str = "config.json", **values: Any) -> Path:
    document = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**document, **values}))
    return folder


def test_it_answers_as_its_export(tiny: TinyRun) -> None:
    """Probabilities agree to 1e-4 in batches and alone, cut texts included."""
    torch, onnx = (open_model(str(tiny.run / kind), device="cpu") for kind in ("checkpoint", "onnx"))
    seen: list[float] = []
    np.testing.assert_allclose(torch.scores(TEXTS, advance=seen.append), onnx.scores(TEXTS), atol=1e-4)
    assert sum(seen) == len(TEXTS)
    np.testing.assert_allclose(torch.alone(TEXTS[-9:]), onnx.alone(TEXTS[-9:]), atol=1e-4)
    assert torch.scores([]).shape == (0, 2)


def test_a_checkpoint_of_others_reads_the_pairs_that_it_is_given(plain: Path) -> None:
    """It does not say that it does; it is read by the template and the token types of its tokenizer, as transformers
    would. A tokenizer without a template cannot."""
    texts = [join(row["text"], other["text"]) for row, other in zip(sentences()[:9], sentences()[9:18], strict=True)]
    with pytest.raises(ModelError, match="puts nothing between the two texts"):
        open_model(str(plain), device="cpu").scores(texts)
    with_template(plain / "tokenizer.json")
    model = open_model(str(plain), device="cpu")
    assert model.pairs is None
    found = model.scores(texts)
    tokenizer = AutoTokenizer.from_pretrained(plain)
    network = AutoModelForSequenceClassification.from_pretrained(plain).eval()
    pairs = [parts(text) for text in texts]
    given = tokenizer(*map(list, zip(*pairs, strict=True)), truncation=True, max_length=64, padding=True,
                      return_tensors="pt")  # fmt: skip
    with torch.no_grad():
        expected = network(**given).logits.softmax(-1).numpy()
        untold = network(**{**given, "token_type_ids": torch.zeros_like(given["input_ids"])}).logits.softmax(-1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not np.allclose(found, untold, atol=1e-4)


def test_it_is_timed_beside_others(tiny: TinyRun) -> None:
    """With its own tokenizer, and the bytes of its weights and tokenizer as its size."""
    places = {kind: open_model(str(tiny.run / kind), device="cpu").timed() for kind in ("checkpoint", "onnx")}
    found = measure(places, TEXTS[:8], rounds=1, rows=8, device="cpu")
    assert found["checkpoint"].size > (tiny.run / "checkpoint" / "model.safetensors").stat().st_size
    assert found["checkpoint"].provider == "torch eager float32 cpu"
    assert found["checkpoint"].throughput > 0


def test_labels_that_are_only_counted_take_the_names_that_are_wanted(plain: Path) -> None:
    """LABEL_0 is the first of them."""
    change(plain, id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1})
    assert open_model(str(plain), device="cpu").labels == ("LABEL_0", "LABEL_1")
    assert open_model(str(plain), device="cpu", labels=LABELS).labels == LABELS


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"problem_type": "multi_label_classification"}, "is for multi label classification"),
        ({"architectures": ["BertForTokenClassification"]}, "is a BertForTokenClassification"),
        ({"id2label": {"0": "score"}, "label2id": {"score": 0}}, "one output only"),
        ({"auto_map": {"AutoModel": "code.Model"}}, "code of its own"),
        ({"model_type": "clip"}, "cannot be loaded as a text classifier"),
        ({"hidden_size": 64}, "cannot be loaded as a text classifier"),
    ],
)
def test_what_is_no_classifier_is_refused(plain: Path, changes: dict[str, Any], told: str) -> None:
    """With three parts, and without running anything of the checkpoint's."""
    with pytest.raises(ModelError, match=told) as found:
        open_model(str(change(plain, **changes)), device="cpu", task="text-classification")
    assert found.value.cause
    assert found.value.fix


def test_a_classifier_is_opened_for_sets_where_these_are_asked_for(plain: Path) -> None:
    """What config.json leaves open: labels hold from a half of their own probability on, and no one label is asked."""
    model = open_model(str(plain), device="cpu", task="multi-label-classification")
    tokenizer, network = AutoTokenizer.from_pretrained(plain), AutoModelForSequenceClassification.from_pretrained(plain)
    with torch.no_grad():
        given = tokenizer(TEXTS[:40], truncation=True, max_length=64, padding=True, return_tensors="pt")
        logits = network.eval()(**given).logits.numpy()
    expected = [json.dumps(sorted(label for label, logit in zip(LABELS, row, strict=True) if logit >= 0))
                for row in logits]  # fmt: skip
    assert model.said(TEXTS[:40]).labels == model.said_alone(TEXTS[:40]).labels == expected
    with pytest.raises(ModelError, match="one label a text only"):
        open_model(str(plain), device="cpu").said(TEXTS[:1])


def test_pickled_weights_are_not_read(plain: Path) -> None:
    """Only safetensors are."""
    (plain / "model.safetensors").rename(plain / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no weights as safetensors, only pytorch_model\.bin"):
        open_model(str(plain), device="cpu")


def test_the_longest_input_is_bounded_by_tokenizer_and_positions(plain: Path) -> None:
    """The smaller of both; where neither says anything, 512."""
    config = json.loads((plain / "config.json").read_text())
    assert longest_input(plain, config) == 64
    change(plain, "tokenizer_config.json", model_max_length=40)
    assert longest_input(plain, config) == 40
    change(plain, "tokenizer_config.json", model_max_length=int(1e30))
    assert longest_input(plain, config) == 64
    assert longest_input(plain, {"model_type": "t5"}) == 512


def test_the_digest_follows_weights_and_tokenizer(plain: Path) -> None:
    """And no file that has no say."""
    before = checkpoint_digest(plain)
    (plain / "README.md").write_text("words")
    (plain / "trainer_state.json").write_text("{}")
    assert checkpoint_digest(plain) == before
    change(plain, "tokenizer_config.json", do_lower_case=False)
    assert checkpoint_digest(plain) != before


def test_a_model_of_the_hub_comes_from_its_cache(plain: Path, tmp_path: Path) -> None:
    """Offline, by name and revision, in the hub's own layout; its digest is its commit's, and a name that the cache
    does not have is said to be no folder either. HF_HUB_OFFLINE is read at import, hence a process of its own."""
    home = tmp_path / "hub"
    stored = home / "models--owner--stars"
    shutil.copytree(plain, stored / "snapshots" / COMMIT)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(COMMIT)
    code = (
        "import sys\n"
        "from ftdeploy.errors import SourceError\n"
        "from ftdeploy.models import open_model\n"
        "models = [open_model(name, device='cpu') for name in ('owner/stars', 'owner/stars@main')]\n"
        "assert models[0].digest == models[1].digest and len(models[0].digest) == 64\n"
        "print(models[0].kind, models[0].about, models[0].labels, models[0].scores(['good']).shape)\n"
        "try: open_model('owner/sters')\n"
        "except SourceError as error: print(error.what)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    opened, refused = done.stdout.splitlines()
    assert opened.startswith(f"hub hub owner/stars@{COMMIT}, bert in transformers")
    assert opened.endswith("('negative', 'positive') (1, 2)")
    assert refused.startswith("owner/sters is no folder here, and model owner/sters@main cannot be had from the hub")


def test_a_word_that_is_no_name_is_a_source_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Spaces and a second slash are on no hub."""
    monkeypatch.chdir(tmp_path)
    for place in ("two words", "a/b/c", "-x"):
        with pytest.raises(SourceError, match="no name on the hub"):
            open_model(place)
