"""What the search makes of what it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ftdeploy import compress
from ftdeploy.compress import search as module
from ftdeploy.compress.judge import Judged
from ftdeploy.compress.make import Chain, Made
from ftdeploy.compress.outcome import Scored, Sensitivity
from ftdeploy.compress.search import AUTO, TIME_UP, Clock, Search, _fitting
from ftdeploy.compress.students import Cut
from ftdeploy.encoded import Outputs
from ftdeploy.recipe import CompressSettings, Shape
from ftdeploy.tasks import TASKS

LOGITS = np.array([[0, 0], [0.5, 0], [0, 0.5], [2, 0]], dtype=np.float32)
OUTPUTS = Outputs(logits=LOGITS, embedding=np.zeros((4, 3), dtype=np.float32), rows=())


@dataclass
class Shop:
    """Makes folders of so many bytes by name, at once."""

    work: Path
    sizes: Mapping[str, int] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    behind: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict)

    @property
    def onnx(self) -> Path:
        return self._folder("fp32")

    def _folder(self, name: str) -> Path:
        folder = self.work / "made" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(bytes(self.sizes.get(name, 1000)))
        return folder

    def make(self, chain: Chain, **_how: Any) -> Made:
        self.made.append(chain.name)
        if chain.second:
            self.behind[chain.name] = (chain.second, chain.margin)
        return Made(folder=self._folder(chain.name))


@dataclass
class Judge:
    """Finds every model as fast as it is told, and good unless it is told."""

    speeds: Mapping[str, float] = field(default_factory=dict)
    bad: frozenset[str] = frozenset()
    fall: float = -0.015
    far: Mapping[str, int] = field(default_factory=dict)
    texts: tuple[str, ...] = ("a", "b", "c", "d")
    max_drop: Mapping[str, float] = field(default_factory=lambda: {"accuracy": 0.01})
    task: Any = field(default_factory=lambda: SimpleNamespace(one_label=True))
    seed: int = 0
    batching: Any = None
    device: str = "cpu"

    def ask(self, _folder: Path, _name: str) -> tuple[Outputs, str, float]:
        return OUTPUTS, "", 1.0

    def hold(self, *_outputs: Outputs, **_how: Any) -> Judged:
        return self.judge(Path(), OUTPUTS, name="fp32")

    def judge(self, _folder: Path, _base: Outputs, *, name: str, **_how: Any) -> Judged:
        fall = self.fall if name in self.bad else 0.0
        scored = Scored(value=0.9 + fall, difference=fall, lower=fall - 0.001, upper=fall, verdict="pass")
        status = "dropped" if name in self.bad else "kept"
        speed = self.speeds.get(name, 1.0)
        return Judged(status=status, reason="", metrics={"accuracy": scored}, outputs=OUTPUTS, speed=speed,  # type: ignore[arg-type]  # one of its words
                      right_to_wrong=self.far.get(name, 0), wrong_to_right=0)  # fmt: skip


def a_search(folder: Path, shop: Shop, judge: Judge, *, seconds: float = 1e6, cuts: Sequence[Cut] = (),
             **settings: Any) -> Search:  # fmt: skip
    """A search over fakes, with so many seconds."""
    clock = Clock(budget=seconds, file=folder / "clock.json")
    return Search(cast("Any", shop), cast("Any", judge), CompressSettings(**settings), clock, cuts=cuts)


def test_slow_quantizers_are_not_begun_when_the_time_is_up(tmp_path: Path) -> None:
    """Cheap ones are tried in any case; a slow one is left out and says why, unless an earlier run made it."""
    shop = Shop(tmp_path)
    names = ["ort-dynamic", "inc-smooth", "inc-gptq-int4"]
    shop._folder("inc-gptq-int4")
    search = a_search(tmp_path, shop, Judge(), seconds=-1.0, candidates=names)
    search.run()
    assert shop.made == ["ort-dynamic", "inc-gptq-int4"]
    (left,) = (one for one in search.found if one.chain.name == "inc-smooth")
    assert (left.judged.status, left.judged.reason) == ("skipped", TIME_UP)


def test_sessions_that_are_not_tried_are_told_of(tmp_path: Path) -> None:
    """A family that the recipe wants is in the notes where there was no time for it."""
    search = a_search(
        tmp_path,
        Shop(tmp_path, {"ort-dynamic": 500}),
        Judge(),
        seconds=-1.0,
        candidates=["ort-dynamic", "sessions"],
        objective="smallest",
    )
    search.run()
    assert search.notes == [f"Session options of ort-dynamic were not tried: {TIME_UP}."]


@pytest.mark.parametrize(("objective", "best"), [("smallest", "inc-rtn-int4"), ("fastest", "ort-dynamic")])
def test_finalists_are_those_that_the_objective_wants(tmp_path: Path, objective: Any, best: str) -> None:
    """The smallest of many is measured where the smallest is wanted, however slow it looked."""
    names = ["ort-dynamic", "inc-dynamic", "optimum-dynamic", "calibrated", "calibrated-rows", "calibrated-embeddings",
             "calibrated-rows-embeddings", "ort-int8", "inc-rtn-int4"]  # fmt: skip
    sizes = {name: 900 - 50 * at for at, name in enumerate(names)}
    speeds = {name: 10.0 - at for at, name in enumerate(names)}
    search = a_search(tmp_path, Shop(tmp_path, sizes), Judge(speeds), candidates=names, objective=objective)
    search.run()
    finalists = [one.chain.name for one in compress._finalists(search.found, search.settings)]
    assert len(finalists) == 1 + compress.FINALISTS
    assert best in finalists


def test_the_layers_that_the_winner_keeps_in_float_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the three worst stay in float; the page says which. Of another winner none does."""
    layers = tuple(Sensitivity(layer=name, parameters=1, logit_error=error) for name, error in
                   (("a", 0.3), ("b", 0.2), ("c", 0.1)))  # fmt: skip
    monkeypatch.setattr(module, "sensitivity", lambda *_given, **_how: layers)
    judge = Judge(bad=frozenset({"ort-int4", "ort-int4-mixed-1"}))
    search = a_search(tmp_path, Shop(tmp_path), judge, candidates=["ort-int4", "mixed"])
    search.run()
    winner = search.found[-1].chain
    assert winner.steps == ("ort-int4-mixed-2",)
    kept = {one.layer for one in search.sensitivities(Chain(steps=(*winner.steps, "vocabulary"))) if one.kept_float}
    assert kept == {"a", "b"}
    assert not any(one.kept_float for one in search.sensitivities(Chain()))


@pytest.mark.parametrize(("kind", "heads"), [("mpnet", 1.0), ("bert", 0.5)])
def test_students_keep_all_heads_where_none_can_be_taken(kind: str, heads: float) -> None:
    """MPNet and DeBERTa have students by `auto`, too."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(kind, vocab_size=50, hidden_size=8, num_hidden_layers=4, num_attention_heads=4,
                                  intermediate_size=16)  # fmt: skip
    (shape,) = compress._fitting([Shape(heads=0.5)], AutoModelForSequenceClassification.from_config(config))
    assert shape.heads == heads


@pytest.mark.parametrize(
    ("best", "bits", "fitting"),
    [
        ("calibrated", 4, "calibrated-embeddings"),
        ("calibrated-rows", 4, "calibrated-rows-embeddings"),
        ("calibrated-embeddings", 4, "calibrated-embeddings"),
        ("calibrated-embeddings", 8, "calibrated"),
        ("calibrated", None, "calibrated"),
        ("inc-dynamic", 4, "inc-dynamic"),
    ],
)
def test_students_are_stored_with_embeddings_as_they_learned_with_them(
    best: str, bits: int | None, fitting: str
) -> None:
    """What is best for the fine-tuned model stays, but for the bits of embeddings: a student was taught with these."""
    assert _fitting(best, AUTO, bits) == fitting


def test_a_quantizer_that_may_not_be_tried_is_not_taken() -> None:
    """The recipe's `candidates` decide."""
    assert _fitting("calibrated", ("calibrated", "calibrated-rows-embeddings"), 4) == "calibrated"


@pytest.mark.parametrize("task", sorted(TASKS))
def test_what_is_made_for_one_label_a_row_is_not_tried_for_other_tasks(tmp_path: Path, task: str) -> None:
    """Neither families nor a quantizer that counts right rows, whose failure would look like the data's; the page
    says which."""
    names = ["fp32", "mixed", "inc-tuned", "calibrated", "vocabulary"]
    search = a_search(tmp_path, Shop(tmp_path), Judge(task=TASKS[task]), candidates=names)
    if TASKS[task].one_label:
        assert search.quantizers == ["inc-tuned", "calibrated"]
        assert search.families == {"mixed", "vocabulary"}
        assert search.notes == []
    else:
        assert search.quantizers == ["calibrated"]
        assert search.families == {"vocabulary"}
        assert search.notes == ["Not tried, as they are made for one label a row: mixed, inc-tuned."]


SMALL = Cut(layers=(0, 1), channels=32, heads=1)


def test_a_cascade_has_the_closest_of_the_small_whole_models_behind_a_student(tmp_path: Path) -> None:
    """With its last layer spared, where that changes nothing. Both are trimmed of the same tokens; how sure the student
    has to be is taken from the validation rows, and told. A student alone is not shipped then, good as it may look."""
    names = ["ort-dynamic", "ort-int8", "inc-dynamic", "first-token", "students", "vocabulary"]
    shop = Shop(tmp_path, {"inc-dynamic": 1100})  # as close as any, and too large
    judge = Judge({"ort-dynamic": 3.0, "student-2x32x1+ort-dynamic": 9.0}, far={"ort-dynamic": 4, "ort-int8": 1})
    search = a_search(tmp_path, shop, judge, candidates=names, cuts=[SMALL], cascade=0.5)
    search.run()
    first = "student-2x32x1+ort-dynamic+vocabulary"
    # first-token+ort-dynamic is taken for closer than ort-int8 here, as nobody said how far it is.
    assert shop.behind[f"{first}+cascade"][0] == ("first-token", "ort-dynamic", "vocabulary")
    assert shop.behind[f"{first}+cascade"][1] == pytest.approx(0.5)
    found = {one.chain.name: one.judged for one in search.found}
    parts = [one for name, one in found.items() if "student" in name and "cascade" not in name]
    assert {one.status for one in parts} == {"dropped"}
    assert {one.reason for one in parts} == {"a part of a cascade, which the recipe wants"}
    assert found[f"{first}+cascade"].status == "kept"
    assert (f"{first}+cascade: where the two highest logits are less than 0.5 apart, as of 50% of the validation rows, "
            "first-token+ort-dynamic+vocabulary answers." in search.notes)  # fmt: skip
    assert not [name for name in shop.made if "cascade+" in name]


def test_the_last_layer_of_the_second_model_is_spared_where_that_changes_nothing(tmp_path: Path) -> None:
    """Also of a quantizer that was not tried with it; and not where it was found to change something."""
    far = {"ort-dynamic": 4, "first-token+ort-dynamic": 4, "first-token+inc-dynamic": 4, "inc-dynamic": 4,
           "first-token+calibrated": 4, "calibrated": 4}  # fmt: skip
    names = ["ort-dynamic", "inc-dynamic", "calibrated", "ort-int8", "first-token", "students"]
    speeds = dict.fromkeys(far, 3.0)
    for bad, second in ((frozenset(), ("first-token", "ort-int8")), (frozenset({"first-token"}), ("ort-int8",))):
        shop = Shop(tmp_path / str(len(bad)))
        search = a_search(tmp_path, shop, Judge(speeds, bad=bad, far=far), candidates=names, cuts=[SMALL], cascade=0.5)
        search.run()
        assert {steps for steps, _ in shop.behind.values()} == {second}


def test_without_a_vocabulary_to_trim_a_cascade_is_made_of_the_models_as_they_are(tmp_path: Path) -> None:
    """The recipe may leave it out; one whole model is enough."""
    shop = Shop(tmp_path)
    search = a_search(tmp_path, shop, Judge(), candidates=["ort-int8", "students"], cuts=[SMALL], cascade=0.1)
    search.run()
    assert list(shop.behind) == ["student-2x32x1+ort-int8+cascade"]
    assert shop.behind["student-2x32x1+ort-int8+cascade"][0] == ("ort-int8",)


@pytest.mark.parametrize(("bad", "missing"), [("ort-int8", "quantized model of full size"),
                                              ("student-2x32x1+ort-int8", "student")])  # fmt: skip
def test_a_cascade_that_cannot_be_made_is_told_of(tmp_path: Path, bad: str, missing: str) -> None:
    """A part of it fails or loses far too much: a note says which; nothing else is lost."""
    judge = Judge(bad=frozenset({bad}), fall=-0.5)
    search = a_search(tmp_path, Shop(tmp_path), judge, candidates=["ort-int8", "students"], cuts=[SMALL], cascade=0.1)
    search.run()
    assert search.notes == [f"No cascade was made: there is no {missing} for it."]
    assert len(search.found) == 4


def test_without_a_share_students_are_shipped_alone(tmp_path: Path) -> None:
    """As before there were cascades."""
    shop = Shop(tmp_path)
    search = a_search(tmp_path, shop, Judge(), candidates=["ort-int8", "students"], cuts=[SMALL])
    search.run()
    assert not shop.behind
    assert {one.judged.status for one in search.found} == {"kept"}
