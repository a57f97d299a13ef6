"""schemathesis against a served bundle: does it do what its description at ``/docs.json`` says, and nothing else?

Usage: ``python tests/benchmarks/serving_schemathesis.py [BUNDLE] [--examples 2000] [--seed 0] [--keys] [--pairs]``. All
checks, valid and invalid data, the phases of examples, coverage, fuzzing and states; at most so many examples for each
of the operations, 2,000 of which make more than 20,000 requests. Without a bundle it makes a tiny one, which has a
fallback, and reads two texts a row where that is wanted. Prints what schemathesis prints, and ends as it does: with 1
where there is a finding.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.serving_service import bentoml_serve, serving
from tiny import ROOT, write_bundle
from tiny_pairs import write_pair_model

from ftdeploy.keys import add_key
from ftdeploy.serve.keys import SCOPES

#: Small enough for examples to meet them, and for every number of texts to have its shape in the description.
LIMITS = {"max_body_bytes": 200_000, "max_texts": 8, "max_chars": 1000, "body_seconds": 2.0}
#: Files of a model folder that say that it reads two texts.
_PAIRED = ("signature.json", "tokenizer.json")
#: What is not schemathesis' default: too much is 413 here, another media type 415, and a bulk's wrong lines are
#: answered line by line, under 200.
CONFIG = """
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 406, 409, 413, 415, 422, 428]

[[operations]]
include-path = "/predict/bulk"
checks.negative_data_rejection.expected-statuses = [200, 400, 415, 422]
"""


def command(url: str, folder: Path, *, examples: int, seed: int, key: str = "") -> list[str]:
    """How schemathesis is called.

    Args:
        url: of the service.
        folder: where its settings are written.
        examples: for each operation.
        seed: of its generators.
        key: a bearer key, where the service wants one.
    """
    bearer = ["--header", f"Authorization: Bearer {key}"] if key else []
    (folder / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    return [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"),
        "run", f"{url}/docs.json", "--checks", "all", "--mode", "all", "--max-examples", str(examples),
        "--seed", str(seed), "--continue-on-failure", "--generation-database", "none", *bearer,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """Where schemathesis finds the hooks."""
    return {**os.environ, "SCHEMATHESIS_HOOKS": "benchmarks.schemathesis_hooks", "PYTHONPATH": str(ROOT / "tests")}


def _tiny(folder: Path, *, pairs: bool) -> Path:
    given: dict[str, Any] = {"thresholds": {"negative": 0.9}, "fallback": "other"}
    replaced = {}
    if pairs:
        write_pair_model(folder / "model", **given)
        replaced = {f"model/{name}": (folder / "model" / name).read_bytes() for name in _PAIRED}
    return write_bundle(folder / "bundle", replaced=replaced, **given).path


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keys", action="store_true", help="the service wants keys, and schemathesis has one")
    parser.add_argument("--pairs", action="store_true", help="the model reads two texts a row")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ftdeploy-schemathesis-") as name:
        folder = Path(name)
        bundle = asked.bundle or _tiny(folder, pairs=asked.pairs)
        key = add_key(folder / "keys.json", "schemathesis", tuple(SCOPES)).secret if asked.keys else ""
        limits = {f"FTDEPLOY_{limit.upper()}": f"{value:g}" for limit, value in LIMITS.items()}
        if key:
            limits["FTDEPLOY_KEYS"] = str(folder / "keys.json")
        with serving(bentoml_serve(bundle), log=folder / "log", **limits) as service:
            url = f"http://127.0.0.1:{service.port}"
            called = command(url, folder, examples=asked.examples, seed=asked.seed, key=key)
            return subprocess.run(called, env=environment(), cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
