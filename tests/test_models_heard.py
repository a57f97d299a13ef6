"""Services that answer with entities, sets of labels or numbers: read as the data writes them, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tiny_service import LABELS, Reply, changed, scores_of, served, vector_of

from ftdeploy.encoded import Outputs
from ftdeploy.errors import FtdeployError, ModelError, ServeError, SourceError
from ftdeploy.measure import measure
from ftdeploy.models import open_model
from ftdeploy.models.heard import Hearing, WrongAnswerError
from ftdeploy.models.service import ServiceModel
from ftdeploy.signature import Signature
from ftdeploy.spans import Span, dump, tags_of
from ftdeploy.tasks import TASKS

SPANS, SETS, NUMBERS = (
    TASKS[name] for name in ("token-classification", "multi-label-classification", "text-regression")
)
VECTORS = TASKS["feature-extraction"]
SIGNATURE = Signature(name="v", task=VECTORS.name, labels=(), max_length=8)
TEXTS = ["Aspirin helps Anna", "nothing here", "", "Ibuprofen and Paracetamol", "a  Paris\u0301 "]


def spans_of(text: str) -> list[Span]:
    """Words with a capital; how long they are says which kind they are of."""
    words = re.finditer(r"[A-Z]\w+\u0301?", text)
    return [Span(word.start(), word.end(), "Drug" if len(word.group()) > 6 else "Name") for word in words]


def entities_of(text: str) -> list[dict[str, Any]]:
    """As a pipeline of transformers gives them, whose words are the tokenizer's."""
    return [{"entity_group": span.kind, "score": 0.75, "word": text[span.start : span.end].lower(), "start": span.start,
             "end": span.end} for span in spans_of(text)]  # fmt: skip


def entities(_document: Any, texts: Sequence[str]) -> Any:
    return [entities_of(text) for text in texts]


def sigmoids(_document: Any, texts: Sequence[str]) -> Any:
    return [[{"label": label, "score": share_of(text, label)} for label in LABELS[::-1]] for text in texts]


def share_of(text: str, label: str) -> float:
    return min(1.0, 2 * scores_of(text)[LABELS.index(label)])


def kserve_entities(_document: Any, texts: Sequence[str]) -> Any:
    data = [json.dumps(entities_of(text)) for text in texts]
    return {"outputs": [{"name": "entities", "datatype": "BYTES", "shape": [len(data)], "data": data}]}


OUTPUT = {"outputs": [{"name": "entities", "datatype": "BYTES", "shape": [-1]}]}
STATED = {"parameters": {"labels": tags_of(("Drug", "Name")), "task": SPANS.name, "digest": "ab" * 32}}


def test_entities_of_a_pipeline_are_those_of_the_text() -> None:
    """By their places in it, whatever a tokenizer has made of the words; together and alone, and one without any."""
    with served("hf", reply=changed(entities)) as service:
        model = open_model(service.url, task=SPANS.name)
        assert model.labels == ()
        assert service.posts[0][1]["parameters"] == {"aggregation_strategy": "simple"}
        expected = [dump(spans_of(text)) for text in TEXTS]
        seen: list[float] = []
        said = model.said(TEXTS, advance=seen.append)
        assert said.labels == model.said_alone(TEXTS).labels == expected
        assert expected[1] == "[]"
        assert said.scores.tolist() == [0.75, 1.0, 1.0, 0.75, 0.75]
        assert sum(seen) == len(TEXTS)
        assert model.said([]).labels == []
        opened = measure({"there": model.timed()}, TEXTS[:1], rounds=1, rows=4)
        assert opened["there"].throughput > 0
        model.close()


def test_entities_come_in_a_tensor_of_kserve_too() -> None:
    """A list in JSON for each text, with the labels and the digest that the metadata state."""
    with served("kserve", meta=OUTPUT | STATED, reply=changed(kserve_entities)) as service:
        for task in (None, SPANS.name):  # it says itself what it does
            model = open_model(service.url, task=task)
            assert (model.labels, model.cacheable) == (tags_of(("Drug", "Name")), True)
            assert model.said(TEXTS).labels == [dump(spans_of(text)) for text in TEXTS]
            model.close()
        assert service.posts[0][1]["outputs"] == [{"name": "entities"}]


def test_labels_hold_by_a_half_or_by_what_is_stated() -> None:
    """Of probabilities that do not add up to 1: over Hugging Face's shape and over KServe v2, whose metadata may have
    thresholds."""

    def tensor(_document: Any, texts: Sequence[str]) -> Any:
        data = [share_of(text, label) for text in texts for label in LABELS]
        shape = [len(texts), len(LABELS)]
        return {"outputs": [{"name": "probabilities", "datatype": "FP32", "shape": shape, "data": data}]}

    texts = [f"text {number}" for number in range(70)]
    halves = [json.dumps(sorted(label for label in LABELS if share_of(text, label) >= 0.5)) for text in texts]
    assert len(set(halves)) > 4
    with served("hf", reply=changed(sigmoids)) as service:
        model = open_model(service.url, task=SETS.name)
        assert model.labels == LABELS
        assert service.posts[0][1]["parameters"] == {"top_k": None, "function_to_apply": "sigmoid"}
        assert model.said(texts).labels == model.said_alone(texts).labels == halves
        model.close()
    least = {"bad": 0.9, "good": 0.1}
    parameters = {"labels": LABELS, "thresholds": least}
    with served("kserve", meta={"parameters": parameters}, reply=changed(tensor)) as service:
        model = open_model(service.url, task=SETS.name)
        own = [json.dumps(sorted(label for label in LABELS if share_of(text, label) >= least.get(label, 0.5)))
               for text in texts]  # fmt: skip
        assert model.said(texts).labels == own != halves
        model.close()


def test_a_number_has_no_name() -> None:
    """Whatever the one output is called; a pipeline is told to leave it alone."""

    def numbers(_document: Any, texts: Sequence[str]) -> Any:
        return [[{"label": "LABEL_0", "score": len(text) - 3.5}] for text in texts]

    with served("hf", reply=changed(numbers)) as service:
        model = open_model(service.url, task=NUMBERS.name)
        assert model.labels == ("score",)
        assert service.posts[0][1]["parameters"] == {"top_k": None, "function_to_apply": "none"}
        assert model.said(["", "abcd"]).labels == ["-3.5", "0.5"]
        model.close()
    with served("hf") as service, pytest.raises(ServeError, match="gives scores of 3 labels, and a number is asked"):
        open_model(service.url, task=NUMBERS.name)


def tokens(_document: Any, texts: Sequence[str]) -> Any:
    return [[{"entity": "B-Drug", "score": 0.9, "index": 1, "word": "x", "start": 0, "end": 1}] for _ in texts]


def beyond(_document: Any, texts: Sequence[str]) -> Any:
    return [[{"entity_group": "Drug", "score": 0.9, "start": 0, "end": len(text) + 1}] for text in texts]


def across(_document: Any, texts: Sequence[str]) -> Any:
    return [
        [{"entity_group": "Drug", "start": 0, "end": 4}, {"entity_group": "Name", "start": 2, "end": 6}] for _ in texts
    ]


def logits(document: Any, texts: Sequence[str]) -> Any:
    return [[one | {"score": 4.0} for one in row] for row in sigmoids(document, texts)]


@pytest.mark.parametrize(
    ("task", "fault", "told"),
    [
        (SPANS, lambda document, _texts: document, "an entity is wanted as"),
        (SPANS, tokens, "holds the tag of each token"),
        (SPANS, beyond, "beyond the text"),
        (SPANS, across, "overlap"),
        (SPANS, lambda document, texts: entities(document, texts)[::-1], "in another order"),
        (SPANS, lambda document, texts: entities(document, texts)[1:], "gave 2 answers to 3 texts"),
        (SETS, entities, "a label and its score are wanted"),
        (SETS, logits, "gives scores that are no probabilities: [4.0, 4.0, 4.0]"),
        (SETS, lambda document, texts: [row[0] for row in sigmoids(document, texts)], "one label for each text"),
        (SETS, lambda document, texts: sigmoids(document, texts)[::-1], "in another order"),
        (TASKS["text-classification"], entities, "a label and its score are wanted"),
        (TASKS["text-classification"], sigmoids, "say so by the suite's `task`"),
    ],
)
def test_answers_of_another_form_are_refused(task: Any, fault: Callable[[Any, Any], Any], told: str) -> None:
    """With three parts, when the service is opened."""
    with served("hf", reply=changed(fault)) as service, pytest.raises(FtdeployError) as caught:
        open_model(service.url, task=task.name)
    assert type(caught.value) is ServeError
    assert told in f"{caught.value.what} {caught.value.fix}"
    assert caught.value.cause


def test_a_service_that_states_another_task_is_refused() -> None:
    """By that, and not by its answers; one of vectors where nobody has asked for these, and TEI by what it cannot."""
    with served("kserve", meta=OUTPUT | STATED, reply=changed(kserve_entities)) as service:
        with pytest.raises(ModelError, match="does token-classification, and multi-label-classification is asked"):
            open_model(service.url, task=SETS.name)
        service.meta["parameters"] = {"task": "feature-extraction"}
        with pytest.raises(ModelError, match="answers with vectors") as caught:
            open_model(service.url)
        assert 'task="feature-extraction"' in caught.value.fix
    with served("kserve") as service, pytest.raises(SourceError, match="and give `entities`"):
        open_model(service.url, labels=LABELS, task=SPANS.name)
    for task in (SPANS, SETS):
        with served("tei") as service, pytest.raises(SourceError, match=f"one label a text, and {task.name} is asked"):
            open_model(service.url, task=task.name)


EMBEDDER = {"model_type": {"embedding": {"pooling": "mean"}}}


def near(texts: Sequence[str]) -> list[str]:
    """What lies near each text, by the vectors of the service."""
    vectors = np.array([vector_of(text) for text in texts], dtype=np.float32)
    return VECTORS.said(Outputs(logits=vectors, embedding=vectors), SIGNATURE).labels


def test_neighbours_are_found_among_the_vectors_of_all_requests() -> None:
    """At /embed, whether the address names it or the server; together and alone, a few texts in a request."""
    texts = [f"text {number}" for number in range(70)]
    with served("tei", meta=EMBEDDER) as service:
        for url in (service.url, f"{service.url}/embed"):
            model = open_model(url, task=VECTORS.name)
            assert (model.labels, model.max_length, model.pairs) == ((), 512, False)
            seen: list[float] = []
            assert model.said(texts, advance=seen.append).labels == model.said_alone(texts).labels == near(texts)
            assert (sum(seen), max(service.asked())) == (70, 8)
            assert model.said([]).labels == []
            assert measure({"there": model.timed()}, texts[:1], rounds=1, rows=4)["there"].throughput > 0
            model.close()
        assert {path for path, _ in service.posts} == {"/embed"}
        assert service.posts[0][1].keys() == {"inputs", "truncate"}
    with served("tei") as service, pytest.raises(SourceError, match="serves classifier, and no embeddings"):
        open_model(service.url, task=VECTORS.name)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda document, _texts: document[::-1], "in another order"),
        (lambda document, _texts: document[1:], "gave 2 answers to 3 texts"),
        (lambda document, _texts: [[row, row] for row in document], "a vector for each token"),
        (lambda document, _texts: [[0.0] * len(row) for row in document], "zeros only"),
        (lambda document, _texts: [row[at:] for at, row in enumerate(document)], "vectors of 10 and 11 and 12 numbers"),
        (lambda document, _texts: [{"label": "a", "score": 1.0} for _ in document], "a list of numbers, not an object"),
        (lambda document, _texts: [["1"] for _ in document], "holds what is no number"),
    ],
)
def test_answers_that_are_no_vectors_are_refused(fault: Callable[[Any, Any], Any], told: str) -> None:
    """With three parts, when the service is opened."""
    with served("tei", meta=EMBEDDER, reply=changed(fault)) as service, pytest.raises(ServeError) as caught:
        open_model(service.url, task=VECTORS.name)
    assert told in caught.value.what


def test_another_width_is_another_model() -> None:
    """Found out when it is asked."""
    with served("tei", meta=EMBEDDER) as service:
        model = open_model(service.url, task=VECTORS.name)
        service.reply = changed(lambda document, _texts: [row[1:] for row in document])
        with pytest.raises(ServeError, match="gave vectors of 12 numbers, and gives 11 now"):
            model.said(["one", "two"])
        model.close()


def test_wrong_entities_are_told_later_too() -> None:
    """A service that was sound when it was opened; and a kind that it does not state is no answer of it."""
    with served("kserve", meta=OUTPUT | STATED, reply=changed(kserve_entities)) as service:
        model = open_model(service.url)
        service.reply = changed(
            lambda _document, texts: {"outputs": [{"name": "entities", "data": ["{"] * len(texts)}]}
        )
        with pytest.raises(ServeError, match="no JSON of a list of entities"):
            model.said(["one"])
        odd = [{"entity_group": "Place", "start": 0, "end": 3}]

        def other(_path: str, _asked: Any, good: Reply) -> Reply:
            return good[0], {}, {"outputs": [{"name": "entities", "data": [json.dumps(odd)]}]}

        service.reply = other
        with pytest.raises(ServeError, match="entity_group 'Place' is none of the model's"):
            model.said(["one"])
        model.close()


def test_one_label_a_text_is_asked_for_by_its_scores() -> None:
    """A service that was opened for it has no whole answers, and says so."""
    with served("hf") as service:
        model = ServiceModel(service.url)
        with pytest.raises(ModelError, match="one label a text only"):
            model.said(["one"])
        model.close()


def test_answers_are_told_apart_by_figures() -> None:
    """Entities by which are equal, scores by themselves; labels come out as they are wanted, by place."""
    hearing = Hearing(task=SETS, labels=("a", "b"), stated=("LABEL_0", "LABEL_1"), thresholds={"LABEL_1": 0.25})
    row = {"LABEL_1": 0.25, "LABEL_0": 0.25}
    assert hearing.said([row], ["x"]).labels == ['["b"]']
    np.testing.assert_array_equal(hearing.figures([row])[0], [[0.25, 0.25]])
    with pytest.raises(WrongAnswerError, match="without the label 'LABEL_0'"):
        hearing.said([{"LABEL_1": 0.25}], ["x"])
    found = Hearing(task=SPANS, labels=(), stated=())
    one = [{"entity_group": "A", "start": 0, "end": 1, "score": 1.0}]
    together, alone = found.figures([one, []], [[], one])
    assert together.shape == (2, 1)
    np.testing.assert_array_equal(together, alone[::-1])
