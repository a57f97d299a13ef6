"""Services as models: a real bundle under `bentoml serve`, and small ones that fail in every way that services do."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_serve_service import free_port, running
from tiny import WORDS, write_bundle
from tiny_service import LABELS, Reply, Service, changed, first_only, hang, kserve_metadata, labelled, scores_of, served

from ftdeploy.artifact import Artifact
from ftdeploy.batching import Batching
from ftdeploy.errors import FtdeployError, ModelError, ServeError, SourceError
from ftdeploy.measure import measure
from ftdeploy.models import Model, open_model
from ftdeploy.models.client import Calls
from ftdeploy.models.service import ServiceModel

TEXTS = [f"the film was {word} and {other} {'!' * (index % 3)}" for index, word in enumerate(WORDS) for other in WORDS]
SPEAKS = ("kserve", "tei", "hf")


@contextmanager
def asking(service: Service, calls: Calls | None = None) -> Iterator[ServiceModel]:
    """The service as a model, with the labels that KServe v2 does not state; forgets the probes."""
    model = ServiceModel(service.url, labels=LABELS, calls=calls)
    service.posts.clear()
    try:
        yield model
    finally:
        model.close()


def expected(texts: list[str], labels: tuple[str, ...]) -> list[list[float]]:
    return [[scores_of(text)[LABELS.index(label)] for label in labels] for text in texts]


@pytest.mark.parametrize("labels", [None, LABELS])
def test_a_service_that_gives_the_best_label_only_is_told_so(labels: tuple[str, ...] | None) -> None:
    """Also where all that it is asked first has the same best one, which looks like a service of one label."""
    best = changed(lambda found, _texts: [[{"label": "positive", "score": 0.7}] for _ in found])
    with served("hf", reply=best) as service, pytest.raises(ServeError, match="one and the same label alone") as caught:
        ServiceModel(service.url, labels=labels)
    assert "the best label only" in caught.value.cause
    assert "all labels" in caught.value.fix


# Ours, as it is served


@dataclass(frozen=True)
class Served:
    """A bundle, where it is served, and the same bundle opened here."""

    bundle: Artifact
    url: str
    local: Model


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    # It answers `unclear` to most texts, and is judged by its own labels all the same.
    bundle = write_bundle(tmp_path_factory.mktemp("run") / "bundle", fallback="unclear",
                          thresholds={"negative": 0.99, "positive": 0.99})  # fmt: skip
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", str(bundle.path), "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port, tmp_path_factory.mktemp("server") / "log", FTDEPLOY_TRAFFIC="off") as server:
        yield Served(bundle=bundle, url=server.url, local=open_model(str(bundle.path), device="cpu"))


@pytest.mark.parametrize(
    ("path", "name", "longest"),
    [("", "KServe v2", 32), ("/v2/models/tiny", "KServe v2", 32), ("/predict", "Hugging Face", None)],
)
def test_a_served_bundle_answers_as_the_bundle(ours: Served, path: str, name: str, longest: int | None) -> None:
    """By every address: the bundle's digest, so that its answers can be kept, its labels, and its probabilities."""
    model = open_model(ours.url + path)
    assert (model.digest, model.cacheable, model.labels) == (ours.bundle.digest, True, ("negative", "positive"))
    assert (model.name, model.kind, model.folder, model.max_length) == (ours.url + path, "service", None, longest)
    assert model.provider == f"{name} over HTTP"
    seen: list[float] = []
    np.testing.assert_allclose(model.scores(TEXTS, advance=seen.append), ours.local.scores(TEXTS), atol=1e-6)
    np.testing.assert_allclose(model.alone(TEXTS[:5]), ours.local.alone(TEXTS[:5]), atol=1e-6)
    assert sum(seen) == len(TEXTS)
    model.close()


def test_it_is_timed_with_its_way_over_http(ours: Served) -> None:
    """Beside the folder: slower, and of no known size."""
    model = open_model(ours.url)
    found = measure({"here": ours.local.timed(), "there": model.timed()}, TEXTS, rounds=3, rows=64)
    assert found["there"].latency_p50 > found["here"].latency_p50
    assert (found["there"].size, found["there"].provider) == (0, "KServe v2 over HTTP")
    model.close()


def test_texts_of_every_alphabet_survive_the_way(ours: Served) -> None:
    """Also as the bytes that stand in for tokens when it is timed; an empty text is a text."""
    texts = ['größer 電影 🎬 \u2028 \x00 "quoted"', "", "good\nfilm"]
    model = open_model(ours.url)
    np.testing.assert_allclose(model.alone(texts), ours.local.alone(texts), atol=1e-6)
    opened = model.timed()
    assert not isinstance(opened, Path)
    rows = [row.ids for row in opened.runner.encode(texts)]
    np.testing.assert_allclose(np.asarray(opened.runner.run(rows)), ours.local.scores(texts), atol=1e-6)
    model.close()


# Others, as they should be


@pytest.mark.parametrize("speaks", SPEAKS)
def test_each_dialect_gives_every_labels_score_in_order(speaks: str) -> None:
    """200 texts, several requests at the same time; the labels' order within an answer has no say."""
    texts = [f"text {number}" for number in range(200)]
    with served(speaks) as service, asking(service) as model:
        np.testing.assert_allclose(model.scores(texts), expected(texts, model.labels), atol=1e-6)
        most = 8 if speaks == "tei" else 32  # TEI states what it takes in a request
        assert sorted(set(service.asked())) == sorted({most, 200 % most or most})
        assert not model.cacheable
        assert len(model.digest) == 64
        assert model.scores([]).shape == (0, 3)


def test_labels_are_stated_or_found_in_the_answers() -> None:
    """In TEI's order of ids; sorted, where only the answers tell; KServe v2 wants to be told."""
    with served("tei") as service:
        model = open_model(service.url)
        assert (model.labels, model.max_length) == (LABELS, 512)
        model.close()
    with served("hf") as service:
        model = open_model(service.url)
        assert model.labels == ("bad", "fair", "good")
        model.close()
        with pytest.raises(ModelError, match="'neutral' is not among them"):
            open_model(service.url, labels=("bad", "neutral", "good"))
    with served("kserve") as service, pytest.raises(SourceError, match="does not say which labels"):
        open_model(service.url)


def test_tei_without_its_information_is_asked_in_its_own_way() -> None:
    """A flat list is a pair of texts to it, and a gateway may hide /info."""
    texts = ["one", "two", "three"]
    with served("tei", meta={"model_type": None}) as service:
        model = ServiceModel(f"{service.url}/predict")
        np.testing.assert_allclose(model.scores(texts), expected(texts, model.labels), atol=1e-6)
        model.close()


def test_a_digest_that_is_stated_makes_its_answers_keepable() -> None:
    """By metadata or header; whatever its form, sixty-four digits come of it."""
    digest = "ab" * 32
    with served("kserve", meta={"parameters": {"digest": digest, "labels": LABELS}}) as service:
        model = open_model(service.url)
        assert (model.digest, model.cacheable, model.labels) == (digest, True, LABELS)
        model.close()

    def named(_path: str, _asked: Any, good: Reply) -> Reply:
        return good[0], {"X-Model-Digest": "v7"}, good[2]

    with served("hf", reply=named) as service:
        model = open_model(service.url)
        assert (model.digest, model.cacheable) == (hashlib.sha256(b"v7").hexdigest(), True)
        model.close()


def test_requests_are_as_large_as_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """413 halves them, for good: 32, 16, 8, and then eight at a time, each text answered once."""
    said: list[str] = []
    monkeypatch.setattr("ftdeploy.progress.say", said.append)
    texts = [f"text {number}" for number in range(100)]
    with served("hf", most=8) as service, asking(service, Calls(in_flight=1)) as model:
        np.testing.assert_allclose(model.scores(texts), expected(texts, model.labels), atol=1e-6)
        refused = [size for size in service.asked() if size > 8]
        assert refused == [32, 16]
        assert sum(service.asked()) - sum(refused) == 100
    assert [line.rpartition("; ")[2] for line in said] == ["16 from now on", "8 from now on"]


def test_what_is_timed_goes_in_one_request() -> None:
    """Sixty-four rows of a measurement, more than an evaluation asks at a time."""
    with served("hf") as service, asking(service) as model:
        measure({"s": model.timed()}, ["text"], rounds=1, rows=64, batching=Batching(tokens=10_000))
        assert 64 in service.asked()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("speaks", SPEAKS)
def test_what_is_put_off_is_asked_again(speaks: str, status: int) -> None:
    """After what Retry-After says; nothing is lost or answered twice."""
    with served(speaks) as service, asking(service) as model:
        service.reply = first_only((status, {"Retry-After": "0"}, {"error": "overloaded"}), times=5)
        texts = [f"text {number}" for number in range(64)]
        np.testing.assert_allclose(model.scores(texts), expected(texts, model.labels), atol=1e-6)
        assert sum(service.asked()) == 64 + 5 * (8 if speaks == "tei" else 32)


def test_one_address_may_serve_several_models() -> None:
    """The model is named in the path."""
    with served("kserve") as service:
        model = open_model(f"{service.url}/v2/models/stars", labels=LABELS)
        assert model.labels == LABELS
        model.close()
        with pytest.raises(SourceError, match="is no model of a KServe v2 service"):
            open_model(f"{service.url}/v2/models/stairs", labels=LABELS)


# Others, as they should not be


def refused(service: Service, labels: tuple[str, ...] | None = LABELS) -> FtdeployError:
    with pytest.raises(FtdeployError) as found:
        open_model(service.url, labels=labels)
    assert type(found.value) in (ServeError, SourceError)
    assert found.value.cause
    assert found.value.fix
    return found.value


def fewer(document: Any, _texts: Any) -> Any:
    return document[:-1]


def best_only(document: Any, _texts: Any) -> Any:
    return [row[0] for row in document]


def without_a_label(document: Any, _texts: Any) -> Any:
    return [row[: 2 if index else 3] for index, row in enumerate(document)]


def logits(document: Any, _texts: Any) -> Any:
    return [[one | {"score": 7 * one["score"] - 3} for one in row] for row in document]


def words(document: Any, _texts: Any) -> Any:
    return [[one | {"score": "high"} for one in row] for row in document]


def twice(document: Any, _texts: Any) -> Any:
    return [[*row, row[0]] for row in document]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (fewer, "gave 2 answers to 3 texts"),
        (best_only, "one label for each text"),
        (without_a_label, "without the label"),
        (logits, "no probabilities"),
        (words, "a label and its score are wanted"),
        (twice, "stands twice"),
        (lambda _document, _texts: {"answer": 42}, "not an object"),
        (lambda _document, _texts: [[42, 42]] * 3, "a label and its score"),
        (lambda _document, _texts: ["good"] * 3, "not a text"),
        (lambda _document, _texts: b"<html>", "not nothing: <html>"),
    ],
)
def test_wrong_answers_are_told_when_it_is_opened(fault: Callable[[Any, Any], Any], told: str) -> None:
    """Count, form, labels and scores: nothing is guessed."""
    with served("hf", reply=changed(fault)) as service:
        assert told in refused(service).what


@pytest.mark.parametrize("fault", [fewer, without_a_label, logits])
def test_wrong_answers_are_told_later_too(fault: Callable[[Any, Any], Any]) -> None:
    """A service that was sound when it was opened; nothing of a wrong answer is used."""
    with served("tei") as service, asking(service) as model:
        service.reply = changed(fault)
        with pytest.raises(ServeError):
            model.scores(["one", "two", "three"])


def test_answers_in_another_order_are_noticed() -> None:
    """No answer says which text it is of, so the probes are asked together and alone."""
    with served("tei", reply=changed(lambda document, _texts: document[::-1])) as service:
        assert "in another order" in refused(service).what


def test_another_model_behind_the_address_is_noticed() -> None:
    """A deployment in the middle of an evaluation would mix two models' answers."""
    digest = "ab" * 32
    with served("kserve", meta={"parameters": {"digest": digest, "labels": LABELS}}) as service:
        model = open_model(service.url)
        service.reply = lambda _path, _asked, good: (good[0], {"X-Model-Digest": "cd" * 32}, good[2])
        with pytest.raises(ServeError, match="is model cdcdcdcdcdcd now, and was abababababab"):
            model.scores(["one"])
        model.close()


def test_a_failure_is_told_with_the_services_words() -> None:
    """500, with its message, at once, and no half answer."""
    with served("tei") as service, asking(service) as model:
        service.reply = first_only((500, {}, {"error": "out of memory"}), times=100)
        with pytest.raises(ServeError, match="answered a text of 3 characters with 500: out of memory"):
            model.scores(["one"])
        assert len(service.posts) == 1


def test_a_text_that_is_too_long_is_told_by_its_length() -> None:
    """Halving ends at one."""
    with served("hf") as service, asking(service) as model:
        service.reply = lambda _path, asked, _good: (
            (413, {}, {"error": "too long"}) if any(len(text) > 99 for text in asked["inputs"]) else None
        )
        with pytest.raises(ServeError, match="a text of 1,000 characters with 413: too long"):
            model.scores(["short"] * 10 + ["x" * 1000])


def test_a_service_that_hangs_is_given_up() -> None:
    """After the time that a request has."""
    with served("tei") as service, asking(service, Calls(timeout=0.2)) as model:
        service.reply = hang(1.0)
        with pytest.raises(ServeError, match=r"gave no answer within 0\.2 s"):
            model.scores(["one"])


def test_a_service_that_stays_overloaded_is_given_up() -> None:
    """After the patience that there is; with the service's words."""
    with served("tei") as service, asking(service, Calls(patience=0.3)) as model:
        service.reply = first_only((429, {"Retry-After": "1"}, {"error": "full"}), times=100)
        with pytest.raises(ServeError, match=r"put a request off for 0\.3 s: 429 full"):
            model.scores(["one"])


def test_a_connection_that_breaks_is_made_again() -> None:
    """The answer that was cut off is asked for once more."""
    with served("tei") as service, asking(service) as model:
        service.reply = first_only((200, {"Content-Length": "1000", "Connection": "close"}, []))
        np.testing.assert_allclose(model.scores(["one"]), expected(["one"], model.labels), atol=1e-6)
        assert len(service.posts) == 2


def test_places_without_such_a_service_are_told() -> None:
    """Nobody there; somebody else there; a model for embeddings; a redirection."""
    with pytest.raises(SourceError, match="cannot be reached"):
        open_model(f"http://127.0.0.1:{free_port()}")
    with served("kserve", meta={"inputs": [{"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]}]}) as service:
        assert "its inputs are input_ids INT64 [-1, -1]" in refused(service).what
    with served("tei", meta={"model_type": {"embedding": {"pooling": "cls"}}}) as service:
        assert "serves embedding, and no classifier" in refused(service).what
    with served("hf", reply=lambda *_: (307, {"Location": "https://other.example"}, b"")) as service:
        assert "307: it points to https://other.example" in refused(service).what
    with served("hf", reply=lambda *_: (404, {}, {"error": "not here"})) as service:
        assert "/predict answered 3 texts with 404: not here" in refused(service).what


def test_kserve_answers_are_held_against_their_metadata() -> None:
    """Rows, labels, the output's name; nested data are data too."""

    def other(**values: Any) -> Callable[[Any, Any], Any]:
        return lambda document, _texts: {"outputs": [document["outputs"][0] | values]}

    with served("kserve", reply=changed(other(name="logits"))) as service:
        assert "'probabilities' is missing" in refused(service).what
    with served("kserve", reply=changed(other(data=[0.5] * 4, shape=[2, 2]))) as service:
        assert "4 scores are no whole number of rows of 3 labels" in refused(service).what
    with served("kserve", reply=changed(other(data=[0.2, 0.3, 0.5], shape=[1, 3]))) as service:
        assert "gave 1 answers to 3 texts" in refused(service).what
    with served("kserve", meta={"outputs": kserve_metadata()["outputs"][:1]}) as service:
        assert "outputs best BYTES" in refused(service).what

    def nested(document: Any, texts: Any) -> Any:
        return other(data=[scores_of(text) for text in texts])(document, texts)

    with served("kserve", reply=changed(nested)) as service, asking(service) as model:
        np.testing.assert_allclose(model.scores(["one"]), expected(["one"], model.labels), atol=1e-6)


def test_vertex_and_details_wrap_the_answers() -> None:
    """`predictions` around them, as with our own details."""
    with (
        served(
            "hf", reply=changed(lambda _document, texts: {"predictions": [labelled(text) for text in texts]})
        ) as service,
        asking(service) as model,
    ):
        np.testing.assert_allclose(model.scores(["one"]), expected(["one"], model.labels), atol=1e-6)
