"""`POST /feedback`: true labels of answers, checked as strictly as questions are."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from tiny import write_source

from ftdeploy.serve.app import App, create_app
from ftdeploy.serve.feedback import MOST, parse_feedback
from ftdeploy.serve.traffic import Feedback
from ftdeploy.serve.wire import Refusal
from ftdeploy.signature import read_signature, write_signature
from ftdeploy.spans import tags_of
from ftdeploy.tasks import TASKS
from ftdeploy.traffic import read_traffic

LABELS = ("negative", "positive")


def parse(content: object) -> list[Feedback]:
    return parse_feedback(orjson.dumps(content), TASKS["text-classification"], LABELS, subject="anna")


def test_one_label_or_a_list_of_them() -> None:
    """The index is 0 unless it is said, and may be that of a line of bulk; whom it is about comes from the header."""
    (one,) = parse({"request_id": "r1", "label": "positive"})
    assert (one.id, one.row, one.label, one.subject) == ("r1", 0, "positive", "anna")
    assert abs(one.time - time.time()) < 60
    listed = [{"request_id": "r1", "label": "positive", "index": 3000}, {"request_id": "r2", "label": "negative"}]
    assert [(found.id, found.row) for found in parse(listed)] == [("r1", 3000), ("r2", 0)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("positive", "wants an object"),
        ([{"request_id": "r1", "label": "positive"}, 5], r"\[1\]"),
        ({"request_id": "r1"}, "label None"),
        ({"label": "positive"}, "request_id"),
        ({"request_id": "no good", "label": "positive"}, "request_id"),
        ({"request_id": "r1", "label": "positve"}, "did you mean 'positive'"),
        ({"request_id": "r1", "label": 1}, "label 1"),
        ({"request_id": "r1", "label": "positive", "index": 2**53 + 1}, "index"),
        ({"request_id": "r1", "label": "positive", "index": -1}, "index"),
        ({"request_id": "r1", "label": "positive", "index": True}, "index"),
        ({"request_id": "r1", "label": "positive", "idx": 0}, "did you mean 'index'"),
        ({"request_id": "r1", "label": "positive", "text": "superb"}, "unknown key 'text'"),
        ({"request_id": "r1", "label": ["positive"]}, r"label \['positive'\] is none"),
        ([], "empty"),
    ],
)
def test_a_wrong_one_is_422_and_says_where(content: object, told: str) -> None:
    """And nothing of the list is taken."""
    with pytest.raises(Refusal, match=told) as raised:
        parse(content)
    assert raised.value.reply().status == 422


DRUG = {"entity_group": "Drug", "start": 0, "end": 7}


def parse_entities(*given: dict[str, Any]) -> list[Feedback]:
    return parse_feedback(orjson.dumps(list(given)), TASKS["token-classification"], tags_of(("Drug",)), subject=None)


def test_entities_come_with_or_without_their_text_and_are_kept_without_a_word_of_it() -> None:
    """Places and kinds alone are recorded; what is beside them is only looked at."""
    entity = DRUG | {"word": "Aspirin", "score": 0.5}
    one, other = parse_entities({"request_id": "r1", "label": [entity], "text": "Aspirin helps"},
                                {"request_id": "r2", "label": []})  # fmt: skip
    assert (one.label, other.label) == ('[[0,7,"Drug"]]', "[]")
    assert "spirin" not in str(one)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"label": [DRUG], "text": "Aspi"}, r"\[1\]\.label\[0\] ends at 7, beyond the text of 4 characters"),
        ({"label": [DRUG, DRUG | {"start": 3}]}, r"\[1\]\.label\[0\] \(0:7\) and label\[1\] \(3:7\) overlap"),
        ({"label": [DRUG | {"entity_group": "Drgu"}]}, r"\[1\]\.label\[0\].entity_group 'Drgu' .* mean 'Drug'"),
        ({"label": [DRUG], "text": ["Aspirin"]}, r"\[1\]\.text wants the text that was asked, not a list"),
        ({"label": "Drug"}, r"\[1\]\.label wants a list of entities"),
        ({}, r"\[1\]\.label wants a list of entities"),
    ],
)
def test_entities_that_are_none_are_422_and_say_which(given: dict[str, Any], told: str) -> None:
    """By the places of the label and of the entity in it; nothing of the request is taken."""
    good = {"request_id": "r1", "label": [DRUG]}
    with pytest.raises(Refusal, match=told) as raised:
        parse_entities(good, {"request_id": "r2"} | given)
    assert raised.value.reply().status == 422


def test_too_many_are_413_and_what_is_no_json_400() -> None:
    """As for questions."""
    with pytest.raises(Refusal) as raised:
        parse([{"request_id": "r1", "label": "positive"}] * (MOST + 1))
    assert raised.value.reply().status == 413
    with pytest.raises(Refusal) as raised:
        parse_feedback(b"{", TASKS["text-classification"], LABELS, subject=None)
    assert raised.value.reply().status == 400


async def _play(app: App) -> dict[str, Any]:
    await app.start()
    await app.engine.loaded()
    found: dict[str, Any] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here") as client:
        named = {"X-Request-Id": "r1", "X-Subject-Id": "anna"}
        answer = await client.post("/predict", json={"inputs": ["superb", "awful"]}, headers=named)
        found["asked"] = answer.status_code
        for label in ("negative", "positive"):
            sent = await client.post("/feedback", json={"request_id": "r1", "label": label, "index": 1})
            found.setdefault("sent", []).append((sent.status_code, sent.text))
            await asyncio.sleep(0.002)
        found["about"] = (await client.get("/about")).json()["records"]
        found["unfit"] = (await client.post("/predict", json={"inputs": "x"}, headers={"X-Subject-Id": "a@b.c"})).text
        found["metrics"] = app.snapshot()
    await app.stop()
    return found


def test_the_last_label_of_a_text_is_joined_to_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By request and index; the other text of the request has none. What was sent before is accepted, too."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", str(tmp_path / "traffic"))
    write_source(tmp_path / "src")
    found = asyncio.run(_play(create_app(tmp_path / "src")))
    assert found["sent"] == [(202, '{"accepted":1}')] * 2
    assert "X-Subject-Id" in found["unfit"]
    assert found["about"] == "features"
    rows = list(read_traffic(tmp_path / "traffic"))
    assert [(row["label"], row["true_label"], row["subject"]) for row in rows] == [
        ("positive", None, "anna"),
        ("negative", "positive", "anna"),
    ]
    assert not any("text" in row for row in rows)


def test_texts_are_kept_when_the_bundle_says_so_and_people_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`monitor.traffic.text`: the whole text stands in the row, and /about, which fills the page, says so."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", str(tmp_path / "traffic"))
    write_source(tmp_path / "src", traffic={"text": True})
    found = asyncio.run(_play(create_app(tmp_path / "src")))
    assert found["about"] == "texts"
    assert [row["text"] for row in read_traffic(tmp_path / "traffic")] == ["superb", "awful"]


def test_where_nothing_is_recorded_labels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """409, rather than to take what is then thrown away."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "off")
    write_source(tmp_path / "src")
    found = asyncio.run(_play(create_app(tmp_path / "src")))
    assert found["asked"] == 200
    assert [status for status, _ in found["sent"]] == [409, 409]
    assert found["about"] == "nothing"
    assert found["metrics"]["ftdeploy_feedback_rows_total"] == 0


async def _until_refused(app: App) -> list[httpx.Response]:
    await app.start()
    await app.engine.loaded()
    found = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here") as client:
        for _ in range(400):
            found.append(await client.post("/feedback", json={"request_id": "r1", "label": "negative"}))
            if found[-1].status_code != 202:
                break
            await asyncio.sleep(0.02)
    await app.stop()
    return found


def test_while_the_disk_takes_nothing_labels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After once that is known, so that whoever sends them keeps them."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", str(tmp_path / "traffic"))
    write_source(tmp_path / "src")
    (tmp_path / "traffic").write_text("a file stands where the folder should be", encoding="utf-8")
    *accepted, refused = asyncio.run(_until_refused(create_app(tmp_path / "src")))
    assert accepted
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "disk" in refused.json()["error"]


async def _ask_of(app: App, asked: list[str], labels: list[Any]) -> list[int]:
    await app.start()
    await app.engine.loaded()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here") as client:
        await client.post("/predict", json={"inputs": asked}, headers={"X-Request-Id": "r1"})
        told = [{"request_id": "r1", "label": label, "index": place} for place, label in enumerate(labels)]
        found = [(await client.post("/feedback", json=one)).status_code for one in told]
    await app.stop()
    return found


@pytest.mark.parametrize(
    ("task", "labels", "answers"),
    [
        ("multi-label-classification", [[], ["negative", "positive"], "positive"],
         ['["positive"]', '["negative"]', '["positive"]']),
        ("text-regression", [3, -0.5, "3"], None),
    ],
)  # fmt: skip
def test_whole_answers_stand_beside_true_labels(task: str, labels: list[Any], answers: list[str] | None, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Both as the data writes labels, whatever a row is counted by; what is no label of the task is 422."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", str(tmp_path / "traffic"))
    write_source(tmp_path / "src")
    signature = read_signature(tmp_path / "src" / "model")
    outputs = ("score",) if TASKS[task].number else LABELS
    write_signature(tmp_path / "src" / "model", signature.model_copy(update={"task": task, "labels": outputs}))
    texts = ["superb", "awful", "best"]
    assert asyncio.run(_ask_of(create_app(tmp_path / "src"), texts, labels)) == [202, 202, 422]
    rows = list(read_traffic(tmp_path / "traffic"))
    assert [row["true_label"] for row in rows[:2]] == [TASKS[task].true_label(label, outputs) for label in labels[:2]]
    assert rows[2]["true_label"] is None
    if answers is None:
        answers = [f"{row['confidence']:.9g}" for row in rows]
        assert [float(row["answer"]) for row in rows] == pytest.approx([float(one) for one in answers], abs=1e-5)
    else:
        assert [row["answer"] for row in rows] == answers
        assert [row["label"] for row in rows] == ["positive", "negative", "positive"]
