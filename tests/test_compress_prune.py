"""Twin of ftdeploy/compress/{prune,gradual,checkpoint_shape}.py: genuine tiny models, saved and loaded again."""

from __future__ import annotations

import random
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from encoders import make
from torch import nn
from transformers import AutoModelForSequenceClassification

from ftdeploy.compress.checkpoint_shape import ENCODERS, blocks, read_shape
from ftdeploy.compress.gradual import Hooks, Schedule, prune_ffn, prune_heads, slim, sparsify, sparsity_of
from ftdeploy.compress.prune import keep_layers, narrow_ffn, narrow_heads
from ftdeploy.errors import CompressionError

# transformers' DeBERTa is scripted, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")

WITHOUT_HEADS = ("deberta", "deberta-v2", "mpnet")


def batches(count: int = 2) -> list[dict[str, torch.Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        ids = torch.randint(3, 50, (count, 6, 12))
    mask = torch.ones_like(ids)
    mask[:, ::2, 9:] = 0
    return [{"input_ids": ids[i] * mask[i], "attention_mask": mask[i]} for i in range(count)]


def answers(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(**batch).logits for batch in batches()])


def reloaded(model: Any, folder: Path) -> Any:
    model.save_pretrained(folder)
    return AutoModelForSequenceClassification.from_pretrained(folder).eval()


def train(model: Any, hooks: Hooks, steps: int) -> torch.optim.Optimizer:
    """Train as the recovery does, with the hooks where they belong."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        hooks.on_step_begin()
        learn(model, optimizer, step, hooks)
    return optimizer


def learn(model: Any, optimizer: torch.optim.Optimizer, step: int, hooks: Hooks | None = None) -> None:
    batch = batches()[step % 2]
    logits = model(**batch).logits
    loss = nn.functional.cross_entropy(logits, batch["input_ids"][:, 1] % 2)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    if hooks:
        hooks.before_optimizer_step()
    optimizer.step()
    if hooks:
        hooks.after_optimizer_step()


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_kept_layers_survive_saving(kind: str, tmp_path: Path) -> None:
    """A student of two of three layers is loaded again with two, and answers as before it was saved; and every layer
    kept is the model itself."""
    model = make(kind)
    whole = answers(model)
    assert torch.equal(answers(keep_layers(model, [0, 1, 2])), whole)
    keep_layers(model, [0, 2])
    assert read_shape(model).layers == 2
    assert not torch.allclose(answers(model), whole)
    again = reloaded(model, tmp_path)
    assert read_shape(again) == read_shape(model)
    assert torch.allclose(answers(again), answers(model), atol=1e-6)


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_narrow_ffn_survives_saving(kind: str, tmp_path: Path) -> None:
    """The feed-forward blocks are physically narrower, the config says so, and nothing else changed its size."""
    model = make(kind)
    before = read_shape(model)
    narrow_ffn(model, 32, batches())
    shape = read_shape(model)
    assert shape.ffn == (32, 32, 32)
    # Each channel is a row, a bias and a column.
    assert before.parameters - shape.parameters == 3 * 32 * (16 + 1 + 16)
    again = reloaded(model, tmp_path)
    assert read_shape(again) == shape
    assert torch.allclose(answers(again), answers(model), atol=1e-6)


@pytest.mark.parametrize("kind", sorted(ENCODERS - set(WITHOUT_HEADS)))
def test_narrow_heads_survive_saving(kind: str, tmp_path: Path) -> None:
    """Heads that are taken out stay out, also after layers below were dropped, and a second time."""
    model = make(kind)
    narrow_heads(model, 3, batches())
    assert read_shape(model).heads == (3, 3, 3)
    keep_layers(model, [1, 2])
    narrow_heads(model, 2, batches())
    assert read_shape(model).heads == (2, 2)
    again = reloaded(model, tmp_path)
    assert read_shape(again) == read_shape(model)
    assert torch.allclose(answers(again), answers(model), atol=1e-6)


@pytest.mark.parametrize("kind", WITHOUT_HEADS)
def test_heads_that_cannot_go(kind: str, tmp_path: Path) -> None:
    """Where transformers cannot take heads out, that is told, and the model is as it was."""
    model = make(kind)
    before = answers(model)
    with pytest.raises(CompressionError, match="cannot lose attention heads") as caught:
        narrow_heads(model, 2, batches())
    assert caught.value.cause
    assert caught.value.fix
    assert torch.equal(answers(reloaded(model, tmp_path)), before)


def test_what_matters_stays() -> None:
    """Channels and heads whose outgoing weights are zero go first, and then the answers do not change."""
    model = make("bert")
    with torch.no_grad():
        for block in blocks(model):
            block.down.weight[:, ::2] = 0
            block.attention_out.weight[:, 4:8] = 0
    before = answers(model)
    narrow_heads(narrow_ffn(model, 32, batches()), 3, batches())
    assert torch.allclose(answers(model), before, atol=1e-6)
    assert model.config.pruned_heads == {0: [1], 1: [1], 2: [1]}


def test_padding_and_dropout_do_not_count() -> None:
    """Importance is measured in evaluation mode and over tokens only: more padding changes nothing, and the model is
    left training."""
    plain, padded = make("bert").train(), make("bert").train()
    narrow_ffn(plain, 32, batches())
    longer = [{name: nn.functional.pad(value, (0, 7)) for name, value in batch.items()} for batch in batches()]
    narrow_ffn(padded, 32, longer)
    assert plain.training
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), padded.parameters(), strict=True))


def test_no_generator_is_moved() -> None:
    """What is drawn afterwards is the same, whether a model was made smaller in between or not."""
    torch.manual_seed(1)
    random.seed(1)
    expected = torch.rand(1), random.random()  # noqa: S311  # no secret: which numbers come is what is asked
    torch.manual_seed(1)
    random.seed(1)
    model = make("bert")
    narrow_heads(narrow_ffn(model, 32, batches()), 2, batches())
    train_nothing = prune_ffn(model, 16, Schedule(first=0, last=2))
    train_nothing.on_step_begin()
    assert (torch.rand(1), random.random()) == expected  # noqa: S311  # likewise


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: keep_layers(make("bert"), [0, 3]),
        lambda: keep_layers(make("bert"), [1, 0]),
        lambda: keep_layers(make("bert"), []),
        lambda: narrow_ffn(make("bert"), 64, batches()),
        lambda: narrow_ffn(make("bert"), 32, []),
        lambda: keep_layers(make("albert"), [0]),
        lambda: read_shape(make("albert")),
        lambda: Schedule(first=3, last=3),
        lambda: slim(make("bert")),
        lambda: prune_heads(make("distilbert"), 2, Schedule(first=0, last=2)),
        lambda: prune_heads(make("deberta-v2"), 2, Schedule(first=0, last=2)),
        lambda: sparsify(make("bert"), "2:4", 0.75, Schedule(first=0, last=2)),
    ],
)
def test_what_cannot_be_is_told(wrong: Any) -> None:
    """Whatever cannot be done is a CompressionError with its three parts."""
    with pytest.raises(CompressionError) as caught:
        wrong()
    assert caught.value.what
    assert caught.value.cause
    assert caught.value.fix


@pytest.mark.parametrize(
    ("kind", "criterion"), [*((kind, "snip_momentum") for kind in sorted(ENCODERS)), ("bert", "magnitude")]
)
def test_channels_go_while_training(kind: str, criterion: Any, tmp_path: Path,
                                    capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """Channels become zero stride by stride, fast first; slimming changes the sizes and no answer, the optimizer goes
    on with the smaller matrices, and nothing is printed."""
    model = make(kind).train()
    hooks = prune_ffn(model, 24, Schedule(first=1, last=7, every=2), criterion=criterion)
    down = next(name for name in sparsity_of(model) if model.get_submodule(name) is blocks(model)[0].down)
    shares = []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(9):
        hooks.on_step_begin()
        learn(model, optimizer, step, hooks)
        shares.append(sparsity_of(model)[down])
    grown = [after - before for before, after in pairwise(shares)]
    assert shares[:2] == [0, 0]
    assert shares[-1] == (64 - 24) / 64
    assert grown[2] > grown[4] > grown[6] > 0
    before = answers(model)
    slim(model, optimizer)
    assert read_shape(model).ffn == (24, 24, 24)
    assert torch.allclose(answers(model), before, atol=1e-5)
    learn(model, optimizer, 0)
    assert not torch.equal(answers(model), before)
    again = reloaded(model, tmp_path)
    assert torch.allclose(answers(again), answers(model), atol=1e-6)
    assert capfd.readouterr() == ("", "")


def test_slimmed_training_goes_on_as_if_masked() -> None:
    """The optimizer's state follows: a step after slimming is the step that the masked model would have made."""
    masked, slimmed = make("bert"), make("bert")
    schedule = Schedule(first=0, last=2)
    hooks = prune_ffn(masked, 32, schedule)
    one = train(masked, hooks, 4)
    other = train(slimmed, prune_ffn(slimmed, 32, schedule), 4)
    slim(slimmed, other)
    hooks.on_step_begin()
    learn(masked, one, 0, hooks)
    learn(slimmed, other, 0)
    assert torch.allclose(answers(masked), answers(slimmed), atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_heads_go_while_training(kind: str, tmp_path: Path) -> None:
    """As channels do; the optimizer's state follows those of query, key, value and output."""
    model = make(kind)
    optimizer = train(model, prune_heads(model, 2, Schedule(first=0, last=4)), 6)
    before = answers(model)
    slim(model, optimizer)
    assert read_shape(model).heads == (2, 2, 2)
    assert torch.allclose(answers(model), before, atol=1e-5)
    learn(model, optimizer, 0)
    assert torch.allclose(answers(reloaded(model, tmp_path)), answers(model), atol=1e-6)


def test_cut_as_neural_compressor_cuts() -> None:
    """Where Neural Compressor's own slimming works, ours leaves the same matrices."""
    from neural_compressor.compression.pruner import model_slim

    ours, theirs = make("bert"), make("bert")
    schedule = Schedule(first=0, last=2)
    train(ours, prune_ffn(ours, 32, schedule), 4)
    theirs.load_state_dict(ours.state_dict())
    slim(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces the model, which is deprecated, and takes a warning for a failure
        model_slim(theirs, round_multiplier=0)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("pattern", ["1x1", "4x1", "2:4"])
def test_single_weights(pattern: Any, tmp_path: Path) -> None:
    """Half of the weights are zeros, in the pattern asked for, and are so after saving; no matrix is smaller."""
    model = make("bert")
    before = read_shape(model)
    train(model, sparsify(model, pattern, 0.5, Schedule(first=0, last=4)), 6)
    again = reloaded(model, tmp_path)
    assert read_shape(again) == before
    shares = sparsity_of(again)
    weights = [again.get_submodule(name).weight for name in shares]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros / sum(weight.numel() for weight in weights) == pytest.approx(0.5, abs=0.01)
    for weight in weights:
        if pattern == "2:4":
            assert set((weight == 0).view(-1, 4).sum(1).tolist()) == {2}
        if pattern == "4x1":
            assert set((weight == 0).view(weight.shape[0] // 4, 4, -1).sum(1).flatten().tolist()) <= {0, 4}
