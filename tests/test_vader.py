"""The loader of the ground-truth files, on lines as the files have them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def vader() -> ModuleType:
    """The loader is named by path, so it is imported by path."""
    spec = importlib.util.spec_from_file_location("vader_loader", ROOT / "recipes" / "sources" / "vader.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _load(vader: ModuleType, path: Path) -> list[dict[str, str]]:
    rows: Iterator[dict[str, str]] = vader.load(path)
    return list(rows)


def test_clear_ratings_become_labels_and_the_rest_is_left_out(vader: ModuleType, tmp_path: Path) -> None:
    """|rating| > 0.5; quotes and separators inside a text are text."""
    path = tmp_path / "movieReviewSnippets_GroundTruth.txt"
    lines = ['1\t2.27\tThe ""Rock""\u2028 shines', "2\t0.5\tso so", "3\t-0.51\tdull\tand long", "", "4\t-0.2\tmeh"]
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    positive, negative = _load(vader, path)
    common = {"document": "movie-1", "source": "movie"}
    assert positive == common | {"text": 'The ""Rock""\u2028 shines', "label": "positive", "id": "movie-1"}
    assert (negative["text"], negative["label"], negative["id"]) == ("dull\tand long", "negative", "movie-3")


def test_sentences_of_one_review_share_its_document(vader: ModuleType, tmp_path: Path) -> None:
    """The id is review_sentence; a folder gives every domain in it."""
    (tmp_path / "amazonReviewSnippets_GroundTruth.txt").write_text("7_1\t1\tgood\n7_2\t-1\tbad\n", encoding="utf-8")
    (tmp_path / "tweets_GroundTruth.txt").write_text("1\t1\tyay\n", encoding="utf-8")
    (tmp_path / "tweets_anonDataRatings.txt").write_text("not read", encoding="utf-8")
    found = _load(vader, tmp_path)
    assert [(row["document"], row["source"]) for row in found] == [
        ("amazon-7", "amazon"), ("amazon-7", "amazon"), ("tweets-1", "tweets"),
    ]  # fmt: skip


def test_broken_line_is_named(vader: ModuleType, tmp_path: Path) -> None:
    """A line with too few fields says which."""
    path = tmp_path / "tweets_GroundTruth.txt"
    path.write_text("1\t1\tfine\n2 1 no tabs\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: 1 fields"):
        _load(vader, path)


def test_texts_are_all_that_load_does_not_give_of_the_films(vader: ModuleType, tmp_path: Path) -> None:
    """Every snippet of another domain, and of the films those that are neither positive nor negative; no label."""
    (tmp_path / "movieReviewSnippets_GroundTruth.txt").write_text("1\t2\tfine\n2\t0.5\tso so\n", encoding="utf-8")
    (tmp_path / "tweets_GroundTruth.txt").write_text("1\t3\tyay\n2\t-0.1\thm\n", encoding="utf-8")
    expected = [("movie-2", "so so"), ("tweets-1", "yay"), ("tweets-2", "hm")]
    assert list(vader.texts(tmp_path)) == [{"text": text, "id": name} for name, text in expected]
