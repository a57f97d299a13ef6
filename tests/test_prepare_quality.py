"""The search for wrong labels: what it finds, what it does about it, and what it must leave alone."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from checkpoints import write_tiny_checkpoint

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, read_profile, read_split
from ftdeploy.errors import ArtifactError, DataError
from ftdeploy.folds import OutOfFold
from ftdeploy.prepare import prepare
from ftdeploy.prepare.quality import chosen_rows
from ftdeploy.prepare.quality.features import draw_sample, embeddings
from ftdeploy.prepare.quality.predict import Predicted
from ftdeploy.prepare.quality.rows import CHARS, Rows, read_rows
from ftdeploy.prepare.quality.suspects import Suspects, find_suspects
from ftdeploy.recipe import Quality, Recipe, load_recipe
from ftdeploy.stage import run_stage

ROOT = Path(__file__).parents[1]
SHARE = 0.05


def recipe(path: Path, **data: Any) -> Recipe:
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    source = {"source": {"path": str(path)}, "columns": {"id": "id"}}
    return Recipe.model_validate(sections | {"data": source | data})


def dataset(path: Path, name: str, **data: Any) -> Artifact:
    """Run the stage into a folder beside the file."""
    return run_stage(prepare, recipe(path, **data), {}, path.parent / name).artifact


def listed(made: Artifact, issue: str = "label") -> list[dict[str, str]]:
    with made.file("suspects.csv").open(encoding="utf-8", newline="") as handle:
        return [row for row in csv.DictReader(handle) if row["issue"] == issue]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def snippets(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Real film snippets, 2,400 of them."""
    shipped = load_recipe(ROOT / "recipes" / "sentiment.yaml", overrides=["data.limit=2400"])
    made = run_stage(prepare, shipped, {}, tmp_path_factory.mktemp("snippets") / "dataset").artifact
    rows = [row for name in SPLITS for row in read_split(made, name).to_pylist()]
    random.Random(1).shuffle(rows)  # noqa: S311 - a test
    return [{"text": row["text"], "label": row["label"], "id": row["id"]} for row in rows]


@pytest.fixture
def few(snippets: list[dict[str, Any]], tmp_path: Path) -> Path:
    """A file of 400 of them."""
    return write_rows(tmp_path / "rows.jsonl", snippets[:400])


def flip(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], set[str]]:
    """The rows with some labels flipped, and the ids of those."""
    flipped = set(random.Random(5).sample([row["id"] for row in rows], round(SHARE * len(rows))))  # noqa: S311 - a test
    other = {"positive": "negative", "negative": "positive"}
    return [row | ({"label": other[row["label"]]} if row["id"] in flipped else {}) for row in rows], flipped


def test_planted_label_errors_stand_at_the_top(snippets: list[dict[str, Any]], tmp_path: Path) -> None:
    """5% of the labels are flipped; among the first suspects they are several times as frequent, and most are found."""
    rows, flipped = flip(snippets)
    made = dataset(write_rows(tmp_path / "rows.jsonl", rows), "dataset", quality={})
    found = [row["id"] for row in listed(made)]
    top = found[:50]
    assert len(flipped.intersection(top)) / len(top) > 4 * SHARE
    assert len(flipped.intersection(found)) / len(flipped) > 0.5
    profile = read_profile(made)["quality"]
    assert profile["models"] == "tfidf"
    assert sum(part["judged"] for part in profile["splits"].values()) == made.facts["rows"]
    assert sum(part["suspects"] for part in profile["splits"].values()) == len(found)


def test_suspects_are_ranked_and_say_what_they_could_be(few: Path) -> None:
    """The surest first, over all splits; the suggested label is never the given one; the list can be cut short."""
    made = dataset(few, "dataset", quality={})
    rows = listed(made)
    confidence = [float(row["self_confidence"]) for row in rows]
    assert confidence == sorted(confidence)
    assert [int(row["rank"]) for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["suggested"] != row["label"] for row in rows)
    assert {row["split"] for row in rows} == set(SPLITS)
    ambiguous = [float(row["margin"]) for row in listed(made, "ambiguous")]
    assert ambiguous == sorted(ambiguous)
    assert ambiguous[-1] <= 0.1
    short = dataset(few, "short", quality={"listed": 3})
    assert [row["id"] for row in listed(short)] == [row["id"] for row in rows[:3]]


def test_without_the_section_nothing_is_written_or_told(few: Path) -> None:
    """Off is off: no list, no key in the profile, and the splits are those that `report` leaves."""
    off, on = dataset(few, "off"), dataset(few, "on", quality={})
    assert "suspects.csv" not in off.files
    assert "quality" not in read_profile(off)
    for name in SPLITS:
        assert off.files[f"{name}.parquet"] == on.files[f"{name}.parquet"]


def test_two_runs_give_the_same_list(few: Path) -> None:
    """Everything follows from the seed."""
    quality = {"action": "drop"}
    assert dataset(few, "one", quality=quality).digest == dataset(few, "two", quality=quality).digest


def test_drop_leaves_out_the_surest_training_rows_only(few: Path) -> None:
    """At most `max_share` of the training rows go; validation and test stay as they were; the profile counts anew."""
    kept, made = dataset(few, "kept"), dataset(few, "dropped", quality={"action": "drop", "max_share": 0.02})
    for name in ("validation", "test"):
        assert kept.files[f"{name}.parquet"] == made.files[f"{name}.parquet"]
    gone = set(read_split(kept, "train")["id"].to_pylist()) - set(read_split(made, "train")["id"].to_pylist())
    train = [row for row in listed(made) if row["split"] == "train"]
    assert len(gone) == int(0.02 * int(kept.facts["train"])) > 0
    assert gone == {row["id"] for row in train[: len(gone)]} == {row["id"] for row in train if row["action"]}
    assert {row["action"] for row in train if row["action"]} == {"dropped"}
    profile = read_profile(made)
    assert profile["quality"]["acted_on"] == len(gone)
    assert made.facts["train"] == profile["splits"]["train"]["rows"] == read_split(made, "train").num_rows
    assert sum(profile["splits"]["train"]["labels"].values()) == made.facts["train"]
    assert "weight" not in read_split(made, "train").column_names


def test_down_weight_lets_suspects_count_less(few: Path) -> None:
    """A suspect counts `weight` of what another row counts; the mean weight is 1; only train has weights."""
    made = dataset(few, "dataset", quality={"action": "down-weight", "max_share": 0.05, "weight": 0.25})
    train = read_split(made, "train")
    acted = {row["id"] for row in listed(made) if row["action"] == "down-weighted"}
    weights = dict(zip(train["id"].to_pylist(), train["weight"].to_pylist(), strict=True))
    assert str(train.schema.field("weight").type) == "float"
    assert np.mean(list(weights.values())) == pytest.approx(1, abs=1e-6)
    assert acted
    others = {weight for name, weight in weights.items() if name not in acted}
    assert len(others) == 1
    assert [weights[name] for name in acted] == pytest.approx([0.25 * others.pop()] * len(acted))
    assert "weight" not in read_split(made, "test").column_names


def test_weights_of_the_sources_are_multiplied(few: Path) -> None:
    """Rows of a source that weighs three times as much still do, suspects or not."""
    rows = [json.loads(line) for line in few.read_text(encoding="utf-8").splitlines()]
    for name, part in (("a", rows[:200]), ("b", rows[200:])):
        write_rows(few.with_name(f"{name}.jsonl"), part)
    sources = [{"path": str(few.with_name(f"{name}.jsonl")), "name": name, "weight": weight}
               for name, weight in (("a", 1), ("b", 3))]  # fmt: skip
    quality = {"action": "down-weight", "max_share": 0.1, "weight": 0.5}
    made = dataset(few, "dataset", source=None, sources=sources, slices=["source"], quality=quality)
    train = read_split(made, "train").to_pylist()
    least = min(row["weight"] for row in train)
    assert {round(row["weight"] / least, 4) for row in train if row["source"] == "a"} == {1, 2}
    assert {round(row["weight"] / least, 4) for row in train if row["source"] == "b"} == {3, 6}
    assert np.mean([row["weight"] for row in train]) == pytest.approx(1, abs=1e-6)


def test_rows_unlike_all_others_are_outliers(snippets: list[dict[str, Any]], tmp_path: Path) -> None:
    """Lines of code and numbers among film snippets stand at the top of the outlying rows."""
    code = ["for (int i = 0; i < n; ++i) { sum += xs[i]; }", "git rebase -i HEAD~3 && npm ci --no-audit",
            "0044 7700 900123 / 900124"]  # fmt: skip
    odd = [{"text": text, "label": "positive", "id": f"odd-{n}"} for n, text in enumerate(code)]
    made = dataset(write_rows(tmp_path / "rows.jsonl", [*snippets[:400], *odd]), "dataset", quality={})
    assert {row["id"] for row in listed(made, "outlier")[:12]} >= {row["id"] for row in odd}


def test_cells_of_the_list_are_no_formulas(few: Path, snippets: list[dict[str, Any]]) -> None:
    """A text or id that a spreadsheet would run is shown with an apostrophe before it."""
    rows = [row | {"text": f"=1+{n} {row['text']}", "id": f"@{n}"} for n, row in enumerate(snippets[:100])]
    made = dataset(write_rows(few, rows), "dataset", quality={})
    every = [*listed(made), *listed(made, "ambiguous")]
    assert every
    assert {row["text"][:2] for row in every} == {"'="}
    assert {row["id"][:2] for row in every} == {"'@"}


def out_of_fold(made: Artifact, path: Path, *, sure_of: str, label: str) -> Path:
    """A file of predictions for the train and validation rows: as labelled, but for one row."""
    rows = [row for name in ("train", "validation") for row in read_split(made, name).to_pylist()]
    names = ("positive", "negative")
    said = [label if row["id"] == sure_of else row["label"] for row in rows]
    OutOfFold(
        ids=tuple(row["id"] for row in rows),
        labels=tuple(row["label"] for row in rows),
        fold=np.zeros(len(rows), dtype=np.int64),
        probabilities=np.array([[0.9 if name == one else 0.1 for name in names] for one in said], dtype=np.float32),
        names=names,
    ).write(path)
    return path


def test_predictions_of_cross_validation_decide(few: Path) -> None:
    """The one row that they contradict is the one suspect; rows that they do not have are not judged."""
    plain = dataset(few, "plain")
    row = read_split(plain, "train").to_pylist()[7]
    other = "positive" if row["label"] == "negative" else "negative"
    file = out_of_fold(plain, few.with_name("out_of_fold.parquet"), sure_of=row["id"], label=other)
    made = dataset(few, "dataset", quality={"out_of_fold": str(file)})
    assert [(found["id"], found["suggested"]) for found in listed(made)] == [(row["id"], other)]
    splits = read_profile(made)["quality"]["splits"]
    assert {name: part["judged"] for name, part in splits.items()} == {
        "train": made.facts["train"], "validation": made.facts["validation"], "test": 0,
    }  # fmt: skip


def test_predictions_for_other_rows_are_refused(few: Path) -> None:
    """Of another labelling, of other rows, missing, or no predictions at all: an error, and never a guess."""
    plain = dataset(few, "plain")
    file = out_of_fold(plain, few.with_name("out_of_fold.parquet"), sure_of="", label="")
    rows = [json.loads(line) for line in few.read_text(encoding="utf-8").splitlines()]
    quality = {"out_of_fold": str(file)}
    write_rows(few, [row | {"label": {"positive": "negative", "negative": "positive"}[row["label"]]} for row in rows])
    with pytest.raises(DataError, match="another label than the data"):
        dataset(few, "dataset", quality=quality)
    write_rows(few, [row | {"id": f"new-{row['id']}"} for row in rows])
    with pytest.raises(DataError, match="none of the training rows"):
        dataset(few, "dataset", quality=quality)
    file.write_bytes(few.read_bytes())
    with pytest.raises(ArtifactError, match="does not hold out-of-fold predictions"):
        dataset(few, "dataset", quality=quality)
    file.unlink()
    with pytest.raises(DataError, match="does not exist"):
        dataset(few, "dataset", quality=quality)


def test_a_changed_file_of_predictions_is_noticed(few: Path) -> None:
    """Its content is in the key: with other predictions the stage runs again."""
    plain = dataset(few, "plain")
    row = read_split(plain, "train").to_pylist()[7]
    file = out_of_fold(plain, few.with_name("out_of_fold.parquet"), sure_of="", label="")
    first = dataset(few, "dataset", quality={"out_of_fold": str(file)})
    out_of_fold(plain, file, sure_of=row["id"], label="positive" if row["label"] == "negative" else "negative")
    assert dataset(few, "dataset", quality={"out_of_fold": str(file)}).key != first.key


def test_a_second_model_on_embeddings_is_averaged(few: Path, tmp_path: Path) -> None:
    """With an encoder the profile names it, the list changes, and no temporary file is left."""
    write_tiny_checkpoint(tmp_path / "checkpoint")
    plain = dataset(few, "plain", quality={})
    made = dataset(few, "dataset", quality={"encoder": {"path": str(tmp_path / "checkpoint")}})
    assert read_profile(made)["quality"]["models"] == "tfidf + encoder"
    assert made.files["suspects.csv"] != plain.files["suspects.csv"]
    assert made.files.keys() == plain.files.keys()


def test_embeddings_depend_on_the_text_alone(few: Path, tmp_path: Path) -> None:
    """Unit length, and the same whatever else is in the batch."""
    made = dataset(few, "plain")
    rows = read_rows(made.path, ("negative", "positive"))
    some = np.array([3, 30, 40])
    folder = tmp_path / "scratch"
    folder.mkdir()
    write_tiny_checkpoint(tmp_path / "checkpoint")
    origin = Quality.model_validate({"encoder": {"path": str(tmp_path / "checkpoint")}}).encoder
    assert origin is not None
    features = embeddings(rows, some, origin, folder)
    every = np.concatenate(list(features.batches("train")))
    assert np.linalg.norm(every, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(features.sample, every[some])
    table = pq.read_table(rows["train"].path).take(some)
    (tmp_path / "alone").mkdir()
    pq.write_table(table, tmp_path / "alone" / "train.parquet")
    for name in ("validation", "test"):
        pq.write_table(table, tmp_path / "alone" / f"{name}.parquet")
    alone = embeddings(read_rows(tmp_path / "alone", ("negative", "positive")), np.arange(3), origin, folder)
    assert alone.sample == pytest.approx(features.sample, abs=1e-5)


def numbered(label: Sequence[int], chars: int = 10) -> Rows:
    count = len(label)
    return Rows(path=Path("none"), ids=[f"r{n}" for n in range(count)], label=np.array(label, dtype=np.int64),
                chars=np.full(count, chars))  # fmt: skip


def test_models_are_fitted_on_a_bounded_sample_with_every_label() -> None:
    """However many rows, so many characters; a label of one row in 30,000 is in it."""
    label = [0] * 29_999 + [1]
    sample = draw_sample(numbered(label, chars=CHARS), 13)
    assert len(sample) * CHARS <= 10_000_000
    assert 29_999 in sample
    assert np.array_equal(sample, draw_sample(numbered(label, chars=CHARS), 13))
    assert len(draw_sample(numbered(label[:500]), 13)) == 500


def test_no_label_is_dropped_altogether() -> None:
    """When every row of a label is suspect, they stay: a model cannot learn a label that it never sees."""
    train = numbered([0, 0, 0, 0, 1, 1])
    nothing = np.zeros(6)
    found = Suspects(self_confidence=nothing, margin=nothing, typicality=nothing, suggested=1 - train.label,
                     places={"label": np.array([4, 0, 5])})  # fmt: skip
    assert chosen_rows(found, train, Quality(action="drop", max_share=0.5)).tolist() == [0]
    assert chosen_rows(found, train, Quality()).tolist() == []


def test_confident_contradictions_are_suspect_and_even_odds_ambiguous() -> None:
    """Where models are sure, a row labelled otherwise is suspect; a row that they cannot tell is ambiguous."""
    label = [0] * 20 + [1] * 20
    said = np.array([[0.95, 0.05]] * 20 + [[0.05, 0.95]] * 20)
    said[3] = [0.02, 0.98]
    said[30] = [0.49, 0.51]
    predicted = Predicted(known=np.ones(40, dtype=bool), probabilities=said.astype(np.float32))
    found = find_suspects(numbered(label), predicted, np.ones(40))
    assert found.places["label"].tolist() == [3]
    assert found.places["ambiguous"].tolist() == [30]
    assert found.places["outlier"].tolist() == []


def test_predictions_and_quick_models_exclude_each_other() -> None:
    """Naming both is an error of the recipe."""
    with pytest.raises(ValueError, match="exclude each other"):
        Quality.model_validate({"out_of_fold": "x.parquet", "encoder": {"path": "y"}})
