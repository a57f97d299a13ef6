"""What a bundle needs installed: pinned requirements and a bill of materials, from what is installed here."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ftdeploy.errors import DependencyError


def pinned(roots: Iterable[str]) -> dict[str, str]:
    """Distributions and everything that they need here, as name -> version, sorted.

    Args:
        roots: names of distributions.

    Raises:
        DependencyError: one of the roots is not installed.
    """
    found: dict[str, str] = {}
    waiting = [(name, frozenset[str]()) for name in roots]
    done = set()
    missing = []
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in done:
            continue
        done.add((name, extras))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        found[canonicalize_name(name)] = package.version.partition("+")[0]
        for line in package.requires or ():
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((canonicalize_name(need.name), frozenset(need.extras)))
    absent = [name for name in roots if name in missing]
    if absent:
        raise DependencyError(
            f"a bundle needs {', '.join(absent)}, which is not installed here",
            cause="ftdeploy was installed without its `serve` extra",
            fix="pip install 'ftdeploy[serve]'",
        )
    return dict(sorted(found.items()))


def bill_of_materials(name: str, digest: str, packages: dict[str, str]) -> dict[str, Any]:
    """A CycloneDX 1.5 document of the model and the packages that run it.

    Args:
        name: the model's name.
        digest: sha256 of model.onnx.
        packages: name -> version.
    """
    model = {
        "type": "machine-learning-model",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    libraries = [
        {
            "type": "library",
            "name": package,
            "version": version,
            "purl": f"pkg:pypi/{package}@{version}",
            "licenses": _licences(package),
        }
        for package, version in packages.items()
    ]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": [model, *libraries]}


def _licences(package: str) -> list[dict[str, Any]]:
    metadata = distribution(package).metadata
    if "License-Expression" in metadata:
        return [{"expression": metadata["License-Expression"]}]
    classified = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier") or () if c.startswith("License ::")]
    # Some put the whole text of the licence into this field.
    plain = metadata["License"].strip().splitlines()[:1] if "License" in metadata else []
    return [{"license": {"name": entry[:100]}} for entry in classified or plain]
