"""doctor: facts of this machine, and traps that are not there are not reported."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from ftdeploy import doctor


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    plain = {name.replace("_", "-"): number for name, number in versions.items()}
    monkeypatch.setattr(doctor, "_version", plain.get)


def test_everything_is_told_in_words() -> None:
    """Four groups of texts, ready for a person or for JSON."""
    found = doctor.examine()
    assert list(found) == ["machine", "choices", "libraries", "traps"]
    assert all(isinstance(words, str) and words for group in found.values() for words in group.values())
    assert json.loads(json.dumps(found)) == found


def test_versions_are_those_that_are_installed() -> None:
    """Asked of the installation, not of a list."""
    assert doctor.examine()["libraries"]["numpy"] == version("numpy")


def test_this_installation_is_in_no_trap() -> None:
    """The pins of constraints.txt keep out of all of them."""
    assert doctor.examine()["traps"] == {"none": "this installation is in no trap that ftdeploy knows"}


@pytest.mark.parametrize(
    ("versions", "trap"),
    [
        ({"neural_compressor": "3.7.1", "numpy": "2.1.0", "setuptools": "80.9.0", "six": "1.17.0"}, "numpy"),
        ({"neural_compressor": "3.7.1", "numpy": "1.26.4", "setuptools": "81.0.0", "six": "1.17.0"}, "setuptools"),
        ({"neural_compressor": "3.7.1", "numpy": "1.26.4", "setuptools": "80.9.0"}, "six"),
        ({"numpy": "1.26.4", "pyarrow": "26.0.0"}, "pyarrow"),
        ({"kernels": "0.1.0"}, "kernels"),
        ({"onnxruntime": "1.22.0", "onnxruntime_gpu": "1.22.0"}, "onnxruntime"),
    ],
)
def test_traps_are_told(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], trap: str) -> None:
    """Each combination that is known not to work is named by the library to change."""
    installed(monkeypatch, **versions)
    assert list(doctor.examine()["traps"]) == [trap]


@pytest.mark.parametrize(("saturates", "words"), [(True, "want of VNNI"), (False, "all 8 bits")])
def test_what_int8_weights_may_be_is_told(monkeypatch: pytest.MonkeyPatch, saturates: bool, words: str) -> None:
    """Who wonders why a bundle is slow here, or why its weights have 7 bits, finds the reason."""
    monkeypatch.setattr(doctor, "saturates_int8", lambda: saturates)
    assert words in doctor.examine()["choices"]["int8"]


def test_a_cpu_build_of_torch_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works, and wastes the GPU: said."""
    installed(monkeypatch, torch="2.13.0+cpu")
    monkeypatch.setattr(doctor, "nvidia_devices", lambda: 1)
    assert "CPU build" in doctor._traps()["torch"]


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without torch (only serving) is examined all the same."""
    installed(monkeypatch)
    found = doctor.examine()
    assert found["choices"]["training on"] == "torch is not installed"
    assert set(found["libraries"].values()) == {"not installed"}


@pytest.mark.parametrize("word", ["cuda", "nonsense"])
def test_a_forced_device_that_is_not_there_does_not_end_the_examination(
    monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """The command that people run when something is wrong tells what is wrong."""
    monkeypatch.setattr("ftdeploy.hardware.nvidia_devices", lambda: 0)
    monkeypatch.setenv("FTDEPLOY_DEVICE", word)
    assert doctor.examine()["choices"]["inference on"].startswith("nothing: ")


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container of a user without an account doctor still answers, and says which variable to set."""
    monkeypatch.setenv("FTDEPLOY_CACHE", "~nobody-of-this-name/cache")
    assert "set FTDEPLOY_CACHE" in doctor.examine()["machine"]["cache"]
