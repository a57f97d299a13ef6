"""Answers to many rows: the same as without a cache, kept once, never half, and in bounded memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from checkpoints import sentences
from tiny import write_model_folder

from ftdeploy import progress
from ftdeploy.batching import Batching
from ftdeploy.errors import ModelError, StorageError
from ftdeploy.models import open_model
from ftdeploy.models.local import LocalModel
from ftdeploy.models.predictions import PIECE, predict, predictions_folder, text_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXTS = [row["text"] for row in sentences()[:300]]


class Counted(LocalModel):
    """A real model that counts the rows it is asked."""

    rows = 0

    def scores(self, texts: Sequence[str], *,
               advance: Callable[[float], None] = lambda _rows: None) -> NDArray[np.float32]:  # fmt: skip
        self.rows += len(texts)
        return super().scores(texts, advance=advance)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    write_model_folder(made)
    return made


@pytest.fixture
def model(folder: Path) -> Counted:
    return Counted("m", "onnx", folder, digest="d" * 64, device="cpu", batching=Batching(threads=1))


class Listener:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @contextmanager
    def task(self, _name: str, _total: float | None) -> Iterator[Callable[[float], None]]:
        yield lambda _steps: None

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    listener = Listener()
    with progress.reporting(listener):
        yield listener.said


def kept(cache: Path) -> list[str]:
    return sorted(path.suffix for path in cache.iterdir() if path.suffix != ".lock")


def test_a_second_time_the_model_is_not_asked(model: Counted, tmp_path: Path, heard: list[str]) -> None:
    """The same numbers out of the file, mapped and read-only; progress is complete; it is said."""
    seen: list[float] = []
    first = predict(model, TEXTS, data_digest="x", cache=tmp_path / "new", advance=seen.append)
    assert (model.rows, sum(seen), heard) == (300, 300, [])
    np.testing.assert_array_equal(first, model.scores(TEXTS))
    model.rows, seen[:] = 0, []
    second = predict(model, TEXTS, data_digest="x", cache=tmp_path / "new", advance=seen.append)
    assert (model.rows, sum(seen)) == (0, 300)
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    assert heard == ["m: the answers to 300 rows are in the cache"]
    np.testing.assert_array_equal(first, second)
    assert kept(tmp_path / "new") == [".npy"]


def test_a_file_of_the_cache_is_one_of_numpy(model: Counted, tmp_path: Path) -> None:
    """`numpy.load` reads it, whoever made it."""
    predict(model, TEXTS, data_digest="x", cache=tmp_path)
    np.testing.assert_array_equal(np.load(next(tmp_path.glob("*.npy"))), model.scores(TEXTS))


def test_what_decides_the_answers_decides_the_file(model: Counted, folder: Path, tmp_path: Path) -> None:
    """Other data, another model, other batches, other labels, other rows: asked anew, each kept by itself."""
    predict(model, TEXTS, data_digest="x", cache=tmp_path)
    others = [
        Counted("m", "onnx", folder, digest="e" * 64, device="cpu"),
        Counted("m", "onnx", folder, digest="d" * 64, device="cpu", batching=Batching(rows=7)),
    ]
    for other in others:
        predict(other, TEXTS, data_digest="x", cache=tmp_path)
        assert other.rows == 300
    model.rows = 0
    predict(model, TEXTS, data_digest="y", cache=tmp_path)
    predict(model, TEXTS[:9], data_digest="x", cache=tmp_path)
    model.labels = ("no", "yes")
    predict(model, TEXTS, data_digest="x", cache=tmp_path)
    assert model.rows == 609
    assert kept(tmp_path) == [".npy"] * 6


def test_refreshing_and_no_cache_ask_the_model(model: Counted, tmp_path: Path) -> None:
    """And a model that could be another one tomorrow is always asked, and its answers are not kept."""
    predict(model, TEXTS, data_digest="x", cache=tmp_path)
    predict(model, TEXTS, data_digest="x", cache=tmp_path, refresh=True)
    predict(model, TEXTS, data_digest="x", cache=None)
    assert model.rows == 900
    model.cacheable = False
    predict(model, TEXTS, data_digest="x", cache=tmp_path / "other")
    assert model.rows == 1200
    assert not (tmp_path / "other").exists()
    assert kept(tmp_path) == [".npy"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-40],
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: content[:0],
        lambda content: b"x" * len(content),
        lambda content: content + b"x",
    ],
    ids=["cut off", "one bit", "empty", "another format", "longer"],
)
def test_a_damaged_file_is_noticed_and_made_again(model: Counted, tmp_path: Path, heard: list[str],
                                                  damage: Callable[[bytes], bytes]) -> None:  # fmt: skip
    """A sum over all of it: nothing wrong is ever taken for an answer."""
    first = np.array(predict(model, TEXTS, data_digest="x", cache=tmp_path))
    file = next(tmp_path.glob("*.npy"))
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(predict(model, TEXTS, data_digest="x", cache=tmp_path), first)
    assert model.rows == 600
    assert heard == [f"{file} is damaged; the model is asked again"]


def test_texts_come_as_arrow_or_as_a_list(model: Counted, tmp_path: Path) -> None:
    """The same answers and the same digest, however the column is cut; null is an empty text."""
    column = pa.chunked_array([pa.array(TEXTS[:7]), pa.array([], pa.string()), pa.array([*TEXTS[7:], None])])
    texts = [*TEXTS, ""]
    assert text_digest(column) == text_digest(texts) == text_digest(pa.array(texts))
    found = predict(model, column, data_digest="x", cache=tmp_path)
    np.testing.assert_array_equal(found, model.scores(texts))


def test_a_digest_knows_order_and_borders() -> None:
    """Two texts are not one, and not the other way round."""
    assert len({text_digest(texts) for texts in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "c", ""])}) == 5


def test_no_rows_are_no_answers(model: Counted, tmp_path: Path) -> None:
    """An empty selection: kept and read as any other."""
    for cache in (None, tmp_path, tmp_path):
        assert predict(model, [], data_digest="x", cache=cache).shape == (0, 2)


def test_what_is_no_number_is_an_error_and_not_kept(model: Counted, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """The row is named by its place in all rows."""
    texts = ["good"] * (PIECE + 5)

    def odd(self: LocalModel, texts: Sequence[str], **_: object) -> NDArray[np.float32]:
        found = np.full((len(texts), len(self.labels)), 0.5, dtype=np.float32)
        if len(texts) == 5:
            found[3] = np.nan
        return found

    monkeypatch.setattr(LocalModel, "scores", odd)
    with pytest.raises(ModelError, match=rf"row {PIECE + 3} with \[nan, nan\]"):
        predict(model, texts, data_digest="x", cache=tmp_path)
    assert kept(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_an_error_with_a_way_out(model: Counted, tmp_path: Path) -> None:
    """A file in its place stands for all that the system refuses; the model is not asked for nothing."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written") as found:
        predict(model, TEXTS, data_digest="x", cache=tmp_path / "file" / "predictions")
    assert "FTDEPLOY_CACHE" in found.value.fix
    assert model.rows == 0


def test_a_killed_process_leaves_nothing_that_counts(folder: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of the second piece: no answers are kept, and the next call, whatever it asks, removes what
    was left."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from ftdeploy.models import open_model\n"
        "from ftdeploy.models.predictions import PIECE, predict\n"
        "model, done = open_model(sys.argv[1], device='cpu'), [0]\n"
        "def advance(rows):\n"
        "    done[0] += rows\n"
        "    if done[0] > PIECE + 100: os.kill(os.getpid(), signal.SIGKILL)\n"
        "predict(model, ['good film'] * 2 * PIECE, data_digest='x', cache=Path(sys.argv[2]), advance=advance)\n"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path)]
    found = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert found.returncode == -signal.SIGKILL
    assert kept(tmp_path) == [".part"]
    predict(open_model(str(folder), device="cpu"), TEXTS, data_digest="y", cache=tmp_path)
    assert kept(tmp_path) == [".npy"]


def test_an_interruption_leaves_nothing(model: Counted, tmp_path: Path) -> None:
    """Ctrl-C in the middle."""

    def advance(_rows: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(model, TEXTS, data_digest="x", cache=tmp_path, advance=advance)
    assert kept(tmp_path) == []


class Many(Sequence[str]):
    """Texts that are made when they are asked for; remembers how many were held at a time."""

    def __init__(self, rows: int) -> None:
        self.rows, self.most = rows, 0

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, part: slice) -> list[str]:  # type: ignore[override]  # only slices are asked for
        rows = range(*part.indices(self.rows))
        self.most = max(self.most, len(rows))
        return [TEXTS[row % len(TEXTS)] + f" {row}" for row in rows]


def test_memory_does_not_grow_with_the_rows(model: Counted, tmp_path: Path) -> None:
    """20,000 and 40,000 rows through the cache: the peak of what Python holds is that of a piece."""
    peaks = []
    for rows in (20_000, 40_000):
        texts = Many(rows)
        tracemalloc.start()
        found = predict(model, texts, data_digest=str(rows), cache=tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (len(found), texts.most) == (rows, PIECE)
    assert peaks[1] < 1.1 * peaks[0]
    # In pieces as in one, at the first row of a piece too.
    for row in (0, PIECE, 40_000 - 1):
        assert found[row] == pytest.approx(model.alone(texts[row : row + 1])[0], abs=1e-5)


def test_the_cache_stands_in_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Below FTDEPLOY_CACHE."""
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path))
    assert predictions_folder() == tmp_path / "predictions"
