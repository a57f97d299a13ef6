"""What cleaning learns of all rows before the first one: usual lengths, and what recurs in many texts."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prepare import dataset, rows, write_jsonl

from ftdeploy.dataset import read_profile
from ftdeploy.prepare.clean import Counts, Rejected, Survey, look_at_all, make_cleaner
from ftdeploy.prepare.cleaning.boilerplate import Found, Recurring, find_boilerplate, remover
from ftdeploy.prepare.cleaning.judges import Bounds, length_bounds
from ftdeploy.recipe import Clean
from ftdeploy.recipe.clean import Boilerplate, LengthOutliers

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau".split()  # noqa: SIM905  # reads better
SIGNATURE = "Sent from my phone, please excuse the brevity"
UNSUBSCRIBE = "Click here to unsubscribe from this list."


def bodies(count: int, *, seed: int = 1) -> list[str]:
    """Different sentences without anything in common."""
    draw = random.Random(seed)  # noqa: S311 - test data
    return [" ".join(draw.choices(WORDS, k=draw.randrange(8, 20))) + f" {number}." for number in range(count)]


def looked(texts: list[Any], **rules: Any) -> Survey:
    return look_at_all(Clean.model_validate(rules), lambda: unlabelled(texts))


def unlabelled(texts: list[str]) -> list[tuple[str, str]]:
    return [(text, "") for text in texts]


def test_nothing_is_read_when_no_rule_needs_it() -> None:
    """The default recipe passes over the rows once."""

    def texts() -> list[tuple[str, str]]:
        raise AssertionError("rows were read")

    assert look_at_all(Clean(language=None, strip_html=True), texts) == Survey()


def test_lines_sentences_beginnings_and_ends_that_recur_are_found_and_cut() -> None:
    """In the midst of different texts; the texts themselves stay."""
    texts = bodies(200)
    dirty = [
        ("Forwarded message from the help desk team: " if number % 4 == 0 else "")
        + text
        + (f"\n{SIGNATURE}" if number % 5 == 0 else "")
        + (f" {UNSUBSCRIBE}" if number % 3 == 0 else "")
        + (" with kind regards from all of us at Acme" if number % 7 == 0 else "")
        for number, text in enumerate(texts)
    ]
    rules = Clean.model_validate({"boilerplate": {"action": "remove", "min_rows": 10}})
    found = look_at_all(rules, lambda: unlabelled(dirty))
    assert UNSUBSCRIBE.casefold() in found.boilerplate.pieces
    assert found.boilerplate.starts == {"forwarded message from the help desk team:": 50}
    run, counts = make_cleaner(rules, found), Counts()
    assert [run(text, counts) for text in dirty] == texts
    assert counts.changed["boilerplate"].rows == sum(text != whole for text, whole in zip(texts, dirty, strict=True))


def test_report_counts_and_leaves() -> None:
    """The default action shows what would become of a text, and keeps it."""
    dirty = [f"{text} {UNSUBSCRIBE}" for text in bodies(100)]
    rules = Clean.model_validate({"boilerplate": {}})
    run, counts = make_cleaner(rules, look_at_all(rules, lambda: unlabelled(dirty))), Counts()
    assert [run(text, counts) for text in dirty] == dirty
    assert counts.reported["boilerplate"].rows == 100
    assert counts.reported["boilerplate"].examples[0][1] == bodies(1)[0]
    assert not counts.changed


def test_short_texts_that_recur_are_no_boilerplate() -> None:
    """A whole text that many rows have is a label's legitimate short text; so is a short sentence; and a text of
    boilerplate only is not emptied."""
    verdicts = ["It was simply a great product.", "I would not buy it again, ever.", "Great!"] * 60
    texts = verdicts + [f"{text} Great!" for text in bodies(60)]
    assert not looked(texts, boilerplate={"min_rows": 5}).boilerplate
    found = Found(pieces={UNSUBSCRIBE.casefold(): 99})
    cut = remover(found)
    assert cut(UNSUBSCRIBE) == UNSUBSCRIBE
    assert cut(f"{UNSUBSCRIBE} {UNSUBSCRIBE}") == f"{UNSUBSCRIBE} {UNSUBSCRIBE}"
    assert cut(f"Yes. {UNSUBSCRIBE}") == f"Yes. {UNSUBSCRIBE}"
    assert cut(f"Not good. {UNSUBSCRIBE}") == "Not good."


def test_copies_of_one_text_do_not_make_its_sentences_boilerplate() -> None:
    """Equal texts are the business of duplicates."""
    twice = [f"{text} {other}" for text, other in zip(bodies(5), bodies(5, seed=2), strict=True)]
    assert not looked(twice * 100, boilerplate={"min_rows": 5}).boilerplate


def test_what_recurs_does_not_depend_on_the_order_of_the_rows() -> None:
    """Also where far more different parts are seen than are kept in memory."""
    texts = [f"{text} {UNSUBSCRIBE}" if number % 6 == 0 else text for number, text in enumerate(bodies(300))]
    rules = Boilerplate(min_rows=20)
    results = []
    for seed in range(3):
        random.Random(seed).shuffle(texts)  # noqa: S311 - test data
        results.append(find_boilerplate(rules, lambda: unlabelled(texts), capacity=200))
    found, different = results[0]
    assert results == [results[0]] * 3
    assert different == 300
    assert found.pieces == {UNSUBSCRIBE.casefold(): 50}


def test_what_tells_the_label_is_listed_and_stays() -> None:
    """A verdict in so many words stands beside its label only; an address at the end stands beside all. `remove` cuts
    both."""
    rows = [
        (f"{text} {'Would buy it again.' if number % 2 else 'It broke at once.'} {UNSUBSCRIBE}", "ab"[number % 2])
        for number, text in enumerate(bodies(100))
    ]
    rules = Clean.model_validate({"boilerplate": {"action": "remove"}})
    found = look_at_all(rules, lambda: rows)
    assert found.boilerplate.telling == {"would buy it again.": {"b": 50}, "it broke at once.": {"a": 50}}
    assert list(found.boilerplate.pieces) == [UNSUBSCRIBE.casefold()]
    cleaned = make_cleaner(rules, found)(rows[1][0], Counts())
    assert cleaned == f"{bodies(2)[1]} Would buy it again."
    assert found.as_dict(rules, None)["boilerplate"]["tells_label"]["it broke at once."] == {"a": 50}
    both = Clean.model_validate({"boilerplate": {"action": "remove", "tells_label": "remove"}})
    assert make_cleaner(both, look_at_all(both, lambda: rows))(rows[1][0], Counts()) == bodies(2)[1]


def test_what_stands_beside_labels_by_chance_seldom_seems_to_tell_them() -> None:
    """Of 200 sentences that stand in rows drawn at random, a few are taken for content; the test promises 1 of 100."""
    kept = 0
    for seed in range(200):
        draw = random.Random(seed)  # noqa: S311 - test data
        rows = [(f"{n} {UNSUBSCRIBE}" if draw.random() < 0.4 else f"{n}", str(draw.randrange(4))) for n in range(60)]
        found, _ = find_boilerplate(Boilerplate(min_rows=10), partial(list, rows))
        kept += bool(found.telling)
    assert kept <= 6


def test_what_people_write_before_a_signature_is_not_cut_with_it() -> None:
    """Frequent closing words of the texts themselves stand before one signature; all of the signature goes, and they
    stay. A longer signature of many of the rows is one of its own."""
    signature = "Sent from my phone, please excuse typos."
    closings = ["since Monday", "for two weeks", "at home", "in the office"]
    texts = [f"{body}{closings[n % 4]} {signature}" for n, body in enumerate(f"case {n} is open " for n in range(120))]
    rules = Clean.model_validate({"boilerplate": {"action": "remove"}})
    found = look_at_all(rules, lambda: unlabelled(texts))
    assert list(found.boilerplate.ends) == [signature.casefold()]
    run = make_cleaner(rules, found)
    assert [run(text, Counts()) for text in texts] == [text.removesuffix(f" {signature}") for text in texts]
    longer = [f"case {n} has number {n * 7} {'Kind regards, ' if n % 3 else ''}{signature}" for n in range(120)]
    assert set(look_at_all(rules, lambda: unlabelled(longer)).boilerplate.ends) == {
        signature.casefold(), f"kind regards, {signature.casefold()}",
    }  # fmt: skip


@settings(max_examples=200)
@given(
    parts=st.lists(
        st.sampled_from((UNSUBSCRIBE, SIGNATURE, "Dear customer of the shop,", "\n", " ", "yes", "fine day.", "no!")),
        max_size=10,
    )
)
def test_a_text_without_its_boilerplate_has_none(parts: list[str]) -> None:
    """However the parts are strung together, a second cleaning changes nothing."""
    rules = Clean.model_validate({"boilerplate": {"action": "remove"}})
    found = Found(
        pieces={UNSUBSCRIBE.casefold(): 9, SIGNATURE.casefold(): 9},
        starts={"dear customer of the shop,": 9},
        ends={SIGNATURE.casefold(): 9},
    )
    run = make_cleaner(rules, Survey(boilerplate=found))
    once = run("".join(parts), Counts())
    if isinstance(once, str):
        again = Counts()
        assert run(once, again) == once
        assert not again.changed
    else:
        assert once.reason == "text is empty"


@settings(max_examples=100)
@given(names=st.lists(st.sampled_from("abcdefghij"), max_size=200), capacity=st.integers(1, 8))
def test_counts_in_bounded_memory_are_too_low_by_at_most_what_was_lost(names: list[str], capacity: int) -> None:
    """The guarantee of Misra and Gries, on which finding everything that is frequent enough rests."""
    recurring = Recurring(capacity=capacity)
    for name in names:
        recurring.add(name)
        assert len(recurring.counts) <= capacity
    for name, count in Counter(names).items():
        assert recurring.counts.get(name, 0) <= count <= recurring.counts.get(name, 0) + recurring.lost
    assert recurring.lost * (capacity + 1) <= len(names)


@pytest.mark.parametrize("rule", ["iqr", "mad", "quantile"])
def test_usual_lengths(rule: str) -> None:
    """Two texts of a thousand that are very long or very short lie outside, the others inside; a few rows, or all of
    one length, tell nothing."""
    lengths = Counter({10 + number % 15: 1 for number in range(15)})
    for number in range(998):
        lengths[10 + number % 15] += 1
    lengths[1], lengths[900] = 1, 1
    settings_ = LengthOutliers.model_validate({"rule": rule, "share": 0.002})
    bounds = length_bounds(lengths, settings_)
    assert bounds is not None
    assert 1 < bounds.low <= 10
    assert 24 <= bounds.high < 900
    assert length_bounds(Counter({3: 10, 400: 10}), settings_) is None
    if rule != "quantile":
        assert length_bounds(Counter({7: 1000}), settings_) is None
    else:
        assert length_bounds(Counter({7: 1000}), settings_) == Bounds(low=7.0, high=7.0)


def test_outliers_are_reported_or_dropped() -> None:
    """By words or by characters, of the cleaned text."""
    texts = [*bodies(300), "<p>short</p>", " ".join(WORDS * 40)]
    for unit in ("words", "chars"):
        section = {"strip_html": True, "length_outliers": {"unit": unit, "action": "drop", "width": 1.5}}
        rules = Clean.model_validate(section)
        run = make_cleaner(rules, look_at_all(rules, lambda: unlabelled(texts)))
        gone = [text for text in texts if isinstance(run(text, Counts()), Rejected)]
        assert gone == texts[-2:]


def test_prepare_surveys_and_says_what_it_found(tmp_path: Path) -> None:
    """From the file to the profile: the rows are read twice and counted once, what recurs is listed with its rows, and
    the same rows give the same bytes."""
    lines = [{"text": f"{text} {UNSUBSCRIBE}", "label": "ab"[n % 2]} for n, text in enumerate(bodies(120))]
    lines.append({"text": "x", "label": "a"})
    path = write_jsonl(tmp_path / "rows.jsonl", lines)
    clean = {
        "boilerplate": {"action": "remove"},
        "length_outliers": {"action": "drop"},
        "language": {},
        "urls": "replace",
    }
    made = dataset(path, clean=clean)
    profile = read_profile(made)
    assert profile["read"] == 121
    assert profile["changed"]["boilerplate"]["rows"] == 120
    assert profile["changed"]["boilerplate"]["examples"][0].endswith(UNSUBSCRIBE)
    assert UNSUBSCRIBE not in profile["changed"]["boilerplate"]["after"][0]
    assert profile["boilerplate"]["lines"] == {UNSUBSCRIBE.casefold(): 120}
    assert profile["boilerplate"]["texts"] == 121
    assert profile["rejected"]["text is of unusual length"]["rows"] == 1
    assert profile["usual_length"]["unit"] == "words"
    assert {row["text"] for row in rows(made)} == set(bodies(120))
    (tmp_path / "again").mkdir()
    assert dataset(write_jsonl(tmp_path / "again" / "rows.jsonl", lines), clean=clean).digest == made.digest
