"""The contenders: which words name them, and why one cannot take part."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftdeploy.bench.contenders import CONTENDERS, check_contender, contenders_in
from ftdeploy.cli import app, bench
from ftdeploy.errors import DependencyError, DeviceError


def test_words_are_contenders_or_a_folder(tmp_path: Path) -> None:
    """Names with commas between are contenders; a folder, there or not, is none; no word is none."""
    assert contenders_in("fp32, torch,openvino") == ("fp32", "torch", "openvino")
    for folder in (str(tmp_path), "runs/nothing/onnx", ""):
        assert contenders_in(folder) == ()


@pytest.mark.parametrize("text", ["openvno", "fp32,openvno"])
def test_another_word_is_refused(text: str) -> None:
    """It is named, and a similar one suggested."""
    with pytest.raises(ValueError, match=r"'openvno' is neither a contender nor a folder.*'openvino'"):
        contenders_in(text)


def test_a_folder_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among contenders or other folders it is refused as the folder that it is, with a slash or without one."""
    for text in ("fp32,runs/sentiment/onnx", "runs/sentiment/onnx, runs/topics/onnx"):
        with pytest.raises(ValueError, match=r"^'runs/sentiment/onnx' is a folder, which stands alone"):
            contenders_in(text)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "onnx").mkdir()
    with pytest.raises(ValueError, match=r"^'onnx' is a folder"):
        contenders_in("openvino,onnx")


@pytest.mark.parametrize("against", ["fp32", "no/such/folder"])
def test_tuning_is_held_against_nothing(against: str) -> None:
    """What else is asked for would go unanswered without a word."""
    found = CliRunner().invoke(app, ["bench", "bundle", "--tune", "--against", against])
    assert found.exit_code == 2
    assert "the bundle's service alone" in " ".join(found.output.replace("│", " ").split())


def test_the_command_names_every_contender() -> None:
    """`ftdeploy bench --help` lists the words that --against takes."""
    listed = (bench.__doc__ or "").replace("\n", " ").rpartition(":")[2].strip(" .").split(",")
    assert [word.strip() for word in listed] == list(CONTENDERS)


def test_a_contender_without_its_library_says_what_brings_it() -> None:
    """A missing extra is an error with the command that installs it; of what is there, the version is known."""
    there = CONTENDERS["torch"]
    assert check_contender(there) == {"torch": version("torch")}
    with pytest.raises(DependencyError, match="no-such-library is not installed") as found:
        check_contender(dataclasses.replace(there, libraries=("torch", "no-such-library"), extra="bench"))
    assert "ftdeploy[bench]" in found.value.fix


def test_a_contender_that_the_processor_cannot_run_says_so() -> None:
    """bfloat16 takes a processor that multiplies it."""
    with pytest.raises(DeviceError, match="no bfloat16"):
        check_contender(dataclasses.replace(CONTENDERS["torch-bf16"], fits=lambda: False))
