"""What a bundle needs installed, from what is installed here."""

from __future__ import annotations

from importlib.metadata import distribution, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ftdeploy.bill import bill_of_materials, pinned
from ftdeploy.errors import DependencyError
from ftdeploy.serve import RUNTIME_REQUIREMENTS


def test_every_need_of_every_package_is_pinned_at_what_is_here() -> None:
    """Closed: installing the list needs nothing beside it; every version is the installed one, without a build tag."""
    found = pinned(RUNTIME_REQUIREMENTS)
    assert {canonicalize_name(name) for name in RUNTIME_REQUIREMENTS} <= set(found)
    for name, number in found.items():
        assert number == version(name).partition("+")[0]
        for line in distribution(name).requires or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in found, (name, line)


def test_the_runtime_needs_no_training_framework() -> None:
    """A bundle answers without torch."""
    assert not {"torch", "transformers", "optimum", "neural-compressor", "datasets"} & set(pinned(RUNTIME_REQUIREMENTS))


def test_the_list_is_sorted_and_the_same_every_time() -> None:
    """It is part of the bundle's digest, whatever the order of the roots."""
    found = pinned(RUNTIME_REQUIREMENTS)
    assert list(found) == sorted(found)
    assert pinned(reversed(RUNTIME_REQUIREMENTS)) == found


def test_an_extra_brings_its_own_needs() -> None:
    """httpx alone needs no h2, whatever a root asks; unknown extras change nothing."""
    assert set(pinned(["httpx"])) >= {"httpx", "httpcore", "anyio"}


def test_a_root_that_is_missing_is_an_error() -> None:
    """With its name, and the command that brings it."""
    with pytest.raises(DependencyError, match="no-such-thing-anywhere") as caught:
        pinned(["numpy", "no-such-thing-anywhere"])
    assert "pip install" in caught.value.fix


def test_the_bill_names_model_and_packages_with_licences() -> None:
    """CycloneDX: the model with its hash, each package with a purl and a licence, none of them a whole licence text."""
    packages = pinned(RUNTIME_REQUIREMENTS)
    bill = bill_of_materials("demo", "ab" * 32, packages)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    model, *libraries = bill["components"]
    assert (model["type"], model["hashes"]) == (
        "machine-learning-model",
        [{"alg": "SHA-256", "content": "ab" * 32}],
    )
    assert [part["name"] for part in libraries] == list(packages)
    assert all(part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}" for part in libraries)
    names = [entry.get("expression") or entry["license"]["name"] for part in libraries for entry in part["licenses"]]
    assert len(names) >= len(libraries) // 2
    assert all(0 < len(name) <= 100 and "\n" not in name for name in names)
