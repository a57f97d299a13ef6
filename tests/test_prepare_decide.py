"""Near duplicates, sample and splits together, from the file to the profile; what is kept does not depend on order."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_prepare import dataset, many, recipe, rows, write_jsonl

from ftdeploy import progress
from ftdeploy.dataset import read_profile
from ftdeploy.errors import DataError
from ftdeploy.prepare.near import estimate, sketch

WORDS = [f"{first}{second}{third}" for first in "bdfgklm" for second in "aeiou" for third in "bdklmn"]


def families(count: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Texts of 40 words, each beside two copies in which one word is another one; and as many that stand alone."""
    draw = random.Random(seed)  # noqa: S311 - test data
    made = []
    for number in range(count):
        text = draw.choices(WORDS, k=40)
        for copy in range(3):
            words = [*text]
            if copy:
                words[5 + 20 * (copy - 1)] = draw.choice(WORDS)
            made.append({"text": " ".join(words), "label": "ab"[number % 2], "id": f"f{number}-{copy}"})
        alone = " ".join(draw.choices(WORDS, k=40))
        made.append({"text": alone, "label": draw.choice("ab"), "id": f"alone{number}"})
    return made


def splits_of(found: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The splits in which each family stands."""
    splits: dict[str, set[str]] = {}
    for row in found:
        splits.setdefault(row["id"].split("-")[0], set()).add(row["split"])
    return splits


def test_near_duplicates_stand_on_one_side_by_default(tmp_path: Path) -> None:
    """Copies with a word changed are in the split of their original, none is lost, and the profile shows them; without
    it they are torn apart."""
    path = write_jsonl(tmp_path / "rows.jsonl", families(60))
    made = dataset(path, columns={"id": "id"})
    assert all(len(splits) == 1 for splits in splits_of(rows(made)).values())
    assert made.facts["rows"] == 240
    found = read_profile(made)["near_duplicates"]
    assert (found["clusters"], found["rows"], found["largest"]) == (60, 180, 3)
    assert (found["dropped"], found["across_splits"], found["mixed_labels"]) == (0, 0, 0)
    assert len(found["examples"]) == 3
    assert all(len({name.split("-")[0] for name in example["ids"]}) == 1 for example in found["examples"])
    assert all(len(text) <= 83 for example in found["examples"] for text in example["texts"])
    report = dataset(path, columns={"id": "id"}, duplicates={"near": "report"})
    assert read_profile(report)["near_duplicates"]["across_splits"] > 0
    ignored = dataset(path, columns={"id": "id"}, duplicates={"near": "ignore"})
    assert "near_duplicates" not in read_profile(ignored)
    assert max(len(splits) for splits in splits_of(rows(ignored)).values()) > 1


def test_dropping_keeps_one_of_each_family_whatever_the_order(tmp_path: Path) -> None:
    """One of three stays, like both others, and the same one in any order of the rows; rejected rows say why."""
    import pyarrow.parquet as pq

    lines = families(40)
    made = dataset(write_jsonl(tmp_path / "rows.jsonl", lines), columns={"id": "id"}, duplicates={"near": "drop"})
    kept = [row["id"] for row in rows(made)]
    assert Counter(name.split("-")[0] for name in kept) == Counter({line["id"].split("-")[0] for line in lines})
    assert read_profile(made)["near_duplicates"]["dropped"] == 80
    reasons = pq.read_table(made.file("rejected.parquet"))["reason"].to_pylist()
    assert reasons == ["near duplicate of another row"] * 80
    (tmp_path / "b").mkdir()
    random.Random(3).shuffle(lines)  # noqa: S311 - test data
    turned = write_jsonl(tmp_path / "b" / "rows.jsonl", lines)
    again = dataset(turned, columns={"id": "id"}, duplicates={"near": "drop"})
    assert {row["id"] for row in rows(again)} == set(kept)


def test_dropping_keeps_what_has_another_label(tmp_path: Path) -> None:
    """A word can turn the meaning: of near duplicates with two labels one of each stays, on one side."""
    lines = families(40)
    for line in lines:
        line["label"] = "b" if line["id"].endswith("-2") else "a" if "-" in line["id"] else line["label"]
    made = dataset(write_jsonl(tmp_path / "rows.jsonl", lines), columns={"id": "id"}, duplicates={"near": "drop"})
    labels: dict[str, list[str]] = {}
    for row in rows(made):
        labels.setdefault(row["id"].split("-")[0], []).append(row["label"])
    assert all(sorted(found) == ["a", "b"] for name, found in labels.items() if name.startswith("f"))
    assert all(len(splits) == 1 for splits in splits_of(rows(made)).values())
    assert read_profile(made)["near_duplicates"]["mixed_labels"] == 40


def test_a_sample_keeps_families_together_too(tmp_path: Path) -> None:
    """`limit` takes its rows after near duplicates are dropped, and what is left of a family stays together."""
    path = write_jsonl(tmp_path / "rows.jsonl", families(60))
    made = dataset(path, columns={"id": "id"}, limit=100)
    assert made.facts["rows"] == 100
    assert all(len(splits) == 1 for splits in splits_of(rows(made)).values())
    dropped = dataset(path, columns={"id": "id"}, limit=100, duplicates={"near": "drop"})
    assert dropped.facts["rows"] == 100
    assert max(Counter(row["id"].split("-")[0] for row in rows(dropped)).values()) == 1


def test_threshold_and_shingles_decide_what_is_near(tmp_path: Path) -> None:
    """A changed word in 40 is near at 0.8 and not at 0.97; single words are more alike than pairs of words."""
    path = write_jsonl(tmp_path / "rows.jsonl", families(40))
    assert "near_duplicates" not in read_profile(dataset(path, duplicates={"threshold": 0.99}))
    counts = [
        read_profile(dataset(path, duplicates={"threshold": 0.9, "size": size}))["near_duplicates"]["pairs"]
        for size in (1, 2)
    ]
    assert counts[0] > counts[1] > 0


def test_similarity_in_the_profile_is_that_of_the_texts(tmp_path: Path) -> None:
    """Each example's number is what two sketches of its texts give."""
    lines = families(10)
    texts = {line["id"]: line["text"] for line in lines}
    found = read_profile(dataset(write_jsonl(tmp_path / "rows.jsonl", lines), columns={"id": "id"}))["near_duplicates"]
    for example in found["examples"]:
        both = sketch([texts[name] for name in example["ids"]], shingles="words", size=2)
        assert example["similarity"] == pytest.approx(float(estimate(both[:1], both[1:])[0]), abs=0.006)
        assert example["similarity"] >= 0.8


def test_one_large_family_is_told(tmp_path: Path, heard: list[str]) -> None:
    """A chain that ties a tenth of all rows together is told, with the key that parts it."""
    draw = random.Random(1)  # noqa: S311 - test data
    words, chain = draw.choices(WORDS, k=40), []
    for place in range(30):
        words[place] = draw.choice(WORDS)
        chain.append({"text": " ".join(words), "label": "ab"[place % 2]})
    dataset(write_jsonl(tmp_path / "rows.jsonl", [*many(120), *chain]))
    assert any("one cluster" in line and "data.duplicates.threshold" in line for line in heard)


@pytest.fixture
def heard() -> Any:
    """What the library said during the test."""
    said: list[str] = []

    class Listening(progress._Silent):
        def say(self, message: str) -> None:
            said.append(message)

    with progress.reporting(Listening()):
        yield said


def test_rare_labels_are_told_and_kept_in_the_profile(tmp_path: Path, heard: list[str]) -> None:
    """Shares of all labels in a line; a label with few rows by name, with its rows by split."""
    lines = [*many(300), *({"text": f"seldom {n}", "label": "rare"} for n in range(12))]
    profile = read_profile(dataset(write_jsonl(tmp_path / "rows.jsonl", lines)))
    assert list(profile["balance"]["rare"]) == ["rare"]
    seen = {name: split["labels"]["rare"] for name, split in profile["splits"].items()}
    assert profile["balance"]["rare"]["rare"] == seen
    assert sum(profile["balance"]["shares"].values()) == pytest.approx(1, abs=2e-4)
    assert profile["balance"]["shares"]["rare"] == pytest.approx(12 / 312, abs=1e-4)
    counts = Counter(line["label"] for line in lines)
    assert profile["balance"]["imbalance"] == pytest.approx(max(counts.values()) / 12, abs=0.01)
    assert any(line.startswith("labels: ") and "rare 3.8%" in line for line in heard)
    listed = ", ".join(f"{count} in {name}" for name, count in seen.items())
    assert any(line.startswith("rare labels") and f"rare ({listed})" in line for line in heard)


def test_labels_that_differ_in_case_alone_are_told(tmp_path: Path, heard: list[str]) -> None:
    """They may be meant so, as names of genes are; the way to make them one is said."""
    lines = [{**row, "label": ("Good", "bad", "good")[at % 3]} for at, row in enumerate(many(90))]
    dataset(write_jsonl(tmp_path / "rows.jsonl", lines))
    (told,) = (line for line in heard if "case alone" in line)
    assert "'Good' and 'good'" in told
    assert "`label_map`" in told
    heard.clear()
    dataset(write_jsonl(tmp_path / "others.jsonl", many(90)))
    assert not [line for line in heard if "case alone" in line]


def test_labels_in_balance_leave_no_trace(tmp_path: Path) -> None:
    """The profile has the key only where a label is rare."""
    assert "balance" not in read_profile(dataset(write_jsonl(tmp_path / "rows.jsonl", many(400))))


def test_label_missing_in_a_split_names_the_way_out(tmp_path: Path) -> None:
    """Without stratifying, chance can leave a rare label out of a split."""
    lines = [*many(1000), *({"text": f"hardly any {n}", "label": "rare"} for n in range(3))]
    with pytest.raises(DataError, match="'rare' in") as caught:
        dataset(write_jsonl(tmp_path / "rows.jsonl", lines), split={"stratify": False})
    assert "stratify: true" in caught.value.fix


def test_keeping_what_is_equal_and_dropping_what_is_near_is_refused() -> None:
    """What is equal is nearly equal too."""
    with pytest.raises(ValueError, match="exclude each other"):
        recipe(Path("rows.jsonl"), duplicates={"exact": "keep", "near": "drop"})
