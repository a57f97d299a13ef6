"""Data sets in the hub's layout, in local folders: configurations, class labels, files of each kind."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.errors import DataError
from ftdeploy.origin import Source
from ftdeploy.prepare.hub import read_hub
from ftdeploy.prepare.read import read_rows

#: pandas, with which the library reads CSV, leaves the file to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
README = """---
license: mit
configs:
- config_name: short
  data_files:
  - {split: train, path: short/train.csv}
  - {split: test, path: short/test.csv}
- config_name: long
  data_files:
  - {split: train, path: long/train.csv}
---
# A data set
"""
ROWS = [{"text": f"text {place}", "label": "ab"[place % 2]} for place in range(6)]


def as_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "hub"
    as_csv(made / "short" / "train.csv", ROWS)
    as_csv(made / "short" / "test.csv", ROWS[:2])
    as_csv(made / "long" / "train.csv", [row | {"text": "long"} for row in ROWS])
    (made / "README.md").write_text(README)
    return made


def test_configuration_and_split_are_chosen(folder: Path) -> None:
    """Two configurations named in the README's YAML, as folders of CSV files."""
    assert list(read_hub(folder, split="train", subset="short")) == ROWS
    assert list(read_hub(folder, split="test", subset="short")) == ROWS[:2]
    assert {row["text"] for row in read_hub(folder, split="train", subset="long")} == {"long"}


@pytest.mark.parametrize(
    ("split", "subset", "words"),
    [("train", None, "short.*long"), ("train", "brief", "brief"), ("validation", "short", "validation")],
)
def test_what_is_not_there_is_an_error(folder: Path, split: str, subset: str | None, words: str) -> None:
    """No configuration where there are several, or one or a split that the data set does not have."""
    with pytest.raises(DataError, match=words):
        list(read_hub(folder, split=split, subset=subset))


@pytest.mark.parametrize("declared", ["parquet", "readme"])
def test_class_numbers_become_names(tmp_path: Path, declared: str) -> None:
    """ClassLabel, in the parquet file's own metadata or in the README; -1 is no label, and lists of numbers are lists
    of names."""
    import datasets

    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["negative", "positive"]),
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B-X"])),
        }
    )
    rows = [{"text": "x", "label": 1, "tags": [0, 1]}, {"text": "y", "label": -1, "tags": []}]
    folder = tmp_path / "hub"
    (folder / "data").mkdir(parents=True)
    if declared == "parquet":
        datasets.Dataset.from_list(rows, features=features).to_parquet(str(folder / "data" / "train-0.parquet"))
    else:
        (folder / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        import yaml

        listed = features._to_yaml_list()
        (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'dataset_info': {'features': listed}})}---\n")
    assert list(read_hub(folder, split="train", subset=None)) == [
        {"text": "x", "label": "positive", "tags": ["O", "B-X"]},
        {"text": "y", "label": None, "tags": []},
    ]


def test_a_parquet_file_by_its_path_has_the_names_that_it_has_in_its_folder(tmp_path: Path) -> None:
    """Who names the file that the `datasets` library wrote gets the labels that it declares and no numbers, and a row
    without a label (-1) is none of a class called -1."""
    import datasets

    names = datasets.ClassLabel(names=["negative", "positive"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    rows = [{"text": text, "label": label} for text, label in (("x", 1), ("y", -1), ("z", 0), ("w", None))]
    path = tmp_path / "rows.parquet"
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(path))
    read = list(read_rows(Source.model_validate({"path": str(path)}), path, wanted=("text", "label")))
    assert [row.values for row in read] == list(read_hub(tmp_path, split="train", subset=None))
    assert [row.values["label"] for row in read] == ["positive", None, "negative", None]


def test_a_broken_file_is_an_error_with_the_librarys_words(tmp_path: Path) -> None:
    """Damage that shows while rows are read, too."""
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(DataError, match="cannot load the split 'train'"):
        list(read_hub(tmp_path, split="train", subset=None))
