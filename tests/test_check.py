"""check: what can be known before anything runs, from real files and the real Optimum."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ftdeploy.check import check_recipe
from ftdeploy.errors import ConfigError, DataError, DeviceError, ModelError, SourceError, TrainingError
from ftdeploy.recipe import Recipe, load_recipe

CONFIG = {"model_type": "bert", "num_hidden_layers": 6, "hidden_size": 384}


def lines(count: int) -> str:
    """Rows of 110 bytes, one of three with the label `good`, the others `bad`."""
    return "".join(f"{f'row {n}'.ljust(104, '.')},{'bad ' if n % 3 else 'good'}\n" for n in range(count))


def write(folder: Path, config: dict[str, object] | None = None, *overrides: str) -> Recipe:
    """A recipe over 60 rows and a folder that has all that a checkpoint must have."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(CONFIG if config is None else config), encoding="utf-8")
    (model / "tokenizer.json").write_text("{}", encoding="utf-8")
    save_file({"weight": np.zeros(1000, dtype=np.float32)}, model / "model.safetensors")
    (folder / "rows.csv").write_text("text,label\n" + lines(60), encoding="utf-8")
    (folder / "recipe.yaml").write_text(
        "version: 1\nname: demo\ntask: text-classification\ndata: {source: {path: rows.csv}}\nmodel: {path: model}\n",
        encoding="utf-8",
    )
    return load_recipe(folder / "recipe.yaml", overrides=overrides)


def test_findings_of_a_sound_recipe(tmp_path: Path) -> None:
    """Sources by name, sizes as they are, the architecture, and rough costs."""
    found = check_recipe(write(tmp_path, None, "device=cpu"))
    assert found["data"] == "file rows.csv"
    assert found["data bytes"] == 11 + 60 * 110
    assert found["rows"] == "60 read, 60 kept"
    assert found["labels"] == "bad 40, good 20"
    assert found["checkpoint"] == "file model"
    assert found["architecture"] == "bert, exportable for text-classification"
    assert found["device"] == "cpu (forced by the recipe)"
    assert str(found["time, roughly"]).endswith("minutes, of the order of")
    assert json.loads(json.dumps(found)) == found


def test_rows_that_are_not_kept_have_their_reason(tmp_path: Path) -> None:
    """Those that are read are those that are kept and those set aside: for an empty text, as they stand twice, or with
    two labels."""
    recipe = write(tmp_path, None, "device=cpu")
    rows = tmp_path / "rows.csv"
    twice = "this text stands here twice,good\n" * 2 + "this one has two labels,good\nthis one has two labels,bad\n"
    rows.write_text(rows.read_text(encoding="utf-8") + twice + ",good\n", encoding="utf-8")
    assert check_recipe(recipe)["rows"] == (
        "65 read, 61 kept; 1 set aside: duplicate of an earlier row; 2 set aside: same text with another label; "
        "1 set aside: text is empty"
    )
    rows.write_text("text,label\n" + lines(60), encoding="utf-8")
    sample = load_recipe(tmp_path / "recipe.yaml", overrides=["device=cpu", "data.limit=20"])
    assert check_recipe(sample)["rows"] == "60 read, 20 kept; 40 set aside: not in the sample"


def test_more_data_takes_more_time(tmp_path: Path) -> None:
    """The estimate goes with rows and epochs; a limit caps it."""

    def minutes(recipe: Recipe) -> int:
        return int(str(check_recipe(recipe)["time, roughly"]).split()[0])

    small = write(tmp_path, None, "device=cpu")
    few = minutes(small)
    (tmp_path / "rows.csv").write_text("text,label\n" + lines(300_000), encoding="utf-8")
    large = minutes(small)
    twice = minutes(load_recipe(tmp_path / "recipe.yaml", overrides=["device=cpu", "train.epochs=6"]))
    capped = minutes(load_recipe(tmp_path / "recipe.yaml", overrides=["device=cpu", "data.limit=100"]))
    assert few <= capped < large < twice
    assert twice == pytest.approx(2 * large, rel=0.02)


def test_an_architecture_that_cannot_be_exported(tmp_path: Path) -> None:
    """Told before hours of training, with the name of the architecture."""
    with pytest.raises(ModelError, match="mamba"):
        check_recipe(write(tmp_path, {**CONFIG, "model_type": "mamba"}))
    with pytest.raises(ModelError, match="cannot export"):
        check_recipe(write(tmp_path, {"hidden_size": 3}))


@pytest.mark.parametrize("config", [{"model_type": "bert", "num_hidden_layers": 6}, {**CONFIG, "hidden_size": 0}])
def test_an_architecture_of_unknown_size(tmp_path: Path, config: dict[str, object]) -> None:
    """No estimate rather than a wrong one."""
    assert check_recipe(write(tmp_path, config, "device=cpu"))["time, roughly"] == "not estimated for this architecture"


@pytest.mark.parametrize(
    ("config", "override", "words"),
    [
        ({**CONFIG, "max_position_embeddings": 64}, "model.max_length=65", "positions for 64 tokens"),
        (CONFIG, "export.embedding_layer=7", "has 6 layers"),
        ({**CONFIG, "model_type": "bart", "is_encoder_decoder": True}, "seed=1", "encoder-decoder"),
        ({"model_type": "bert"}, "seed=1", "does not say how many layers"),
    ],
)
def test_what_would_fail_after_the_training(
    tmp_path: Path, config: dict[str, object], override: str, words: str
) -> None:
    """config.json tells it already."""
    with pytest.raises(ModelError, match=words):
        check_recipe(write(tmp_path, config, override))


@pytest.mark.parametrize(
    ("override", "error", "words"),
    [
        ("train.freeze={layers: 9}", ModelError, "train.freeze.layers is 9, and the checkpoint has 6 layers"),
        ("train.reinitialize_layers=7", ModelError, "train.reinitialize_layers is 7, and the checkpoint has 6 layers"),
        ("train.class_weights={good: 2, neutral: 1}", ConfigError, "'neutral', which the data does not have"),
        ("train.warmup=5000", TrainingError, "the warm-up takes 5000 steps, and the whole training has 6"),
    ],
)
def test_what_training_would_refuse(tmp_path: Path, override: str, error: type[Exception], words: str) -> None:
    """Rows and config.json tell it already. As many layers as there are, and a step less than there are, can be had."""
    with pytest.raises(error, match=words):
        check_recipe(write(tmp_path, None, override))
    sound = ("train.freeze={layers: 6}", "train.class_weights={good: 2, bad: 1}", "train.warmup=5", "device=cpu")
    assert check_recipe(write(tmp_path, None, *sound))["rows"] == "60 read, 60 kept"


def test_what_only_all_rows_tell_of_training_is_left_to_it(tmp_path: Path) -> None:
    """A label may come later, and how many steps there are is not known."""
    recipe = write(tmp_path, None, "train.class_weights={neutral: 2}", "train.warmup=5000", "device=cpu")
    (tmp_path / "rows.csv").write_text("text,label\n" + lines(5000) + "fine,neutral\n", encoding="utf-8")
    assert "first 5,000" in str(check_recipe(recipe)["rows"])
    known = load_recipe(tmp_path / "recipe.yaml", overrides=["data.labels=[good, bad]", "train.class_weights={god: 2}"])
    with pytest.raises(ConfigError, match="'god', which the data does not have"):
        check_recipe(known)


def test_a_column_that_there_is_not_hides_no_label(tmp_path: Path) -> None:
    """Both are told: a label that is not listed does not follow from a column that lacks."""
    with pytest.raises(DataError) as caught:
        check_recipe(write(tmp_path, None, "data.slices=[kind]", "data.labels=[good, neutral]"))
    assert "'kind'" in caught.value.what
    assert "'bad' (40 rows" in caught.value.what
    with pytest.raises(DataError) as alone:
        check_recipe(write(tmp_path, None, "data.slices=[kind]"))
    assert caught.value.what.startswith(f"{alone.value.what}; and ")


@pytest.mark.parametrize(
    ("content", "override", "words"),
    [
        (b"text,label\n" + lines(9).encode(), "data.columns.text=txt", "no column 'txt'"),
        (b"text,label\ncaf\xe9,good\n", "seed=1", "is not utf-8 text: line 2"),
        (b"text;label\nfine;good\n", "data.source.delimiter=','", "no column"),
        (b"text,label\n" + lines(9).encode(), "data.labels=[good, neutral]", "'bad' .6 rows"),
        (b"text,label\n" + lines(9).encode(), "data.labels=[good, bad, neutral]", "no row has the label 'neutral'"),
        (b"text,label\nfine,good\nnice,good\n", "seed=1", "one label only"),
        (b"text,label\n" + lines(9).encode() + b"odd,rare\n", "seed=1", "fewer than 3 rows: 'rare'"),
        (
            b"text,label\nfine,\n",
            "seed=1",
            r"no row of rows.csv is left after cleaning \(1 read; label is missing: 1\)",
        ),
        (b"", "seed=1", "is empty"),
    ],
)
def test_rows_that_prepare_would_refuse(tmp_path: Path, content: bytes, override: str, words: str) -> None:
    """Told by check, in the words of a run."""
    recipe = write(tmp_path, None, override)
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        check_recipe(recipe)


def test_only_the_beginning_of_many_rows_is_read(tmp_path: Path) -> None:
    """A label that has not come yet is no error, and what is set aside is counted; how many there are is not known."""
    recipe = write(tmp_path, None, "data.labels=[good, bad, neutral]")
    (tmp_path / "rows.csv").write_text("text,label\n,bad\n" + lines(5000) + "fine,neutral\n", encoding="utf-8")
    found = check_recipe(recipe)
    assert found["rows"] == "the first 5,000 were read; 1 set aside: text is empty"
    assert str(found["labels"]).startswith("bad 3,33")
    assert str(found["labels"]).endswith("among these")


def test_one_fault_keeps_its_own_class(tmp_path: Path) -> None:
    """And with it its exit code."""
    recipe = write(tmp_path)
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        check_recipe(recipe)
    (tmp_path / "model").rename(tmp_path / "modle")
    with pytest.raises(SourceError) as caught:
        check_recipe(recipe)
    assert caught.value.fix == "did you mean 'modle'?"


def test_a_forced_device_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known before anything runs."""
    monkeypatch.setattr("ftdeploy.hardware.nvidia_devices", lambda: 0)
    with pytest.raises(DeviceError):
        check_recipe(write(tmp_path, None, "device=cuda"))


def test_several_faults_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, checkpoint and device: one error with a problem for each section."""
    monkeypatch.setattr("ftdeploy.hardware.nvidia_devices", lambda: 0)
    recipe = write(tmp_path, None, "device=cuda", "data.source.loader=rows.py:read")
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(ConfigError) as caught:
        check_recipe(recipe)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert list(found) == ["data.source", "model", "device"]
    assert "rows.py" in found["data.source"]
    with pytest.raises(ConfigError) as again:
        check_recipe(load_recipe(tmp_path / "recipe.yaml", overrides=["data.columns.label=lable"]))
    assert [problem.path for problem in again.value.problems] == ["model", "data"]
    assert "config.json" in found["model"]
    assert "cuda" in found["device"]
