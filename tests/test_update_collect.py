"""New labelled rows: from files and feedback, tidied as the champion's, without what it has seen."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_prepare import many, write_jsonl
from test_serve_traffic import DIGEST, answered

from ftdeploy.artifact import Artifact
from ftdeploy.errors import DataError
from ftdeploy.pairs import join
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe
from ftdeploy.serve.traffic import Feedback, Recorder
from ftdeploy.serve.traffic_options import TrafficOptions
from ftdeploy.stage import run_stage
from ftdeploy.tasks import TASKS
from ftdeploy.update.collect import NewRows, TooFewRows, collect, keys_of

NOTHING = np.empty((0, 2), dtype=np.uint64)


def recipe(path: Path, **data: object) -> Recipe:
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    return Recipe.model_validate(sections | {"data": {"source": {"path": str(path)}} | data})


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Artifact]:
    folder = tmp_path_factory.mktemp("champion")
    rows = [{**row, "label": "ab"[place % 2], "shop": "east"} for place, row in enumerate(many(80))]
    made = recipe(write_jsonl(folder / "rows.jsonl", rows), slices=["shop"], privacy={})
    return made, run_stage(prepare, made, {}, folder / "dataset").artifact


def read(champion: tuple[Recipe, Artifact], tmp_path: Path, *, files: list[Path] | None = None,
         traffic: Path | None = None, seen: list[str] | None = None) -> NewRows:  # fmt: skip
    made, dataset = champion
    return collect(made, dataset, files=files or [], traffic=traffic, work=tmp_path / "work",
                   seen=keys_of(seen) if seen else NOTHING)  # fmt: skip


def test_rows_that_the_champion_has_seen_are_no_news(champion: tuple[Recipe, Artifact], tmp_path: Path) -> None:
    """In its dataset or in an update before, whatever the case; counted, and those with another label told."""
    rows = [
        {"text": "A new text", "label": "a", "shop": "west"},
        {"text": "a  NEW text", "label": "a", "shop": "west"},
        {"text": "Text number 3", "label": "a", "shop": "west"},
        {"text": "text number 4", "label": "a", "shop": "west"},
        {"text": "seen before", "label": "b", "shop": "west"},
        {"text": "", "label": "b", "shop": "west"},
    ]
    found = read(champion, tmp_path, files=[write_jsonl(tmp_path / "new.jsonl", rows)], seen=["Seen before"])
    assert found.table.to_pylist() == [
        {"text": "A new text", "label": "a", "group": None, "id": "new:row-1", "shop": "west"}
    ]
    assert (found.read, found.rejected, found.repeated, found.known, found.relabelled) == (6, 1, 1, 3, 1)
    assert found.said() == (
        "1 new of 6 labelled rows; 1 set aside; 1 repeated; 3 known to the champion; of the known ones 1 with another "
        "label, which is not learned"
    )


def test_the_digest_is_of_texts_and_labels_alone(champion: tuple[Recipe, Artifact], tmp_path: Path) -> None:
    """Neither the file's name nor the order of its rows makes another update."""
    rows = [{"text": f"fresh {number}", "label": "ab"[number % 2], "shop": "x"} for number in range(6)]
    one = read(champion, tmp_path, files=[write_jsonl(tmp_path / "one.jsonl", rows)])
    two = read(champion, tmp_path, files=[write_jsonl(tmp_path / "two.jsonl", rows[::-1])])
    rows[0]["label"] = "b"
    other = read(champion, tmp_path, files=[write_jsonl(tmp_path / "one.jsonl", rows)])
    assert one.digest == two.digest != other.digest


def test_what_identifies_people_is_replaced_before_it_is_kept(
    champion: tuple[Recipe, Artifact], tmp_path: Path
) -> None:
    """As in the champion's dataset; nothing that was read stays behind."""
    rows = [{"text": "write to ada.lovelace@example.org today", "label": "a", "shop": "x"}]
    found = read(champion, tmp_path, files=[write_jsonl(tmp_path / "new.jsonl", rows)])
    assert "lovelace" not in str(found.table.to_pylist())
    assert not (tmp_path / "work").exists()


def test_labels_that_the_champion_does_not_have_are_refused(champion: tuple[Recipe, Artifact], tmp_path: Path) -> None:
    """With what may have been meant; some labels may be missing."""
    rows = [{"text": f"fresh {number}", "label": "a", "shop": "x"} for number in range(4)]
    assert len(read(champion, tmp_path, files=[write_jsonl(tmp_path / "new.jsonl", rows)])) == 4
    rows[0]["label"] = "A!"
    with pytest.raises(DataError, match="'A!'"):
        read(champion, tmp_path, files=[write_jsonl(tmp_path / "new.jsonl", rows)])


def test_files_want_the_columns_of_the_recipe(champion: tuple[Recipe, Artifact], tmp_path: Path) -> None:
    """A file without them is refused by its name."""
    with pytest.raises(DataError, match="label"):
        read(champion, tmp_path, files=[write_jsonl(tmp_path / "new.jsonl", [{"text": "t", "sort": "a"}])])


def serve(folder: Path, *, labels: dict[int, str], text: bool = True) -> None:
    """Eight answered texts, some with a true label."""
    recorder = Recorder(folder, digest=DIGEST, options=TrafficOptions(text=text))
    for number in range(8):
        recorder.record(replace(answered(f"r{number}"), texts=[f"asked {number}"]))
    if labels:
        recorder.record_feedback([Feedback(id=f"r{number}", row=0, label=label, time=time.time())
                                  for number, label in labels.items()])  # fmt: skip
    recorder.close()


def test_feedback_is_learned_from_where_texts_were_kept(champion: tuple[Recipe, Artifact], tmp_path: Path) -> None:
    """Answered texts without a true label are none; columns that traffic does not have are empty."""
    serve(tmp_path / "traffic", labels={2: "a", 5: "b"})
    found = read(champion, tmp_path, traffic=tmp_path / "traffic")
    assert found.table.to_pylist() == [
        {"text": "asked 2", "label": "a", "group": None, "id": "feedback:r2-0", "shop": None},
        {"text": "asked 5", "label": "b", "group": None, "id": "feedback:r5-0", "shop": None},
    ]
    files = [write_jsonl(tmp_path / "new.jsonl", [{"text": "fresh", "label": "a", "shop": "x"}])]
    both = read(champion, tmp_path, files=files, traffic=tmp_path / "traffic")
    assert both.table["id"].to_pylist() == ["new:row-1", "feedback:r2-0", "feedback:r5-0"]


@pytest.mark.parametrize(
    ("labels", "text", "said"),
    [
        ({}, True, "none of the 8 recorded answers in .* has a true label"),
        ({1: "a"}, False, "1 answers in .* have a true label, and none of them its text"),
    ],
)
def test_feedback_that_nothing_can_be_learned_from(champion: tuple[Recipe, Artifact], tmp_path: Path,
                                                   labels: dict[int, str], text: bool, said: str) -> None:  # fmt: skip
    """No labels, or no texts: told apart, since what is to be done differs."""
    serve(tmp_path / "traffic", labels=labels, text=text)
    with pytest.raises(TooFewRows, match=said):
        read(champion, tmp_path, traffic=tmp_path / "traffic")


#: Task -> the rows of a champion, and what a service was told of the eight texts that it answered.
OF_OTHER_TASKS: dict[str, tuple[list[Any], dict[int, str]]] = {
    "multi-label-classification": (["a|b", "a", "|"], {2: '["b"]', 5: "[]", 6: "b"}),
    "token-classification": (
        [[{"start": 0, "end": 4, "label": "a"}], [], [[5, 11, "b"]]],
        {2: '[[0,5,"a"]]', 5: "[]", 6: '[[0,90,"a"]]'},
    ),
    "text-regression": ([1.5, "2", 3], {2: "-4.25", 5: "7", 6: "a"}),
}


def made_of(task: str, folder: Path) -> tuple[Recipe, Artifact]:
    """A champion's recipe and dataset."""
    labels, _ = OF_OTHER_TASKS[task]
    rows = [{"text": row["text"], "told": labels[place % len(labels)]} for place, row in enumerate(many(80))]
    separator = {"label_separator": "|"} if TASKS[task].multi_label else {}
    sections = {"version": 1, "name": "demo", "task": task, "model": {"path": "none"}}
    data = {"source": {"path": str(write_jsonl(folder / "rows.jsonl", rows))}, "columns": {"label": "told"} | separator}
    made = Recipe.model_validate(sections | {"data": data})
    return made, run_stage(prepare, made, {}, folder / "dataset").artifact


@pytest.mark.parametrize("task", OF_OTHER_TASKS)
def test_feedback_of_each_task_is_a_row_that_its_prepare_reads(task: str, tmp_path: Path) -> None:
    """Sets, none of them too, entities, and numbers; a label that does not fit its text is left out and counted, since
    nobody can correct what was once sent."""
    champion, (_, labels) = made_of(task, tmp_path), OF_OTHER_TASKS[task]
    serve(tmp_path / "traffic", labels=labels)
    found = read(champion, tmp_path, traffic=tmp_path / "traffic")
    assert found.table["text"].to_pylist() == ["asked 2", "asked 5"]
    assert found.table["label"].to_pylist() == [labels[2], labels[5]]
    assert found.misfits == 1
    assert "1 from feedback left out, whose label does not fit the text" in found.said()


@pytest.mark.parametrize(
    ("task", "cell", "label"),
    [
        ("multi-label-classification", "b|a", '["a", "b"]'),
        ("token-classification", [[2, 7, "b"]], '[[2,7,"b"]]'),
        ("text-regression", "1e1", "10"),
    ],
)
def test_files_of_each_task_are_read_by_its_recipe(task: str, cell: Any, label: str, tmp_path: Path) -> None:
    """Beside feedback, which is written in a form of its own: what stands between names is no column of either."""
    champion, (_, labels) = made_of(task, tmp_path), OF_OTHER_TASKS[task]
    serve(tmp_path / "traffic", labels={2: labels[2]})
    files = [write_jsonl(tmp_path / "new.jsonl", [{"text": "a fresh text", "told": cell}])]
    found = read(champion, tmp_path, files=files, traffic=tmp_path / "traffic")
    assert found.table["label"].to_pylist() == [label, labels[2]]


@pytest.mark.parametrize(
    ("task", "label"),
    [("multi-label-classification", "a|z"), ("token-classification", [[0, 1, "a"], [2, 7, "b"], [8, 12, "z"]])],
)
def test_every_name_in_a_label_must_be_the_champions(task: str, label: Any, tmp_path: Path) -> None:
    """One behind others, too, by which no row is counted."""
    champion = made_of(task, tmp_path)
    files = [write_jsonl(tmp_path / "new.jsonl", [{"text": "a fresh text", "told": label}])]
    with pytest.raises(DataError, match=r"'z' \(1 rows"):
        read(champion, tmp_path, files=files)


def test_feedback_of_which_nothing_fits_is_told(tmp_path: Path) -> None:
    """As of a service that had another task before."""
    champion = made_of("text-regression", tmp_path)
    serve(tmp_path / "traffic", labels={1: "a", 2: "b"})
    with pytest.raises(TooFewRows, match=r"2 recorded texts in .* none of the labels fits its text"):
        read(champion, tmp_path, traffic=tmp_path / "traffic")


def test_new_rows_of_a_model_of_pairs_are_pairs(tmp_path: Path) -> None:
    """Out of files, with the recipe's columns, and out of feedback, as the service keeps them; a known first text with
    another second one is news."""
    columns = {"text": "claim", "text_pair": "evidence", "label": "label"}
    rows = [{"claim": row["text"], "evidence": "seen", "label": "ab"[n % 2]} for n, row in enumerate(many(80))]
    made = recipe(write_jsonl(tmp_path / "rows.jsonl", rows), columns=columns)
    champion = made, run_stage(prepare, made, {}, tmp_path / "dataset").artifact
    fresh = [{**rows[0], "evidence": "unseen"}, rows[1], {"claim": "half", "evidence": "", "label": "a"}]
    folder = tmp_path / "traffic"
    recorder = Recorder(folder, digest=DIGEST, options=TrafficOptions(text=True), pairs=True)
    recorder.record(replace(answered("r1"), labels=["a"], texts=[join("a claim", "what was said")]))
    recorder.record_feedback([Feedback(id="r1", row=0, label="b", time=time.time())])
    recorder.close()
    found = read(champion, tmp_path, files=[write_jsonl(tmp_path / "new.jsonl", fresh)], traffic=folder)
    assert found.table["text"].to_pylist() == [join(rows[0]["claim"], "unseen"), join("a claim", "what was said")]
    assert (found.read, found.rejected, found.known) == (4, 1, 1)


QUEUE = "request,row,time,predicted,confidence,novelty,label,text\n"


@pytest.mark.parametrize(
    ("task", "filled", "expected"),
    [
        ("multi-label-classification", ['"[""b""]"', "a|b", "[]", "|"], ['["b"]', '["a", "b"]', "[]", "[]"]),
        ("token-classification", ['"[[0, 5, ""a""]]"', "[]"], ['[[0,5,"a"]]', "[]"]),
        ("text-regression", ["2.5"], ["2.5"]),
    ],
)
def test_rows_of_a_queue_that_nobody_has_filled_in_are_left_out(
    task: str, filled: list[str], expected: list[str], tmp_path: Path
) -> None:
    """They are counted and told, and not taught as rows without a label; the queue's columns are its own, whatever the
    recipe calls them, and what was predicted may be copied as it stands."""
    champion = made_of(task, tmp_path)
    cells = [*filled, "", " "]
    lines = [f"r{n},0,1.0,x,0.5,0.5,{cell},fresh text {n}\n" for n, cell in enumerate(cells)]
    (tmp_path / "to_label.csv").write_text(QUEUE + "".join(lines), encoding="utf-8")
    found = read(champion, tmp_path, files=[tmp_path / "to_label.csv"])
    assert found.table["label"].to_pylist() == expected
    assert (found.unlabelled, found.rejected) == (2, 2)
    assert f"{len(filled)} new of {len(filled)} labelled rows; 2 left out, as nobody has labelled them" in found.said()
    assert "set aside" not in found.said()


def test_a_queue_that_nobody_has_filled_in_is_refused(tmp_path: Path) -> None:
    """And any file of sets whose cells are all empty; each by its name."""
    champion = made_of("multi-label-classification", tmp_path)
    (tmp_path / "to_label.csv").write_text(QUEUE + "r1,0,1.0,x,0.5,0.5,,a text\n", encoding="utf-8")
    (tmp_path / "own.csv").write_text("text,told\nanother text,\n", encoding="utf-8")
    for name, column in (("to_label.csv", "label"), ("own.csv", "told")):
        with pytest.raises(DataError, match=f"{name}: the column '{column}' is empty in all 1 rows") as caught:
            read(champion, tmp_path, files=[tmp_path / name])
        assert "`[]` where no label holds" in caught.value.fix


def test_an_empty_cell_in_a_file_of_ones_own_means_what_the_recipe_says(tmp_path: Path) -> None:
    """It is no queue: no label holds, as in the champion's own rows."""
    champion = made_of("multi-label-classification", tmp_path)
    (tmp_path / "own.csv").write_text("text,told\none text,\nanother text,a\n", encoding="utf-8")
    found = read(champion, tmp_path, files=[tmp_path / "own.csv"])
    assert found.table["label"].to_pylist() == ["[]", '["a"]']
