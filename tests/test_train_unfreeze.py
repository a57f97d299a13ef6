"""What is trained when: gradual unfreezing, freezing, rates per group, and layers whose outputs are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import sentences, write_tiny_checkpoint
from encoders import make, padded

from ftdeploy.errors import TrainingError
from ftdeploy.recipe import TrainSettings
from ftdeploy.train.cache import ActivationCache, choose_boundaries
from ftdeploy.train.optimizer import build_optimizer
from ftdeploy.train.unfreeze import Stages, Unfreezing, plan_unfreezing, rates

LAYERS = 4

# transformers' DeBERTa is scripted, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_checkpoint(folder, layers=LAYERS, hidden=16)
    return folder


@pytest.fixture
def network(checkpoint: Path) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_pretrained(checkpoint, local_files_only=True)


def planned(network: Any, **train: Any) -> Unfreezing:
    plan = plan_unfreezing(network, TrainSettings(**train), steps_per_epoch=10)
    assert plan is not None
    return plan


def trained(network: Any) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_the_head_is_first_and_the_embeddings_are_last(network: Any) -> None:
    """One group more an epoch, from the top."""
    plan = planned(network, unfreeze={"every": "epoch"})
    assert plan.frozen(0) == ("layer 3", "layer 2", "layer 1", "layer 0", "embeddings")
    assert plan.frozen(9) == plan.frozen(0)
    assert plan.frozen(10) == ("layer 2", "layer 1", "layer 0", "embeddings")
    assert plan.frozen(40) == ("embeddings",)
    assert plan.frozen(50) == ()
    assert [plan.frozen_layers(step) for step in range(0, 60, 10)] == [4, 3, 2, 1, 0, 0]


def test_groups_of_several_layers_by_steps(network: Any) -> None:
    """Three layers every second step; the embeddings wait for all layers."""
    plan = planned(network, unfreeze={"every": 2, "layers": 3})
    assert [len(plan.frozen(step)) for step in range(8)] == [5, 5, 2, 2, 1, 1, 0, 0]


def test_what_is_frozen_for_good_stays_so(network: Any) -> None:
    """Also where the rest is unfrozen little by little; embeddings are named on their own."""
    plan = planned(network, freeze={"layers": 2}, unfreeze={"every": 1})
    assert plan.frozen(100) == ("layer 1", "layer 0", "embeddings")
    assert plan.frozen_layers(100) == 2
    assert planned(network, freeze={"layers": 1, "embeddings": False}).frozen(0) == ("layer 0",)
    assert planned(network, freeze={"layers": 1, "embeddings": False}).frozen_layers(0) == 0
    assert planned(network, freeze={}).frozen(0) == ("embeddings",)
    with pytest.raises(TrainingError, match="names 5 layers"):
        planned(network, freeze={"layers": 5})


def test_the_network_is_as_the_step_wants_it(network: Any) -> None:
    """Gradients are asked for by what is trained alone, what is frozen at the bottom has no dropout, and the optimizer
    holds all that will ever be trained."""
    stages = Stages(network, planned(network, freeze={"layers": 1}, unfreeze={"every": 10}))
    in_optimizer = sum(len(group["params"]) for group in build_optimizer(network, TrainSettings()).param_groups)
    assert in_optimizer == sum(1 for name, _ in network.named_parameters() if ".layer.0." not in name
                               and "embeddings" not in name)  # fmt: skip
    ids = next(network.parameters()).new_zeros((1, 2)).long()
    for step, lowest in ((0, 4), (10, 3), (20, 2), (30, 1), (99, 1)):
        network.train()
        stages.begin(step)
        with stages.running(None, ids):
            layers = network.bert.encoder.layer
            assert [layer.training for layer in layers] == [number >= lowest for number in range(LAYERS)]
            assert not network.bert.embeddings.dropout.training
            assert network.dropout.training
        assert {int(name.split(".")[3]) for name in trained(network) if ".layer." in name} == set(range(lowest, LAYERS))
        assert not any("embeddings" in name for name in trained(network))
        assert "classifier.weight" in trained(network)


@pytest.mark.parametrize("kind", ["mpnet", "deberta-v2"])
def test_what_all_layers_read_is_frozen_with_the_lowest(kind: str) -> None:
    """Relative positions, and their norm, are no part of the head: a step changes nothing of what frozen layers give,
    or kept outputs would no longer be theirs."""
    import torch

    network = make(kind, **({"norm_rel_ebd": "layer_norm"} if kind == "deberta-v2" else {}))
    inputs = padded([[5, 6, 7, 8], [9, 10]])

    def given() -> Any:
        with torch.no_grad():
            return network(**inputs, output_hidden_states=True).hidden_states[2]

    before = given()
    Stages(network, planned(network, freeze={"layers": 2})).begin(0)
    network(**inputs, labels=torch.tensor([0, 1])).loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.sub_(parameter.grad)
    assert torch.equal(given(), before)


def test_rates_by_group(network: Any) -> None:
    """Head and embeddings have their own; only what is trained is named; equal rates are not."""
    settings = TrainSettings(learning_rate=1e-3, layerwise_decay=0.5, head_learning_rate=1e-2,
                             embeddings_learning_rate=1e-6)  # fmt: skip
    optimizer = build_optimizer(network, settings)
    found = rates(optimizer, None, 0, shown=1e-2, layers=LAYERS)
    assert found == pytest.approx({
        "head": 1e-2, "layer 3": 5e-4, "layer 2": 2.5e-4, "layer 1": 1.25e-4, "layer 0": 6.25e-5, "embeddings": 1e-6,
    })  # fmt: skip
    assert rates(optimizer, None, 0, shown=5e-3, layers=LAYERS) == pytest.approx(
        {name: rate / 2 for name, rate in found.items()}
    )
    plan = planned(network, unfreeze={"every": 10})
    assert rates(optimizer, plan, 10, shown=1e-2, layers=LAYERS) == pytest.approx({"head": 1e-2, "layer 3": 5e-4})
    assert rates(build_optimizer(network, TrainSettings()), None, 0, shown=1e-3, layers=LAYERS) == {}


def test_rates_are_named_by_the_layers_of_the_network(network: Any) -> None:
    """Also where the optimizer holds no embeddings, as with LoRA: the lowest layer is not taken for them."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("embeddings" not in name)
    optimizer = build_optimizer(network, TrainSettings(learning_rate=1e-3, layerwise_decay=0.5))
    found = rates(optimizer, None, 0, shown=1e-3, layers=LAYERS)
    assert list(found) == ["head", "layer 3", "layer 2", "layer 1", "layer 0"]


def test_outputs_are_kept_where_that_pays(network: Any) -> None:
    """Two layers in one epoch: computing them is the whole cost. In more epochs, or at several heights that one pass
    fills, it is gained; not beyond the budget, which the most useful fit first."""

    def choose(steps: int, budget: int = 10**9, **train: Any) -> tuple[int, ...]:
        plan = planned(network, **train)
        return choose_boundaries(plan, steps=steps, steps_per_epoch=10, tokens=1000, width=16, budget=budget)

    assert choose(10, freeze={"layers": 2}) == ()
    assert choose(30, freeze={"layers": 2}) == (2,)
    assert choose(30, freeze={"layers": 2, "embeddings": False}) == ()
    assert choose(60, unfreeze={}) == (1, 2, 3, 4)
    assert choose(60, unfreeze={}, budget=2 * 1000 * 16 * 4) == (3, 4)
    assert choose(30, freeze={"layers": 2}, budget=1000) == ()
    assert choose(30, unfreeze={"every": 1}) == ()


@pytest.mark.parametrize("boundary", [1, 3, LAYERS])
def test_kept_outputs_are_those_of_the_layers(network: Any, checkpoint: Path, tmp_path: Path, boundary: int) -> None:
    """Logits and gradients are equal but for rounding, in a batch with other neighbours and other padding; and the
    layers do not run."""
    import torch
    from transformers import AutoTokenizer

    from ftdeploy.train.tokens import collate

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    texts = [row["text"] for row in sentences()[:40]]
    ids = tokenizer(texts, truncation=True, max_length=48)["input_ids"]
    rows = [{"input_ids": found, "labels": 0, "row": number} for number, found in enumerate(ids)]
    cache = ActivationCache(network, (1, 3, LAYERS), rows, tmp_path)
    cache.fill(network, lambda found: collate(found, pad_id=0), lambda: torch.autocast("cpu", enabled=False))
    assert cache.has(boundary)
    batch = collate([rows[at] for at in (31, 2, 17, 8)], pad_id=0)
    asked = {name: batch[name] for name in ("input_ids", "attention_mask")}
    network.eval()
    ran: list[int] = []
    for number, layer in enumerate(network.bert.encoder.layer):
        layer.attention.register_forward_hook(lambda *_, number=number: ran.append(number))

    def answer() -> tuple[Any, Any]:
        network.zero_grad()
        logits = network(**asked)["logits"]
        logits.square().sum().backward()
        return logits.detach(), network.classifier.weight.grad.clone()

    expected = answer()
    ran.clear()
    with cache.serving(boundary, batch["row"], batch["input_ids"]):
        found = answer()
    assert ran == list(range(boundary, LAYERS))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(answer()[0], expected[0], rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["deberta", "deberta-v2", "distilbert", "electra", "mpnet", "roberta"])
def test_kept_outputs_have_the_form_that_the_architecture_unpacks(kind: str, tmp_path: Path) -> None:
    """A tensor, a tuple of one, or of two, as DeBERTa's encoder wants it."""
    import torch

    from ftdeploy.train.tokens import collate

    network = make(kind)
    rows = [{"input_ids": [2, *range(5, 5 + at), 3], "labels": 0, "row": at - 1} for at in range(1, 33)]
    cache = ActivationCache(network, (1, 2), rows, tmp_path)
    cache.fill(network, lambda found: collate(found, pad_id=0), lambda: torch.autocast("cpu", enabled=False))
    assert cache.has(2)
    batch = collate([rows[at] for at in (30, 2)], pad_id=0)
    asked = {name: batch[name] for name in ("input_ids", "attention_mask")}
    network.eval()
    expected = network(**asked)["logits"]
    with cache.serving(2, batch["row"], batch["input_ids"]):
        torch.testing.assert_close(network(**asked)["logits"], expected)


def test_outputs_are_not_kept_where_the_network_would_answer_otherwise(network: Any, tmp_path: Path) -> None:
    """Here a layer adds something that depends on its batch-mates: this is noticed, and the layers run."""
    import torch

    from ftdeploy.train.tokens import collate

    layer = network.bert.encoder.layer[0]
    layer.register_forward_hook(lambda _module, _inputs, output: (output[0] + output[0].shape[1], *output[1:]))
    rows = [{"input_ids": [2, *range(5, 5 + number), 3], "labels": 0, "row": number} for number in range(1, 33)]
    rows = [{**row, "row": at} for at, row in enumerate(rows)]
    cache = ActivationCache(network, (1,), rows, tmp_path)
    network.classifier.weight.data.mul_(100)
    cache.fill(network, lambda found: collate(found, pad_id=0), lambda: torch.autocast("cpu", enabled=False))
    assert not cache.has(1)
