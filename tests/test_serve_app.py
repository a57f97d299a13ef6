"""The application in-process: what is answered, what is refused and how, and that nothing typed makes a 5xx."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import anyio.from_thread
import httpx
import numpy as np
import prometheus_client.openmetrics.parser
import prometheus_client.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pdf_files import written
from tiny import MAX_LENGTH, write_source

from ftdeploy.errors import did_you_mean
from ftdeploy.serve.admission import Admission
from ftdeploy.serve.answer_cache import AnswerCache
from ftdeploy.serve.app import App, create_app
from ftdeploy.serve.exposition import FAMILIES
from ftdeploy.serve.request_ids import RequestIds
from ftdeploy.serve.traffic import read_segment
from ftdeploy.serve.wire import Refusal
from ftdeploy.signature import Review, read_signature, write_signature

LIMITS = {
    "max_body_bytes": 20_000,
    "max_texts": 8,
    "max_chars": 1000,
    "max_queue": 16,
    "timeout_seconds": 5.0,
    "lanes": 1,
}


class Client:
    """An application with its own event loop, asked from a test."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, app: App) -> None:
        self.portal = portal
        self.app = app

    def ask(self, method: str, path: str, content: Any = None, **options: Any) -> httpx.Response:
        """Send a request; a dict or list becomes JSON, bytes and iterators go as they are."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                body = json.dumps(content).encode() if isinstance(content, dict | list) else content
                return await client.request(method, path, content=body, **options)

        return self.portal.call(send)

    def predict(self, content: object, **options: Any) -> httpx.Response:
        """`POST /predict`."""
        return self.ask("POST", "/predict", content, **options)

    def infer(self, texts: Sequence[object], **changes: Any) -> httpx.Response:
        """KServe v2 infer with one tensor, and changes to the tensor."""
        tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts} | changes
        return self.ask("POST", "/v2/models/tiny/infer", {"inputs": [tensor]})


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traffic")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "src"
    write_source(folder, serve=LIMITS)
    read = {"review": Review(critical=("negative",))}
    write_signature(folder / "model", read_signature(folder / "model").model_copy(update=read))
    return folder


@pytest.fixture(scope="module")
def client(source: Path, traffic: Path) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch, anyio.from_thread.start_blocking_portal() as portal:
        patch.setenv("FTDEPLOY_TRAFFIC", str(traffic))

        async def make() -> App:
            app = create_app(source)
            await app.start()
            await app.engine.loaded()
            return app

        app = portal.call(make)
        yield Client(portal, app)
        portal.call(app.stop)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come about on another thread."""
    while not condition():  # noqa: ASYNC110  # threads set no event
        await anyio.sleep(0.001)


def assert_refused(response: httpx.Response, status: int, error_type: str) -> None:
    """The answer is an error in the documented shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error", "error_type"}
    assert response.json()["error_type"] == error_type
    assert "Traceback" not in response.text


# What is answered


def test_one_text_gets_a_list_of_labels_and_several_a_list_of_lists(client: Client) -> None:
    """The shapes of Hugging Face's pipelines and of TEI, best label first, scores adding up to one."""
    one = client.predict({"inputs": "a superb film"})
    assert one.status_code == 200
    assert [item["label"] for item in one.json()] == ["positive", "negative"]
    assert sum(item["score"] for item in one.json()) == pytest.approx(1)
    several = client.predict({"inputs": ["a superb film", "awful"]}).json()
    assert [answer[0]["label"] for answer in several] == ["positive", "negative"]
    assert several[0] == one.json()


@pytest.mark.parametrize(("top_k", "labels"), [(None, 2), (1, 1), (1.0, 1), (2, 2), (99, 2), (10**12, 2)])
def test_top_k_bounds_the_labels_of_an_answer(client: Client, top_k: float | None, labels: int) -> None:
    """More than there are gives all of them; null is the default."""
    found = client.predict({"inputs": ["good"], "parameters": {"top_k": top_k}})
    assert [len(answer) for answer in found.json()] == [labels]


def test_answers_carry_request_id_and_digest_and_tell_what_was_cut(client: Client) -> None:
    """Truncation is reported by row in the headers, and there is no such header when nothing was cut."""
    long = "film " * (MAX_LENGTH + 5)
    found = client.predict({"inputs": ["good", long, "bad", long]}, headers={"X-Request-Id": "abc-1"})
    assert found.headers["x-request-id"] == "abc-1"
    assert found.headers["x-model-digest"] == client.app.engine.digest
    assert found.headers["x-truncated"] == "1,3"
    plain = client.predict({"inputs": "good"}, headers={"X-Request-Id": "no spaces, please"})
    assert "x-truncated" not in plain.headers
    assert len(plain.headers["x-request-id"]) == 32


def test_request_ids_differ_within_a_process_and_between_forked_ones() -> None:
    """A worker that was forked after the first id has another series."""
    ids = RequestIds()
    scope: Any = {"headers": []}
    here = {ids.of(scope) for _ in range(1000)}
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, ids.of(scope).encode())
        os._exit(0)
    os.waitpid(child, 0)
    there = os.read(reader, 32).decode()
    os.close(reader)
    os.close(writer)
    assert len(here) == 1000
    assert len(there) == 32
    assert there[:20] not in {one[:20] for one in here}


def test_details_wrap_the_answers_with_what_the_headers_say(client: Client) -> None:
    """Always one entry for a text, a single text included."""
    long = "film " * (MAX_LENGTH + 5)
    found = client.predict({"inputs": long, "parameters": {"details": True, "top_k": 1}}).json()
    assert set(found) == {"predictions", "truncated", "tokens", "model_digest", "request_id"}
    assert (found["truncated"], found["tokens"]) == ([True], [MAX_LENGTH + 7])
    assert [len(answer) for answer in found["predictions"]] == [1]


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "\u202e\ufeff", "\U0001d518 \U0001f3ac", "\\", "<script>", "[SEP] [PAD]"]
)
def test_any_text_is_answered(client: Client, text: str) -> None:
    """Empty, blank, control characters, other planes, markup: a text is a text."""
    assert client.predict({"inputs": [text, "good"]}).status_code == 200


def test_many_requests_at_once_get_their_own_answers(client: Client) -> None:
    """Batching across requests never mixes them up."""
    words = ["good", "bad", "superb film", "awful film", "great", "poor", "best", "worst"]

    async def together() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=client.app)
        found: list[httpx.Response] = []

        async def ask(number: int) -> None:
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as one:
                headers = {"X-Request-Id": f"n{number}"}
                found.append(await one.post("/predict", json={"inputs": words[number % 8]}, headers=headers))

        for start in range(0, 64, 16):  # the queue takes 16
            async with anyio.create_task_group() as group:
                for number in range(start, start + 16):
                    group.start_soon(ask, number)
        return found

    for response in client.portal.call(together):
        number = int(response.headers["x-request-id"][1:])
        assert response.json()[0]["label"] == ("negative" if number % 2 else "positive")


def test_kserve_infer_answers_labels_and_scores(client: Client) -> None:
    """Shapes [n] and [n, 1], nested or flat; outputs as asked; the id comes back; model and version are named."""
    flat = client.infer(["good", "bad"])
    assert flat.status_code == 200, flat.text
    found = {tensor["name"]: tensor for tensor in flat.json()["outputs"]}
    assert found["label"] == {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["positive", "negative"]}
    assert found["scores"]["shape"] == [2, 2]
    assert found["scores"]["data"][1] == pytest.approx(found["score"]["data"][0])
    assert flat.json()["model_version"] == client.app.engine.digest[:12]
    assert flat.json()["parameters"]["model_digest"] == flat.headers["x-model-digest"]
    for changes in ({"shape": [2, 1]}, {"shape": [2, 1], "data": [["good"], ["bad"]]}):
        assert client.infer(["good", "bad"], **changes).json()["outputs"] == flat.json()["outputs"]
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}
    question = {"id": "7", "inputs": [tensor], "outputs": [{"name": "score"}]}
    version = client.app.engine.digest[:12]
    one = client.ask("POST", f"/v2/models/tiny/versions/{version}/infer", question).json()
    assert one["id"] == "7"
    assert [output["name"] for output in one["outputs"]] == ["score"]


def test_invocations_answer_in_the_bodys_media_type(client: Client) -> None:
    """MLflow's JSON, SageMaker's CSV: the same model, the same headers as everywhere."""
    frame = {"dataframe_split": {"columns": ["text"], "data": [["good"], ["film " * MAX_LENGTH]]}}
    found = client.ask("POST", "/invocations", frame, headers={"X-Request-Id": "abc-2"})
    assert found.json()["predictions"][0]["label"] == "positive"
    assert found.headers["x-request-id"] == "abc-2"
    assert found.headers["x-model-digest"] == client.app.engine.digest
    assert found.headers["x-truncated"] == "1"
    rows = client.ask("POST", "/invocations", b"text\nbad\n", headers={"Content-Type": "text/csv"})
    assert rows.text.startswith("label,score\r\nnegative,0.9")
    assert_refused(
        client.ask("POST", "/invocations", b"bad\n", headers={"Content-Type": "text/csv"}), 422, "validation"
    )


def test_kserve_metadata_and_health(client: Client) -> None:
    """The protocol's documents, with the digest in the metadata and both keys in health."""
    assert client.ask("GET", "/v2").json()["name"] == "ftdeploy"
    about = client.ask("GET", "/v2/models/tiny").json()
    assert about["parameters"]["digest"] == client.app.engine.digest
    assert about["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready", "/livez", "/readyz", "/healthz",
                 "/ping", "/health"):  # fmt: skip
        found = client.ask("GET", path)
        assert found.status_code == 200
        assert found.json()["live"] is found.json()["ready"] is True


def test_about_says_what_the_bundle_is_and_how_it_stands(client: Client) -> None:
    """What the page is filled with, and the state of the moment; drift that nobody measures is not called none."""
    reply = client.ask("GET", "/about")
    found = reply.json()
    assert found["digest"] == client.app.engine.digest
    assert found["limits"]["max_texts"] == LIMITS["max_texts"]
    assert (found["state"], found["drift"]) == ("ready", {"state": "not measured", "detectors": {}})
    assert found["report"] is None
    assert reply.headers["cache-control"] == "no-store"
    page = client.ask("GET", "/").text
    assert json.loads(page.partition('id="model">')[2].partition("<")[0]).items() <= found.items()


def test_an_answer_says_how_long_it_took_here(client: Client) -> None:
    """As browsers read it, in milliseconds: without the way to the client and back."""
    name, _, took = client.predict({"inputs": "good"}).headers["server-timing"].partition(";dur=")
    assert name == "answer"
    assert float(took) > 0


def test_head_is_answered_where_get_is(client: Client) -> None:
    """Probes use it."""
    assert client.ask("HEAD", "/readyz").status_code == 200


# What is refused


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"inputs=good", b'{"inputs": "\xff\xfe"}', b'{"inputs": "\\ud800"}', b'{"inputs": NaN}', b"\x00",
     b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"inputs": "a"} x', b"\xef\xbb\xbf{}"],
)  # fmt: skip
def test_what_is_not_json_is_400(client: Client, body: bytes) -> None:
    """Broken syntax, encodings, lone surrogates, NaN, nesting without end."""
    assert_refused(client.predict(body), 400, "invalid_json")
    assert_refused(client.ask("POST", "/v2/models/tiny/infer", body), 400, "invalid_json")


@pytest.mark.parametrize(
    "content",
    [[], ["good"], {}, {"input": "good"}, {"inputs": None}, {"inputs": 3}, {"inputs": {"text": "good"}},
     {"inputs": ["good", 3]}, {"inputs": [["good", "bad"]]}, {"inputs": [None]}, {"inputs": "good", "extra": 1},
     {"inputs": "good", "parameters": []}, {"inputs": "good", "parameters": {"top_k": 0}},
     {"inputs": "good", "parameters": {"top_k": True}}, {"inputs": "good", "parameters": {"top_k": 1.5}},
     {"inputs": "good", "parameters": {"top_k": -(10**30)}}, {"inputs": "good", "parameters": {"topk": 1}},
     {"inputs": "good", "parameters": {"details": "yes"}}],
)  # fmt: skip
def test_wrong_keys_and_types_are_422(client: Client, content: object) -> None:
    """Nothing is guessed and nothing unknown is ignored."""
    assert_refused(client.predict(content), 422, "validation")


def test_an_unknown_parameter_is_named_with_a_suggestion(client: Client) -> None:
    """A typing error is not silently the default."""
    message = client.predict({"inputs": "good", "parameters": {"topk": 1}}).json()["error"]
    assert "'topk'" in message
    assert "top_k" in message


def test_an_empty_list_is_422(client: Client) -> None:
    """There is nothing to answer."""
    assert_refused(client.predict({"inputs": []}), 422, "empty")
    assert_refused(client.infer([]), 422, "empty")


@pytest.mark.parametrize(
    "changes",
    [{"name": "words"}, {"datatype": "FP32"}, {"shape": [3]}, {"shape": [1, 2]}, {"shape": None}, {"data": None},
     {"data": [["good", "bad"]]}, {"data": [1]}, {"shape": "1"}],
)  # fmt: skip
def test_a_wrong_tensor_is_422(client: Client, changes: Mapping[str, Any]) -> None:
    """Name, datatype, shape and data have to fit each other."""
    assert_refused(client.infer(["good"], **changes), 422, "validation")


def test_wrong_infer_requests_are_422(client: Client) -> None:
    """No tensor, two tensors, an unknown output, an id that is no text."""
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}
    wrong: list[Any] = [{}, {"inputs": []}, {"inputs": [tensor, tensor]}, {"inputs": [3]}]
    wrong += [{"inputs": [tensor], "id": 3}, {"inputs": [tensor], "outputs": "label"}]
    wrong += [{"inputs": [tensor], "outputs": [{"name": "logits"}]}]
    wrong += [{"inputs": [tensor], "outputs": [{"name": "label"}, {"name": "score"}, {"name": "label"}]}]
    for content in wrong:
        assert_refused(client.ask("POST", "/v2/models/tiny/infer", content), 422, "validation")


@pytest.mark.parametrize("depth", [100, 1000, 1018])
def test_deeply_nested_values_are_refused_like_any_other(client: Client, depth: int) -> None:
    """As deep as JSON is read: where a value is shown in the message, only its beginning is."""
    deep = "[" * depth + "]" * depth
    tensor = '{"name": "text", "shape": %s, "datatype": %s, "data": %s}'
    good = tensor % ("[1]", '"BYTES"', '["good"]')
    for body in (
        tensor % (deep, '"BYTES"', '["good"]'),
        tensor % ("[1]", deep, '["good"]'),
        tensor % ("[1]", '"BYTES"', deep),
        good + f'], "id": {deep}, "x": [',
        good + f'], "outputs": [{{"name": {deep}}}], "x": [',
    ):
        refused = client.ask("POST", "/v2/models/tiny/infer", f'{{"inputs": [{body}]}}'.encode())
        assert_refused(refused, 422, "validation")
        assert len(refused.json()["error"]) < 200
    for body in (f'"inputs": {deep}', f'"inputs": "good", "parameters": {{"top_k": {deep}}}'):
        assert_refused(client.predict(f"{{{body}}}".encode()), 422, "validation")


def test_a_huge_key_is_compared_by_its_beginning_only(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing takes time by length, on the loop that everybody waits for."""
    compared: list[int] = []

    def watched(word: str, known: Sequence[str]) -> str:
        compared.append(len(word))
        return did_you_mean(word, known)

    monkeypatch.setattr("ftdeploy.serve.question.did_you_mean", watched)
    for content in ({"input" * 3000: 1}, {"inputs": "good", "parameters": {"top_k" * 3000: 1}}):
        response = client.predict(content)
        assert_refused(response, 422, "validation")
        assert len(response.json()["error"]) < 200
    assert max(compared) <= 60


def test_a_pdf_is_read_as_a_document(client: Client) -> None:
    """By its media type; the places are those in the text that comes with them, and one without text says so."""
    headers = {"content-type": "application/pdf"}
    found = client.ask("POST", "/review", written(("1. superb film",), ("2. awful film",)), headers=headers).json()
    passages = found["passages"]
    assert [found["text"][one["start"] : one["end"]] for one in passages] == ["1. superb film", "2. awful film"]
    assert [(one["label"], one["page"], one["critical"]) for one in passages] == [
        ("positive", 1, False), ("negative", 2, True)
    ]  # fmt: skip
    assert (found["pages"], found["pages_without_text"]) == (2, [])
    assert client.ask("GET", "/about").json()["pdf"] is True
    assert_refused(client.ask("POST", "/review", written(()), headers=headers), 422, "no_text")
    assert_refused(client.ask("POST", "/review", b"1. superb", headers=headers), 422, "validation")
    assert_refused(client.ask("POST", "/review", {"inputs": 1}), 422, "validation")


def test_a_contract_of_20_megabytes_is_refused(client: Client) -> None:
    """As text and as PDF, whether its size is said beforehand or not, by the limit of a body."""
    pieces = [b"%PDF-1.4\n" + bytes(1_000_000)] * 20

    async def in_pieces() -> Any:
        for piece in pieces:
            yield piece

    for kind in ("application/json", "application/pdf"):
        for body in (b"".join(pieces), in_pieces()):
            found = client.ask("POST", "/review", body, headers={"content-type": kind})
            assert_refused(found, 413, "too_large")
            assert "20000 bytes" in found.json()["error"]


def test_too_much_is_413(client: Client) -> None:
    """Too many texts, a text too long, a body too large: stated, streamed without a length, or with a lie about it."""
    assert_refused(client.predict({"inputs": ["good"] * 9}), 413, "too_large")
    assert_refused(client.predict({"inputs": "x" * 1001}), 413, "too_large")
    assert_refused(client.infer(["good"] * 9), 413, "too_large")
    assert_refused(client.predict(b"x" * 20_001), 413, "too_large")
    assert_refused(client.predict(b"{}", headers={"content-length": "9" * 30}), 413, "too_large")

    async def pieces() -> Any:
        for _ in range(100):
            yield b"x" * 1000

    assert_refused(client.predict(pieces()), 413, "too_large")


def test_a_compressed_body_is_415(client: Client) -> None:
    """It is not unpacked, so it cannot be a bomb."""
    assert_refused(client.predict(b"\x1f\x8b", headers={"content-encoding": "gzip"}), 415, "validation")


@pytest.mark.parametrize(
    "path", ["/nothing", "/predict/", "/v2/models/other/infer", "/v2/models/tiny/versions/1", "/%00"]
)
def test_an_unknown_path_is_404_and_leaves_no_trace_in_the_metrics(client: Client, path: str) -> None:
    """Metric labels come from a fixed set, so that nobody can make them grow."""
    for method in ("GET", "POST"):
        assert_refused(client.ask(method, path, {}), 404, "not_found")
    assert path not in client.ask("GET", "/metrics").text


@pytest.mark.parametrize(
    ("accept", "parser"),
    [("text/plain", prometheus_client.parser), ("application/openmetrics-text", prometheus_client.openmetrics.parser)],
)
def test_the_metrics_are_exactly_those_declared(client: Client, accept: str, parser: ModuleType) -> None:
    """Each family of `FAMILIES` is exposed with its type and sentence, and nothing else, in the format asked for, which
    /docs.json lists; those of a challenger only where there is one."""
    client.predict({"inputs": "good"})
    response = client.ask("GET", "/metrics", headers={"Accept": f"{accept};q=0.5"})
    assert response.headers["content-type"].startswith(f"{accept}; version=")
    described = client.ask("GET", "/docs.json").json()["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert response.headers["content-type"] in described
    families = parser.text_string_to_metric_families(response.text)
    found = {f.name + ("_total" if f.type == "counter" else ""): (f.type, f.documentation) for f in families}
    declared = {name: one for name, one in FAMILIES.items() if not name.startswith("ftdeploy_shadow_")}
    assert len(declared) < len(FAMILIES)
    assert found == {name: (family.kind, family.help) for name, family in declared.items()}


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("GET", "/predict", "POST"), ("POST", "/", "GET, HEAD"), ("BREW", "/v2", "GET, HEAD")]
)
def test_a_wrong_method_is_405_with_allow(client: Client, method: str, path: str, allow: str) -> None:
    """As HTTP wants it."""
    response = client.ask(method, path)
    assert_refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allow


def test_a_body_that_does_not_come_is_408(client: Client) -> None:
    """A client that stops in the middle is told so and let go."""

    async def play() -> list[Any]:
        sent: list[Any] = []
        begun = [{"type": "http.request", "body": b'{"inputs": ', "more_body": True}]

        async def receive() -> Any:
            if not begun:
                await anyio.sleep_forever()
            return begun.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        with pytest.MonkeyPatch.context() as patch:
            limits = client.app.engine.limits
            patch.setattr(client.app.engine, "limits", type(limits)(body_seconds=0.05))
            scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
            await client.app(scope, receive, send)
        return sent

    start, body = client.portal.call(play)
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert json.loads(body["body"])["error_type"] == "body_timeout"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["inputs", "parameters", "top_k", "details", "name", "data", "shape", "x"]), children
        )
    ),
    max_leaves=12,
)


WORDS = (
    "inputs",
    "parameters",
    "top_k",
    "details",
    "name",
    "data",
    "shape",
    "datatype",
    "outputs",
    "id",
    "text",
    "BYTES",
)
_OUTPUTS = b'[{"name": "score"}, {"name": "scores", "parameters": {"binary_data": false}}]'
QUESTIONS = (
    b'{"inputs": ["good", "bad"], "parameters": {"top_k": 1, "details": true}}',
    b'{"id": "7", "inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["good", "bad"]}], "outputs": '
    + _OUTPUTS
    + b"}",
)
PIECES = (b"null", b"1e999", b"-1", b"18446744073709551615", b'""', b"[]", b"{}", b"true", b'"\\u0000"', b'"\\ud83d"',
          "\u202e\U0001f3ac".encode(), b"\xff", b"\x00", b",", b"]", b"}", b"[" * 900, b'{"a":' * 300)  # fmt: skip
VALUES = (b"null", b"1e999", b"-1", b"18446744073709551615", b'""', b"[]", b"{}", b"true", b'"\\u0000"', b"[[1, 2]]",
          b'{"name": "text"}', b"[" * 1010 + b"]" * 1010, b'{"a":' * 1000 + b"1" + b"}" * 1000)  # fmt: skip


def scarred(random: Random) -> bytes:
    """A proper question after a few changes to its bytes: pieces cut, doubled, swapped in; words replaced."""
    body = random.choice(QUESTIONS)
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(body) + 1)
        end = min(len(body), start + random.randrange(12))
        change = random.randrange(4)
        if change == 0:
            body = body[:start] + body[end:]
        elif change == 1:
            body = body[:start] + random.choice(PIECES) + body[end:]
        elif change == 2:
            body = body[:end] + body[start:]
        else:
            body = body.replace(random.choice(WORDS).encode(), random.choice(WORDS).encode(), 1)
    return body


def retold(random: Random) -> bytes:
    """A proper question in which some values are others: still JSON."""
    mark = f"{random.random()}"

    def tell(value: Any, chance: float) -> Any:
        if random.random() < chance:
            return mark
        if isinstance(value, dict):
            return {key if random.random() > 0.03 else random.choice(WORDS): tell(value[key], 0.12) for key in value}
        return (
            [tell(item, 0.12) for item in value] * random.choice((1, 1, 1, 0, 2)) if isinstance(value, list) else value
        )

    body = json.dumps(tell(json.loads(random.choice(QUESTIONS)), 0)).encode()
    while f'"{mark}"'.encode() in body:
        body = body.replace(f'"{mark}"'.encode(), random.choice(VALUES), 1)
    return body


def test_no_changed_question_makes_a_5xx(client: Client) -> None:
    """Bodies that are nearly right reach further than random ones. Some of them are still right."""
    random = Random(20)  # noqa: S311  # the same bodies every time
    seen: Counter[int] = Counter()

    async def play() -> None:
        transport = httpx.ASGITransport(app=client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as one:
            for number in range(1500):
                body = (scarred, retold)[number % 2](random)
                for path in ("/predict", "/invocations", "/v2/models/tiny/infer"):
                    response = await one.post(path, content=body)
                    seen[response.status_code] += 1
                    assert response.status_code < 500, (path, body)

    client.portal.call(play)
    assert {200, 400, 422} <= set(seen)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_no_body_makes_a_5xx(client: Client, body: bytes) -> None:
    """Whatever is sent, the answer is 200 or a refusal in JSON."""
    for path in ("/predict", "/invocations", "/v2/models/tiny/infer"):
        response = client.ask("POST", path, body)
        assert response.status_code == 200 or 400 <= response.status_code < 500
        assert response.json() is not None


# States


def test_a_full_queue_is_429_with_retry_after(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the model held, what does not fit is refused at once; the rest is answered when the model comes back."""
    free, entered = threading.Event(), threading.Event()
    batcher = client.app.engine.batcher
    assert batcher is not None
    run = batcher._run

    def held(rows: Any) -> Any:
        entered.set()
        assert free.wait(20)
        return run(rows)

    monkeypatch.setattr(batcher, "_run", held)

    async def play() -> tuple[httpx.Response, list[httpx.Response]]:
        transport = httpx.ASGITransport(app=client.app)
        kept: list[httpx.Response] = []
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as one:

            async def ask() -> None:
                kept.append(await one.post("/predict", json={"inputs": ["good"] * 8}))

            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(ask)
                    await anyio.to_thread.run_sync(entered.wait)
                await until(lambda: batcher.waiting == 16)
                refused = await one.post("/predict", json={"inputs": "good"})
                free.set()
        return refused, kept

    before = client.app.metrics.shed["queue"]
    refused, kept = client.portal.call(play)
    assert_refused(refused, 429, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert [response.status_code for response in kept] == [200, 200, 200]
    assert client.app.metrics.shed["queue"] == before + 1


def test_one_request_too_many_is_429_and_a_half_sent_body_takes_no_place(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two places, one of which is taken by a request at the model, half-sent small bodies change nothing."""
    free, entered = threading.Event(), threading.Event()
    batcher = client.app.engine.batcher
    assert batcher is not None
    run = batcher._run

    def held(rows: Any) -> Any:
        entered.set()
        assert free.wait(20)
        return run(rows)

    monkeypatch.setattr(batcher, "_run", held)
    admission = Admission(2)
    monkeypatch.setattr(client.app, "_admission", admission)

    async def endless() -> Any:
        yield b'{"inputs": '
        await anyio.to_thread.run_sync(free.wait)
        yield b'"good"}'

    async def play() -> list[int]:
        transport = httpx.ASGITransport(app=client.app)
        codes: list[int] = []
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as one:

            async def ask(content: Any) -> None:
                codes.append((await one.post("/predict", content=content)).status_code)

            async with anyio.create_task_group() as group:
                for content in (endless(), endless(), b'{"inputs": "good"}', b'{"inputs": "bad"}'):
                    group.start_soon(ask, content)
                await until(lambda: admission.held == 2)
                await anyio.to_thread.run_sync(entered.wait)
                refused = await one.post("/predict", json={"inputs": "good"})
                infer = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}
                refused_too = await one.post("/v2/models/tiny/infer", json={"inputs": [infer]})
                free.set()
        for response in (refused, refused_too):
            assert_refused(response, 429, "overloaded")
            assert response.headers["retry-after"] == "1"
        return codes

    codes = client.portal.call(play)
    assert codes.count(200) >= 2
    assert set(codes) <= {200, 429}  # the two that stopped in the middle go on when places are free again, or not yet
    assert (admission.held, admission.large) == (0, 0)


def test_a_failing_model_is_503_and_the_next_request_is_answered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is in the log and not in the answer."""

    def broken(rows: Any) -> Any:
        raise RuntimeError(f"a secret path, {len(rows)} rows")

    with monkeypatch.context() as patch:
        patch.setattr(client.app.engine.batcher, "_run", broken)
        response = client.predict({"inputs": "good"})
    assert_refused(response, 503, "backend")
    assert "secret" not in response.text
    assert client.predict({"inputs": "good"}).status_code == 200


def test_an_error_of_our_own_is_a_500_without_a_trace(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of defence: JSON, no detail, and the service goes on."""
    with monkeypatch.context() as patch:
        patch.setattr(client.app.engine, "ask", None)
        assert_refused(client.predict({"inputs": "good"}), 500, "internal")
    assert client.predict({"inputs": "good"}).status_code == 200


def test_a_cached_answer_is_the_same_answer_and_is_recorded_as_such(
    client: Client, traffic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same labels and scores, truncation told, traffic as ever with a mark, and no forward pass."""
    cache, engine = AnswerCache(4), client.app.engine
    monkeypatch.setattr(engine, "cache", cache)
    long = "film " * (MAX_LENGTH + 5)
    question = {"inputs": ["a superb film", long], "parameters": {"details": True}}
    assert engine.batcher is not None
    first = client.predict(question, headers={"X-Request-Id": "cache-test-1"})
    passes = engine.snapshot()["ftdeploy_batch_rows_count"]
    second = client.predict(question, headers={"X-Request-Id": "cache-test-2"})
    assert engine.snapshot()["ftdeploy_batch_rows_count"] == passes
    assert first.json() | {"request_id": ""} == second.json() | {"request_id": ""}
    assert second.json()["request_id"] == "cache-test-2"
    assert second.headers["x-truncated"] == "1"
    assert "ftdeploy_cache_hits_total 2" in client.ask("GET", "/metrics").text
    assert engine.recorder is not None
    recorder, wanted = engine.recorder, engine.recorder._put
    client.portal.call(until, lambda: recorder.written == wanted)
    rows = [row for path in traffic.iterdir() for row in read_segment(path) if row["id"].startswith("cache-test")]
    assert [row["cached"] for row in rows] == [False, False, True, True]
    for before, after in zip(rows[:2], rows[2:], strict=True):
        assert np.array_equal(before.pop("embedding"), after.pop("embedding"))
        differing = {"id", "time", "cached"}
        assert {k: v for k, v in before.items() if k not in differing} == {
            k: v for k, v in after.items() if k not in differing
        }


def test_traffic_holds_the_answers_and_never_the_text(client: Client, traffic: Path) -> None:
    """Every answered text is one row under its request id; the words of the text are nowhere in the folder."""
    written = client.app.engine.recorder
    assert written is not None
    private = "lovelyxyzzy superb"
    client.predict({"inputs": [private, "bad"]}, headers={"X-Request-Id": "traffic-test"})
    client.infer(["good"])
    wanted = written._put

    client.portal.call(until, lambda: written.written == wanted)
    content = b"".join(path.read_bytes() for path in traffic.iterdir())
    assert b"xyzzy" not in content
    rows = [row for path in traffic.iterdir() for row in read_segment(path) if row["id"] == "traffic-test"]
    assert [(row["row"], row["label"]) for row in rows] == [(0, "positive"), (1, "negative")]
    assert rows[0]["unknown"] == pytest.approx(1 / 4)
    assert rows[0]["embedding"].shape == (32,)


def test_a_crowd_is_refused_before_anything_is_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the short way, which only questions have, and by the long one, where even what is no JSON is told so; each is
    counted as what it is, and health goes on."""
    crowding = Refusal(429, "overloaded", "too many", headers=((b"retry-after", b"2"),), shed="queue")
    app = client.app
    before = app.metrics.shed["queue"]

    def early(path: str, method: str = "POST") -> Any:
        return app.refuse_early({"type": "http", "path": path, "method": method, "headers": []})

    assert early("/predict") is None
    monkeypatch.setattr(app.engine, "crowded", lambda: True)
    monkeypatch.setattr(app.engine, "crowding", lambda: crowding)
    for path in ("/predict", "/invocations", "/v2/models/tiny/infer"):
        reply = early(path)
        assert (reply.status, reply.headers) == (429, ((b"retry-after", b"2"),))
    for path, method in (("/readyz", "GET"), ("/predict", "GET"), ("/nowhere", "POST"), ("/feedback", "POST")):
        assert early(path, method) is None
    refused = client.predict(b"no JSON")
    assert_refused(refused, 429, "overloaded")
    assert refused.headers["retry-after"] == "2"
    assert client.ask("GET", "/readyz").status_code == 200
    assert app.metrics.shed["queue"] == before + 4


def test_a_page_of_another_origin_has_nothing_done(client: Client) -> None:
    """What a browser sends for it without asking first is 403 wherever something would be answered or recorded; what is
    only read is answered, as the browser keeps it from the page."""
    written = client.app.engine.recorder
    assert written is not None
    put, tensor = written._put, {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}
    sent = {"content-type": "text/plain;charset=UTF-8", "origin": "https://evil.example", "sec-fetch-mode": "no-cors"}
    asked = {
        "/predict": {"inputs": "good"},
        "/predict/bulk": {"inputs": "good"},
        "/invocations": {"inputs": ["good"]},
        "/v2/models/tiny/infer": {"inputs": [tensor]},
        "/review": {"inputs": "good"},
        "/feedback": {"request_id": "r1", "label": "positive"},
    }
    for path, content in asked.items():
        for site in ("cross-site", "same-site"):
            assert_refused(client.ask("POST", path, content, headers=sent | {"sec-fetch-site": site}), 403, "forbidden")
    assert (written._put, len(written._feedback), written.labelled) == (put, 0, 0)
    own = sent | {"origin": "http://here", "sec-fetch-site": "same-origin"}
    assert client.predict({"inputs": "good"}, headers=own).status_code == 200
    assert client.ask("GET", "/about", headers=sent | {"sec-fetch-site": "cross-site"}).status_code == 200
