"""The page in a real browser: over a real bundle, and over a service that answers as a test wants."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import Browser, Tab, running
from pdf_files import written
from report_samples import report
from scripted_page import Answer, graded, scripted
from tiny import write_bundle, write_model_folder
from workspace import serving

from ftdeploy.serve.limits import Limits
from ftdeploy.signature import Review, read_signature, write_signature

pytestmark = pytest.mark.slow

READY = "document.querySelector('#state').textContent === 'ready'"
DONE = "document.querySelector('#progress').hidden && document.querySelector('#run').ariaDisabled === 'false'"
#: Cards, as a person reads them.
CARDS = "[...document.querySelectorAll('.answer')].map(card => card.innerText)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bundle under `bentoml serve`, with a report, that takes few texts at a time."""
    folder = tmp_path_factory.mktemp("page")
    write_bundle(folder / "bundle", serve={"max_texts": 8, "max_chars": 1000, "lanes": 1})
    body = report().model_dump(mode="json")
    text = json.dumps({"schema": body.pop("schema_")} | body)
    (folder / "bundle" / "src" / "model" / "report.json").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "bentoml", "serve", str(folder / "bundle")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTDEPLOY_TRAFFIC", "off")
        patch.delenv("PYTHONPATH", raising=False)
        with serving(command, cwd=folder) as url:
            yield f"{url}/"


def run(tab: Tab, texts: str) -> None:
    """Put texts into the box and run them by the keyboard, to the end."""
    tab.fill("#texts", texts)
    tab.press("Enter", "Control")
    tab.until(DONE)


# What is shown


def test_texts_get_labels_with_bars_latency_and_an_id(browser: Browser, bundle: str) -> None:
    """Each text by itself, best label first, its bar as long as its score; how long it took, here and there; the id of
    the request. Nothing is asked of anybody else."""
    with browser.open(bundle) as tab:
        tab.until(READY)
        run(tab, "a superb film\n\nawful and boring")
        first, second = tab.ask(CARDS)
        assert first.index("positive") < first.index("negative")
        assert second.index("negative") < second.index("positive")
        share = "(e => e.querySelector('.fill').getBoundingClientRect().width / e.clientWidth)"
        width = tab.ask(f"{share}(document.querySelector('.track'))")
        said = float(tab.text(".score .number").rstrip("%")) / 100
        assert width == pytest.approx(said, abs=0.01)
        assert "2 texts in " in tab.text("#summary")
        assert " ms of it in the service" in tab.text("#summary")
        assert len(tab.ask("document.querySelector('.identity code').title")) == 32
        assert all(address.startswith((bundle, "data:")) for address in tab.addresses())


def test_a_document_shows_what_has_to_be_looked_at(browser: Browser, tmp_path: Path) -> None:
    """Passage by passage: the critical ones in a table and marked where they stand, what no label fits left alone."""
    labels = ("negative", "neutral", "positive")
    write_model_folder(tmp_path / "model", labels)
    told = {"review": Review(critical=("negative",)), "thresholds": dict.fromkeys(labels, 0.6), "fallback": "other"}
    write_signature(tmp_path / "model", read_signature(tmp_path / "model").model_copy(update=told))
    signed = {"model/signature.json": (tmp_path / "model" / "signature.json").read_bytes()}
    write_bundle(tmp_path / "bundle", labels=labels, replaced=signed)
    document = (
        "AGREEMENT\n\n1. A superb great best film in all respects.\n2. The parties film the film.\n"
        "(a) awful awful bad;\n\nTERMINATION\n\nAn awful boring film \U0001f600 ends it."
    )
    command = [sys.executable, "-m", "ftdeploy", "serve", str(tmp_path / "bundle")]
    with serving(command, cwd=tmp_path) as url, browser.open(f"{url}/") as tab:
        tab.until(READY)
        run(tab, document)
        assert "4 passages, 2 to look at." in tab.ask(CARDS)[0]
        marks = "[...document.querySelectorAll('mark.critical .word')].map(one => one.textContent)"
        assert tab.ask(marks) == ["(a) awful awful bad;", "TERMINATION\nAn awful boring film \U0001f600 ends it."]
        assert tab.ask("document.querySelectorAll('.answer > table tbody tr').length") == 2
        marked = "[...document.querySelectorAll('mark')].map(one => one.textContent)"
        assert not any("parties" in one for one in tab.ask(marked))
        tab.click("#curl")
        assert "/review'" in tab.text("#command")
        tab.click("#whole")  # now each line is a text again
        run(tab, document)
        assert len(tab.ask(CARDS)) == 6
        (tmp_path / "deal.pdf").write_bytes(written(("1. A superb great best film.",), (), ("2. awful awful bad",)))
        load(tab, tmp_path / "deal.pdf")
        assert "deal.pdf: a PDF" in tab.text("#file-says")
        tab.click("#curl")
        assert "application/pdf' --data-binary '@deal.pdf'" in tab.text("#command")
        tab.click("#run")
        tab.until(DONE)
        said = tab.ask(CARDS)[0]
        assert "2 passages, 1 to look at. Pages without text, which nobody has read: 2." in said
        assert "page 3" in said
        run(tab, "typed since")
        assert "typed since" in tab.ask(CARDS)[0]


def test_the_bundle_is_described(browser: Browser, bundle: str) -> None:
    """Name, digest, labels, limits; the verdict with its gates counted and each metric with its interval; drift that
    nobody measures is said to be so."""
    with browser.open(bundle) as tab:
        tab.until(READY)
        facts = " ".join(tab.text(".facts").split())
        assert tab.text("h1") == "tiny"
        digest = tab.ask("about.digest")
        assert f"bundle {digest[:12]}" in facts
        found = report()
        assert f"{found.verdict}: " in facts
        assert f" of {len(found.gates)} gates" in facts
        assert "drift: not measured yet" in facts
        shown = tab.text("#about")
        assert digest in shown
        assert "Not measured yet" in shown
        metric = found.metrics[0]
        assert f"{metric.candidate.value:.4f}" in shown
        assert f"{metric.candidate.lower:.4f} \u2013 {metric.candidate.upper:.4f}" in shown
        tab.ask("document.querySelector('#about details').open = true")
        assert found.gates[0].explanation in tab.text("#about")
        assert "8 texts and" in tab.text("#pairs")


def test_a_text_that_was_cut_says_so(browser: Browser, bundle: str) -> None:
    """On its card with its length, and counted above; the others carry no mark."""
    with browser.open(bundle) as tab:
        run(tab, "good\n" + "film " * 50)
        first, second = tab.ask(CARDS)
        assert "Cut" not in first
        assert "Cut: it has 52 tokens, and the first 32 were read." in second
        assert "1 text cut" in tab.text("#summary")


def test_a_thousand_texts_are_asked_in_parts_and_can_be_looked_through(browser: Browser, bundle: str) -> None:
    """Every request keeps to the limits; the answers are in order, some at a time, can be picked by label, ordered by
    certainty, and downloaded; the box is as it was."""
    lines = [f"{'superb' if number % 3 else 'awful'} film {number}" for number in range(1000)]
    with browser.open(bundle) as tab:
        tab.until(READY)
        run(tab, "\n".join(lines))
        assert "1,000 texts in " in tab.text("#summary")
        assert tab.text("#requests-says") == "125 requests"
        assert tab.ask("run.outcomes.every(one => one.answer)")
        assert tab.ask("document.querySelectorAll('.answer').length") == 50
        assert tab.ask(CARDS)[49].startswith("50\nsuperb film 49") or "film 49\n" in tab.ask(CARDS)[49]
        tab.click("#more")
        assert tab.ask("document.querySelectorAll('.answer').length") == 100
        assert "film 50" in tab.ask("document.activeElement.innerText")
        assert tab.text("#groups").split() == ["all", "1,000", "positive", "666", "negative", "334"]
        tab.click("#groups .chip:nth-child(3)")
        assert all("awful" in card for card in tab.ask(CARDS))
        tab.click("#groups .chip")
        tab.ask("document.querySelector('#order').focus()")
        tab.press("ArrowDown")
        tab.until("document.querySelector('#order').value === 'least'")
        scores = tab.ask("shown.map(index => run.outcomes[index].answer[0].score)")
        assert scores == sorted(scores)
        assert tab.ask("document.querySelector('#texts').value") == "\n".join(lines)


# By the keyboard alone, and for everybody


def focused(tab: Tab) -> str:
    """The element that has the focus; empty when none has."""
    return str(tab.ask("document.activeElement === document.body ? '' : document.activeElement.id || "
                       "document.activeElement.className || document.activeElement.innerText"))  # fmt: skip


def test_the_keyboard_reaches_everything_and_is_never_caught(browser: Browser, bundle: str) -> None:
    """Tab goes through every control in the order of reading, each with a visible mark, and out again; the first stop
    leads to the text box."""
    with browser.open(bundle) as tab:
        tab.until(READY)
        run(tab, "superb\nawful")
        place = "[...document.querySelectorAll('*')].indexOf(document.activeElement)"
        stops: dict[int, str] = {}
        while (at := tab.ask(place)) not in stops:
            name = focused(tab)
            if name:  # else it is outside of the page
                assert tab.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid", name
                stops[at] = name
            tab.press("Tab")
        order = list(stops)
        first = order.index(min(order))
        assert order[first:] + order[:first] == sorted(order)
        seen = [stops[at] for at in sorted(order)]
        assert seen[0] == "skip"
        controls = "a[href], button, input, select, textarea, summary, pre[tabindex]"
        wanted = tab.ask(f"[...document.querySelectorAll('{controls}')].filter(e => e.checkVisibility()).length")
        assert len(seen) == wanted
        assert {"copy-digest", "whole", "texts", "run", "open", "curl", "clear", "export", "order"} <= set(seen)
        while focused(tab) != "skip":
            tab.press("Tab")
        tab.press("Enter")
        tab.until("document.activeElement.id === 'texts'")


def test_the_text_box_is_left_by_tab_and_an_empty_one_is_explained(browser: Browser, bundle: str) -> None:
    """Tab is no character of it. Running nothing says what is missing, and puts the cursor there."""
    with browser.open(bundle) as tab:
        tab.fill("#texts", " \n ")
        tab.press("Tab")
        tab.until("document.activeElement.id === 'run'")
        tab.press("Enter")
        tab.until("document.activeElement.id === 'texts'")
        assert "There is no text yet." in tab.text("#problem")


def test_every_control_has_a_name(browser: Browser, bundle: str) -> None:
    """As assistive technology is told by the browser; the hidden message and the problem are live regions."""
    with browser.open(bundle) as tab:
        tab.until(READY)
        run(tab, "superb\nawful")
        tab.click("#curl")
        named = {"button", "link", "textbox", "checkbox", "combobox", "DisclosureTriangle", "progressbar", "region"}
        nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
        found = [node for node in nodes if not node["ignored"] and node["role"]["value"] in named]
        assert {node["role"]["value"] for node in found} >= named - {"progressbar"}
        assert [node for node in found if not node["name"]["value"].strip()] == []
        assert tab.ask("document.querySelector('#announce').role") == "status"
        assert tab.ask("document.querySelector('#problem').role") == "alert"
        assert tab.ask("document.documentElement.lang") == "en"
        headings = [int(node["properties"][0]["value"]["value"]) for node in nodes
                    if not node["ignored"] and node["role"]["value"] == "heading"]  # fmt: skip
        assert headings == [1, 2, 2]


def test_what_happens_is_told_to_those_who_do_not_see_it(browser: Browser, bundle: str) -> None:
    """The end of a run, and a single text's best label."""
    with browser.open(bundle) as tab:
        tab.until(READY)
        run(tab, "superb")
        said = tab.ask("document.querySelector('#announce').textContent")
        assert said.startswith("1 text in ")
        assert ": positive, " in said


#: Every visible text whose colour and ground are too close (WCAG 2.2, 1.4.3), with the ratio.
CONTRAST = """(() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const over = (top, below) =>
    Object.fromEntries(['r', 'g', 'b'].map((c) => [c, top[c] * top.a + below[c] * (1 - top.a)]));
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (node) => {
    const above = [];
    for (let one = node; one; one = one.parentElement) above.unshift(parse(getComputedStyle(one).backgroundColor));
    return above.reduce((below, top) => ({ ...over(top, below), a: 1 }), { r: 255, g: 255, b: 255, a: 1 });
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest('.hidden, script, option')) continue;
    const style = getComputedStyle(node);
    const below = ground(node);
    const [a, b] = [light(over(parse(style.color), below)), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    found.push([ratio / (large ? 3 : 4.5), `${ratio.toFixed(2)} ${walker.currentNode.data.trim().slice(0, 30)}`]);
  }
  return { texts: found.length, low: found.filter(([share]) => share < 1).map(([, text]) => text) };
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast_is_enough_in_every_state(browser: Browser, dark: bool) -> None:
    """With answers, marks, badges, a problem, a key, a command, every hue of an entity, and each verdict and state."""
    groups = [f"G{number}" for number in range(8)]

    def entities(text: str) -> list[dict[str, Any]]:
        return [{"entity_group": group, "score": 0.9, "word": group, "start": at, "end": at + 2}
                for group in groups if (at := text.find(group)) >= 0]  # fmt: skip

    verdicts = ("pass", "fail", "inconclusive")
    summary = {"suite": "s", "rows": 9, "confidence": 0.95, "metrics": [],
               "gates": [{"name": one, "verdict": one, "explanation": "It is."} for one in verdicts],
               "counts": {"pass": 1, "fail": 1, "inconclusive": 1}}  # fmt: skip
    moved = {"state": "watching", "detectors": {"embedding": "none", "unknown_tokens": "watching"}}
    with scripted(auth=True, report=summary | {"verdict": "pass"}, drift=moved) as service, \
            browser.open(service.url, dark=dark) as tab:  # fmt: skip
        tab.until(READY)
        assert tab.ask("document.querySelector('#drift').textContent") == "watching (unknown tokens)"
        tab.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        run(tab, "superb\nlong")
        tab.click("#curl")
        service.refusals.append((429, {"retry-after": "90"}, {"error": "too much"}))
        found = [tab.ask(CONTRAST)]
        service.about["view"], service.about["labels"] = "entities", groups
        service.answer = entities
        for verdict, state, drift in (("fail", "failed", "alarm"), ("inconclusive", "loading", "none")):
            service.about |= {"state": state, "drift": {"state": drift}, "report": summary | {"verdict": verdict}}
            tab.go(service.url)
            tab.until(f"document.querySelector('#state').textContent === '{state}'")
            run(tab, " ".join(groups))
            tab.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            found.append(tab.ask(CONTRAST))
    assert all(one["texts"] > 25 for one in found)
    assert [low for one in found for low in one["low"]] == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_window(browser: Browser, width: int) -> None:
    """Not with names, labels, texts and ids that cannot be broken into words, and not with everything opened."""
    wide = "W" * 120
    labels = [f"{wide}{number}" for number in range(14)]

    def answer(_text: str) -> list[dict[str, Any]]:
        return [{"label": label, "score": 1 / 14} for label in labels]

    with scripted(answer=answer, name=wide, labels=labels, auth=True) as service, \
            browser.open(service.url, width=width) as tab:  # fmt: skip
        tab.until(READY)
        run(tab, f"{wide * 4}\nlong {wide}")
        tab.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        tab.ask("document.querySelectorAll('.more').forEach(one => one.click())")
        tab.click("#curl")
        assert tab.ask("document.documentElement.scrollWidth") == width
        out = f"e.checkVisibility() && !e.closest('.skip, .hidden, pre') && e.getBoundingClientRect().right > {width}"
        seen = f"[...document.querySelectorAll('body *')].filter(e => {out}).map(e => e.outerHTML.slice(0, 80))"
        assert tab.ask(seen) == []


def test_who_wants_no_motion_gets_none(browser: Browser) -> None:
    """`prefers-reduced-motion` ends every transition; without it there are some."""
    moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s').length"
    with scripted() as service, browser.open(service.url) as tab:
        tab.prefer(motion="no-preference")
        assert tab.ask(moving) > 0
        tab.prefer(motion="reduce")
        assert tab.ask(moving) == 0


# When something goes wrong


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((429, {"retry-after": "90"}, {"error": "1024 texts are waiting already"}),
         ("The service is busy.", "Try again in 90 seconds.", "The service says: 1024 texts are waiting already.")),
        ((401, {}, {"error": "a key is wanted", "error_type": "unauthorized"}),
         ("The service wants a key.", "Type it above the texts")),
        ((403, {}, {"error": "the key lacks the scope predict"}),
         ("This key may not ask for answers.", "It wants the scope predict.")),
        ((503, {"retry-after": "120"}, {"error": "the model is loading", "error_type": "unhealthy"}),
         ("The model is not ready.", "Try again in 120 seconds.", "is loading")),
        ((503, {"retry-after": "1"}, {"error": "no answer within 30 seconds", "error_type": "timeout"}),
         ("The model did not answer in time.", "Try again with fewer or shorter texts.")),
        ((500, {}, {"error": "an internal error", "error_type": "internal"}), ("The service has made a mistake.",)),
        ((422, {}, {"error": "unknown key"}), ("The service refused this (422).", "Unknown key.")),
        ((502, {"content-type": "text/html"}, b"<h1>Bad Gateway</h1>"),
         ("Something between this page and the service answered (502).",)),
        ((200, {}, b"<h1>Log in</h1>"), ("Something between this page and the service answered (200).",)),
    ],
    ids=["429", "401", "403", "503", "timeout", "500", "422", "502", "200"],
)  # fmt: skip
def test_a_refusal_is_told_in_words_and_loses_nothing(
    browser: Browser, refusal: Answer, words: tuple[str, ...]
) -> None:
    """What happened, what to do, what the service said itself; the texts stay, and the next try answers them."""
    with scripted() as service, browser.open(service.url) as tab:
        service.refusals.append(refusal)
        run(tab, "one\ntwo")
        problem = tab.text("#problem")
        for part in words:
            assert part in problem
        assert tab.ask("document.querySelector('#texts').value") == "one\ntwo"
        assert tab.ask("document.querySelector('#key-part').hidden") is (refusal[0] != 401)
        if refusal[0] == 401:
            assert focused(tab) == "key"
            tab.press("Enter")
        else:
            tab.click("#problem button")
        tab.until("document.querySelectorAll('.answer').length === 2 && document.querySelector('#problem').hidden")


def test_a_page_of_another_origin_has_nothing_done(browser: Browser, bundle: str) -> None:
    """What a browser sends for it without asking first is refused, by what the browser itself says of the page."""
    with scripted() as other, browser.open(f"{other.url}elsewhere") as tab:
        sent = "{method: 'POST', mode: 'no-cors', body: JSON.stringify({inputs: 'x'})}"
        assert tab.ask(f"fetch('{bundle}predict', {sent}).catch(() => 'kept from it')") == "kept from it"
    assert 'ftdeploy_requests_total{route="/predict",status="403"} 1' in httpx.get(f"{bundle}metrics").text


def test_a_service_that_is_gone_is_told_in_words(browser: Browser) -> None:
    """Also in the state at the top."""
    with scripted() as service, browser.open(service.url) as tab:
        tab.until(READY)
        tab.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        run(tab, "one")
        assert "The service does not answer." in tab.text("#problem")
        tab.ask("watch()")
        tab.until("document.querySelector('#state').textContent === 'not reachable'")
        assert tab.ask("document.querySelector('#texts').value") == "one"


def test_a_service_that_is_busy_for_a_moment_is_asked_again(browser: Browser) -> None:
    """After the time that it names, and without anybody's doing."""
    with scripted() as service, browser.open(service.url) as tab:
        service.refusals.append((429, {"retry-after": "1"}, {"error": "busy"}))
        tab.fill("#texts", "one")
        tab.press("Enter", "Control")
        tab.until("document.querySelector('#progress-says').innerText === 'The service is busy; trying again in 1 s.'")
        tab.until(DONE)
        assert tab.ask("document.querySelectorAll('.answer').length") == 1
        assert len(service.posts) == 2


def test_a_text_that_is_too_much_costs_only_itself(browser: Browser) -> None:
    """One over the stated limit is not sent; one that the service, or what stands before it, refuses is found by
    halves; each says why, and all others are answered."""
    lines = ["fine", "x" * 60, "good", "too much", "well"]

    with scripted(limits=Limits(max_chars=50)) as service, browser.open(service.url) as tab:
        reply = service.reply
        service.reply = lambda texts: (  # type: ignore[method-assign]  # as a proxy in front of it
            (413, {}, b"<h1>Too large</h1>") if "too much" in texts else reply(texts)
        )
        run(tab, "\n".join(lines))
        cards = tab.ask(CARDS)
        assert "Not answered. It has 60 characters; the service takes 50." in cards[1]
        assert "Not answered. This is more than the service takes at once." in cards[3]
        assert all("positive" in cards[index] for index in (0, 2, 4))
        assert "3 of 5 texts in " in tab.text("#summary")
        assert not any("x" * 60 in document["inputs"] for _, document in service.posts)
        assert tab.text("#groups").split() == ["all", "5", "positive", "3", "not", "answered", "2"]
        tab.click("#groups .chip:last-child")
        assert [card.split("\n")[0] for card in tab.ask(CARDS)] == ["2", "4"]


def test_a_run_can_be_stopped_and_taken_up_again(browser: Browser) -> None:
    """Escape keeps what is there; the rest is answered when asked for, and nothing twice."""
    lines = [f"text {number}" for number in range(200)]
    with scripted() as service, browser.open(service.url) as tab:
        tab.fill("#texts", "\n".join(lines))
        tab.ask("const send_ = send; send = async (...all) => { const got = await send_(...all); "
                "if (run.requests.length === 1) await new Promise((go) => { window.go_on = go; "
                "all[1].addEventListener('abort', () => go()); }); return got; }")  # fmt: skip
        tab.press("Enter", "Control")
        tab.until("document.querySelector('#bar').value === 64 && window.go_on")
        assert tab.text("#progress-says") == "64 of 200 texts"
        assert tab.ask("document.querySelectorAll('.answer').length") == 50
        tab.press("Escape")
        tab.until("!document.querySelector('#problem').hidden")
        kept = tab.ask("run.outcomes.filter(Boolean).length")
        assert "Stopped." in tab.text("#problem")
        assert kept < 200
        tab.ask("send = send_")
        tab.click("#problem button")
        tab.until(DONE)
        assert tab.ask("run.outcomes.filter(one => one.answer).length") == 200
        assert "200 texts in " in tab.text("#summary")
        assert tab.ask("document.querySelector('#texts').value.split('\\n').length") == 200


def test_waiting_for_a_busy_service_can_be_ended(browser: Browser) -> None:
    """Escape ends it, and the next try is sent at once."""
    with scripted() as service, browser.open(service.url) as tab:
        service.refusals.append((429, {"retry-after": "50"}, {"error": "busy"}))
        tab.fill("#texts", "one")
        tab.press("Enter", "Control")
        tab.until("document.querySelector('#progress-says').innerText.includes('trying again in')")
        assert "tries again in 50 seconds" in tab.ask("document.querySelector('#announce').textContent")
        tab.press("Escape")
        tab.until(DONE)
        assert "Stopped." in tab.text("#problem")
        tab.click("#problem button")
        tab.until("document.querySelectorAll('.answer').length === 1")
        assert len(service.posts) == 2


def test_an_address_can_bring_texts(browser: Browser, bundle: str) -> None:
    """After the #, which no server sees: they are put into the box and run."""
    with browser.open(f"{bundle}#texts=superb%0Aawful") as tab:
        tab.until("document.querySelectorAll('.answer').length === 2")
        assert box(tab) == ["superb", "awful"]


def test_another_bundle_under_the_same_address_is_noticed(browser: Browser) -> None:
    """A service may be given another bundle while the page is open: it then says which."""
    with scripted() as service, browser.open(service.url) as tab:
        tab.until(READY)
        service.about |= {"digest": "9d" * 32, "name": "newer", "labels": ["x", "y", "z"]}
        tab.ask("watch()")
        tab.until("document.querySelector('h1').textContent === 'newer'")
        assert "9d9d9d9d9d9d" in tab.text(".facts")
        assert "3 labels" in tab.text("#pairs")
        assert "another bundle" in tab.ask("document.querySelector('#announce').textContent")


# Keys


def test_a_key_is_sent_and_kept_nowhere_unless_asked(browser: Browser) -> None:
    """As a bearer; in no storage, address, markup or command; with the box ticked, until the tab is closed; unticked,
    it is forgotten again."""
    key = "ftd_0123456789abcdef"
    stored = (
        "JSON.stringify([Object.values(sessionStorage), Object.values(localStorage), document.cookie, location.href, \
document.documentElement.outerHTML])"
    )
    with scripted(auth=True) as service, browser.open(service.url) as tab:
        tab.until(READY)
        tab.fill("#key", key)
        run(tab, "one")
        assert service.posts[-1][0]["authorization"] == f"Bearer {key}"
        tab.click("#curl")
        assert "$FTDEPLOY_TOKEN" in tab.text("#command")
        assert key not in tab.ask(stored)
        tab.click("#keep")
        assert tab.ask(stored).count(key) == 1
        tab.go(service.url)
        run(tab, "one")
        assert service.posts[-1][0]["authorization"] == f"Bearer {key}"
        tab.click("#keep")
        assert key not in tab.ask(stored)
    with scripted() as service, browser.open(service.url) as tab:
        run(tab, "one")
        assert tab.ask("document.querySelector('#key-part').checkVisibility()") is False
        assert "authorization" not in service.posts[-1][0]


# Other tasks


def test_entities_are_marked_exactly_whatever_the_characters(browser: Browser) -> None:
    """Offsets count code points: after an emoji, a family of four, a letter with a combining mark and a character of
    another plane, the marked words are still the right ones. What overlaps is listed, not marked."""
    text = (
        "\U0001f389 Zoe\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 met \U00020bb7\u91ce\u5bb6 in Sa\u0303o Paulo."
    )
    words = {"Zoe\u0301": "PER", "\U00020bb7\u91ce\u5bb6": "ORG", "Sa\u0303o Paulo": "LOC"}

    def answer(asked: str) -> list[dict[str, Any]]:
        if asked != text:
            return []
        found: list[dict[str, Any]] = [
            {
                "entity_group": group,
                "score": 0.91,
                "word": word,
                "start": (at := asked.index(word)),
                "end": at + len(word),
            }
            for word, group in words.items()
        ]
        last = found[-1]
        return [*found, last | {"entity_group": "GPE", "start": last["end"] - 5}, last | {"start": 900, "end": 950}]

    labels = ["O", *(f"{place}-{group}" for group in ("PER", "ORG", "LOC", "GPE") for place in "BI")]
    with scripted(answer=answer, view="entities", task="token-classification", labels=labels) as service, \
            browser.open(service.url) as tab:  # fmt: skip
        run(tab, f"{text}\nplain")
        marked = (
            "[...document.querySelectorAll('.answer:first-child mark')].map(m => [m.querySelector('.word').innerText, \
m.querySelector('.tag').innerText])"
        )
        assert tab.ask(marked) == [list(pair) for pair in words.items()]
        whole = "document.querySelector('.answer .text').cloneNode(true)"
        plain = f"(e => {{ e.querySelectorAll('.tag').forEach(t => t.remove()); return e.textContent; }})({whole})"
        assert tab.ask(plain) == text
        assert tab.ask("document.querySelector('.answer summary').innerText") == "5 entities"
        hues = tab.ask("[...document.querySelectorAll('mark')].map(m => m.className)")
        assert len(set(hues)) == 3
        legend = tab.text("#groups").split()
        assert legend == ["all", "2", "GPE", "1", "LOC", "1", "ORG", "1", "PER", "1"]
        assert "4 labels" in tab.text("#pairs")
        run(tab, text)
        assert tab.text(".legend").split() == ["PER", "ORG", "LOC", "GPE"]


def test_vectors_are_shown_by_how_similar_the_texts_are(browser: Browser) -> None:
    """A table of the others, the most similar first, markup left as text; one text alone says what to do."""
    vectors = {"north": [0.0, 1.0], "<b>north-east</b>": [0.6, 0.8], "south": [0.0, -1.0]}
    with scripted(answer=vectors.__getitem__, view="vectors", task="feature-extraction", labels=[]) as service, \
            browser.open(service.url) as tab:  # fmt: skip
        assert "How similar each text is" in tab.text("#empty")
        run(tab, "\n".join(vectors))
        first, second, _ = tab.ask(CARDS)
        assert first.split("Similarity")[-1].split() == ["2", "<b>north-east</b>", "0.800", "3", "south", "-1.000"]
        assert second.split("Similarity")[-1].split() == ["1", "north", "0.800", "3", "south", "-0.800"]
        assert not tab.ask("document.querySelector('.answer b')")
        run(tab, "north")
        (card,) = tab.ask(CARDS)
        assert "Answer several texts" in card


def test_labels_of_which_any_number_hold_are_marked(browser: Browser) -> None:
    """All that score a half or more, in the card, in the groups, and as a list in the file; or that there is none."""
    scores = {"a <b>text</b>": {"b": 0.9, "c": 0.5, "a": 0.2}, "dull": {"a": 0.4, "b": 0.1, "c": 0.1}}

    def answer(text: str) -> list[dict[str, Any]]:
        return [{"label": label, "score": score} for label, score in scores[text].items()]

    with scripted(answer=answer, view="sets", task="multi-label-classification", labels=["a", "b", "c"]) as service, \
            browser.open(service.url) as tab:  # fmt: skip
        run(tab, "\n".join(scores))
        first, second = tab.ask(CARDS)
        assert "90.0%" in first
        assert "40.0%" in second
        assert tab.ask("[...document.querySelectorAll('.score.best .name')].map((one) => one.textContent)") == [
            "b",
            "c",
        ]
        assert "(none)" in tab.text("#groups")


def test_labels_hold_from_thresholds_of_their_own(browser: Browser) -> None:
    """Where the bundle has them, above and below a half; the others from a half on."""
    scores = {"north": {"b": 0.9, "c": 0.55, "a": 0.2}, "south": {"a": 0.4, "c": 0.3, "b": 0.2}}

    def answer(text: str) -> list[dict[str, Any]]:
        return [{"label": label, "score": score} for label, score in scores[text].items()]

    with scripted(answer=answer, view="sets", task="multi-label-classification", labels=["a", "b", "c"],
                  thresholds={"a": 0.3, "c": 0.6}) as service, browser.open(service.url) as tab:  # fmt: skip
        run(tab, "\n".join(scores))
        marked = tab.ask("[...document.querySelectorAll('.score.best .name')].map((one) => one.textContent)")
        assert marked == ["b", "a"]
        assert "(none)" not in tab.text("#groups")


def test_a_number_is_shown_as_a_number(browser: Browser) -> None:
    """With four digits, whatever its size; no bar and no share of a hundred."""
    numbers = {"good": 3.14159, "long": -123456.7}
    with scripted(answer=lambda text: [{"label": "score", "score": numbers[text]}], view="numbers",
                  task="text-regression", labels=["score"]) as service, browser.open(service.url) as tab:  # fmt: skip
        run(tab, "\n".join(numbers))
        assert tab.ask("[...document.querySelectorAll('.answer .figure')].map((one) => one.textContent)") == [
            "3.142",
            "-123,500",
        ]
        assert "%" not in "".join(tab.ask(CARDS))


def test_a_text_without_entities_says_so(browser: Browser) -> None:
    """It is shown all the same."""
    with scripted(answer=lambda _text: [], view="entities", labels=["O", "B-X"]) as service, \
            browser.open(service.url) as tab:  # fmt: skip
        run(tab, "nothing here")
        (card,) = tab.ask(CARDS)
        assert "nothing here" in card
        assert "No entity was found in it." in card


def test_written_answers_are_shown_with_their_source(browser: Browser) -> None:
    """A model that writes gets the whole box as one text, and its answer can be copied."""
    with scripted(answer=lambda _text: [{"summary_text": "Sales rose."}], view="text", labels=[]) as service, \
            browser.open(service.url) as tab:  # fmt: skip
        run(tab, "The board met.\n\nIt says that sales rose.")
        assert [document["inputs"] for _, document in service.posts] == [["The board met.\n\nIt says that sales rose."]]
        (card,) = tab.ask(CARDS)
        assert card.startswith("Sales rose.")
        assert "2 words, of a text with 8" in card
        assert "The board met." in card


def test_a_fallback_comes_first_and_is_explained(browser: Browser) -> None:
    """The answer as the service decided it, counted as such; the model's labels behind it; when it is given."""
    answer = [
        {"label": "other", "score": 0.41},
        {"label": "positive", "score": 0.59},
        {"label": "negative", "score": 0},
    ]
    least = {"negative": 0.8, "positive": 0.75}
    with scripted(answer=lambda _text: answer, fallback="other", thresholds=least) as service, \
            browser.open(service.url) as tab:  # fmt: skip
        run(tab, "one\ntwo")
        first, _ = tab.ask(CARDS)
        assert first.index("other") < first.index("positive") < first.index("negative")
        assert tab.text("#groups").split()[:4] == ["all", "2", "other", "2"]
        shown = " ".join(tab.text("#pairs").split())
        assert "other: answered first where the best label of the model scores less than it must" in shown
        assert "(negative 80.0%, positive 75.0%)" in shown


def test_a_kind_of_answer_that_the_page_does_not_know_is_shown_as_it_came(browser: Browser) -> None:
    """A newer task in an older page is readable still."""
    with scripted(answer=lambda _text: {"odd": [1, 2]}, view="something") as service, \
            browser.open(service.url) as tab:  # fmt: skip
        run(tab, "one")
        assert json.loads(tab.text(".answer pre")) == {"odd": [1, 2]}


# What comes in and goes out


def test_markup_is_text_everywhere(browser: Browser) -> None:
    """In texts, labels, names, entities, gates and what the service says; no markup can be made of strings at all."""
    evil = "<img src=x onerror=document.title='owned'>"
    gate = {"name": evil, "verdict": "pass", "explanation": evil}
    summary = {"verdict": "pass", "suite": evil, "rows": 1, "confidence": 0.95, "metrics": [], "gates": [gate],
               "counts": {"pass": 1, "fail": 0, "inconclusive": 0}}  # fmt: skip
    answer = [{"label": evil, "score": 1.0}]
    with scripted(answer=lambda _text: answer, labels=[evil, "b"], report=summary) as service, \
            browser.open(service.url) as tab:  # fmt: skip
        run(tab, f"{evil}\n{evil}")
        assert tab.ask("document.querySelectorAll('img').length") == 0
        assert evil in tab.text(".answer")
        assert evil in tab.text("#about")
        service.refusals.append((422, {}, {"error": evil}))
        run(tab, evil)
        assert evil in tab.text("#problem")
        assert tab.ask("document.title") == "tiny: try the model"
        assert tab.problems() == []
        assert (
            tab.ask("(() => { try { document.body.innerHTML = 'x'; } catch (e) { return e.name; } })()") == "TypeError"
        )
        assert any("TrustedHTML" in problem for problem in tab.problems(forget=True))


def test_the_command_is_the_same_request(browser: Browser, bundle: str, tmp_path: Path) -> None:
    """As a POSIX shell runs it, quotes and dollars included, it gets the answer that the page got."""
    import subprocess

    with browser.open(bundle) as tab:
        text = 'it\'s "good" $HOME `id` \\ \u2014 superb'
        tab.fill("#texts", text)
        tab.click("#curl")
        command = tab.text("#command")
        run(tab, text)
        shown = tab.ask("run.outcomes[0].answer")
    assert f"{bundle}predict" in command
    (tmp_path / "curl").write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    (tmp_path / "curl").chmod(0o755)
    where = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    asked = subprocess.run(["sh", "-c", command], env=where, capture_output=True, text=True, check=True)
    arguments = json.loads(asked.stdout)
    assert json.loads(arguments[arguments.index("-d") + 1]) == {"inputs": text}
    import httpx

    found = httpx.post(
        arguments[1], content=arguments[-1].encode(), headers={"content-type": "application/json"}
    ).json()
    assert [one["label"] for one in found] == [one["label"] for one in shown]
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in shown])


def test_the_download_has_every_answer_and_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    """A row a text, as a spreadsheet reads it; a text that begins like a formula is kept a text by an apostrophe."""
    lines = ["=1+1", "+1", "-1", "@cmd", "\uff1d1", 'plain, with "quotes"', "a long one", "x" * 60]
    with scripted(limits=Limits(max_chars=50)) as service, browser.open(service.url) as tab:
        run(tab, "\n".join(lines))
        tab.download_to(tmp_path)
        tab.click("#export")
        path = tmp_path / "tiny-answers.csv"
        while not (path.exists() and path.stat().st_size):
            tab.ask("new Promise((go) => setTimeout(go, 20))")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    assert [row["text"] for row in rows] == [f"'{line}" for line in lines[:5]] + lines[5:]
    best = graded(lines[5])[0]
    assert (rows[5]["label"], float(rows[5]["score"])) == (best["label"], best["score"])
    assert float(rows[5]["score of negative"]) == pytest.approx(1 - best["score"])
    assert [row["truncated"] for row in rows] == ["false"] * 6 + ["true", ""]
    assert rows[0]["request_id"] == "id-1"
    assert "60 characters" in rows[7]["problem"]
    assert rows[7]["label"] == ""


def load(tab: Tab, path: Path) -> None:
    """Choose a file, as its dialogue does."""
    node = tab.call("DOM.getDocument")["root"]["nodeId"]
    field = tab.call("DOM.querySelector", nodeId=node, selector="#file")["nodeId"]
    tab.ask("document.querySelector('#file-says').textContent = ''")
    tab.call("DOM.setFileInputFiles", files=[str(path)], nodeId=field)
    tab.until("document.querySelector('#file-says').textContent")


def box(tab: Tab) -> list[str]:
    """The lines of the text box."""
    return str(tab.ask("document.querySelector('#texts').value")).split("\n")


def test_a_file_is_read_below_what_is_typed(browser: Browser, tmp_path: Path) -> None:
    """Lines of a text; of a table the column with the texts, and any other on request; cells with several lines become
    one; what is typed stays; what is no text is refused."""
    table = 'id;body;stars\r\n1;"one; ""quoted""\nand on";5\r\n2;two;1\r\n3;;2\r\n'
    (tmp_path / "reviews.csv").write_text(table, encoding="cp1252", newline="")
    (tmp_path / "lines.txt").write_bytes("caf\u00e9\n\nnoir\n".encode("cp1252"))
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\0\1")
    with scripted() as service, browser.open(service.url) as tab:
        tab.fill("#texts", "typed")
        load(tab, tmp_path / "reviews.csv")
        assert box(tab) == ["typed", 'one; "quoted" and on', "two"]
        assert "2 texts" in tab.text("#file-says")
        assert tab.ask("[...document.querySelector('#column').options].map(o => o.text)") == ["id", "body", "stars"]
        tab.ask("document.querySelector('#column').focus()")
        tab.press("ArrowDown")
        assert box(tab) == ["typed", "5", "1", "2"]
        load(tab, tmp_path / "lines.txt")
        assert box(tab) == ["typed", "5", "1", "2", "caf\u00e9", "noir"]
        assert "Windows-1252" in tab.text("#file-says")
        load(tab, tmp_path / "picture.txt")
        assert "is not a text file" in tab.text("#file-says")
        assert box(tab)[0] == "typed"


def test_a_table_of_very_many_rows_is_read(browser: Browser) -> None:
    """More than a function of the browser takes arguments."""
    with scripted() as service, browser.open(service.url) as tab:
        tab.ask("load(new File(['id,text\\n' + '1,a\\n'.repeat(200000)], 'many.csv'))")
        assert tab.text("#file-says") == "many.csv: 200,000 texts."
        assert tab.ask("document.querySelector('#texts').value.length") == 2 * 200_000 - 1


def test_a_file_that_brings_nothing_says_why(browser: Browser) -> None:
    """A table of nothing but separators, and whatever else goes wrong while one is read; what is typed stays."""
    with scripted() as service, browser.open(service.url) as tab:
        tab.fill("#texts", "typed")
        tab.ask("load(new File([',,,\\n,,,\\n'], 'empty.csv'))")
        assert tab.text("#file-says") == "empty.csv holds no text."
        tab.ask("load({name: 'gone.csv', size: 3, arrayBuffer: () => Promise.reject(new Error('it is gone'))})")
        assert tab.text("#file-says") == "gone.csv cannot be read: it is gone"
        assert tab.ask("document.querySelector('#column-part').hidden")
        assert box(tab) == ["typed"]


def test_a_file_can_be_dropped(browser: Browser, tmp_path: Path) -> None:
    """Onto the box, which shows that it takes it."""
    (tmp_path / "lines.txt").write_text("one\ntwo\n", encoding="utf-8")
    with scripted() as service, browser.open(service.url) as tab:
        data = {"items": [], "files": [str(tmp_path / "lines.txt")], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver"):
            tab.call("Input.dispatchDragEvent", type=kind, x=300, y=250, data=data)
        tab.until("document.querySelector('#form.over')")
        tab.call("Input.dispatchDragEvent", type="drop", x=300, y=250, data=data)
        tab.until("document.querySelector('#file-says').textContent")
        assert box(tab) == ["one", "two"]
        assert tab.ask("document.querySelector('#form').className") == "card ask"


def test_clear_can_be_undone(browser: Browser) -> None:
    """One press takes everything away, the next one brings it back."""
    with scripted() as service, browser.open(service.url) as tab:
        tab.fill("#texts", "one\ntwo")
        tab.click("#clear")
        assert box(tab) == [""]
        assert tab.text("#clear") == "Undo"
        tab.click("#clear")
        assert box(tab) == ["one", "two"]
        assert tab.text("#clear") == "Clear"


@pytest.mark.parametrize(
    ("texts", "limits", "expected"),
    [
        (["a"] * 5, {"max_texts": 2}, [[0, 1], [2, 3], [4]]),
        (["a"] * 65, {}, [list(range(64)), [64]]),
        (["\u00e9" * 100] * 3, {"max_body_bytes": 200 + 2 * 203}, [[0, 1], [2]]),
        (['"' * 100] * 3, {"max_body_bytes": 200 + 203}, [[0], [1], [2]]),
        (["\U0001f600" * 10, "b" * 11], {"max_chars": 10}, [[0]]),
    ],
    ids=["texts", "progress", "bytes", "escapes", "characters"],
)
def test_requests_keep_to_every_limit(
    browser: Browser, texts: list[str], limits: dict[str, Any], expected: list[list[int]]
) -> None:
    """Texts, bytes of the body as it is sent, and characters as the service counts them."""
    with scripted(limits=Limits(**limits)) as service, browser.open(service.url) as tab:
        found = tab.ask(f"requestsFor({json.dumps(texts)}, about.limits)")
        assert found["requests"] == expected
        for part in expected:
            body = json.dumps({"inputs": [texts[index] for index in part], "parameters": {"details": True}},
                              ensure_ascii=False, separators=(",", ":"))  # fmt: skip
            assert len(body.encode()) <= service.about["limits"]["max_body_bytes"]
