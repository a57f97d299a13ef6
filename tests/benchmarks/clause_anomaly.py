"""Which unusual clauses conformal p-values over embeddings find, and how often they cry wolf: the dataset of a run of
recipes/contract-anomaly.yaml and its model.

    python tests/benchmarks/clause_anomaly.py runs/contract-anomaly 0.05 0.1 [--model runs/contract-anomaly/onnx]

Reference rows are those of train, calibration rows those of validation, and everything that is asked is of other
contracts. `as their category`: the category is told, as a reviewer knows it. `none told`: the text is held against the
clauses of all. An alteration is counted on the clauses that it changes, and beside it the same
clauses before.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import out_of_scope  # type: ignore[import-not-found]  # beside this file when it runs

from ftdeploy.anomaly import populations
from ftdeploy.artifact import open_artifact
from ftdeploy.console import show_line
from ftdeploy.dataset import read_split
from ftdeploy.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLAUSES = Path(__file__).resolve().parents[2] / "recipes" / "contract-review.yaml"
#: Two sides of a contract.
SIDES = (
    ("Licensor", "Licensee"), ("Seller", "Buyer"), ("Company", "Distributor"), ("Supplier", "Customer"),
    ("Franchisor", "Franchisee"), ("Company", "Consultant"), ("Manufacturer", "Company"), ("Provider", "Client"),
)  # fmt: skip
_EXCEED = re.compile(r"\b(shall|will|may)( not|,? in no event,?) exceed\b[^.;]*", re.IGNORECASE)


def without_cap(text: str) -> str:
    """A limit of liability that is none: what it may not exceed goes, what is excluded is owed."""
    text = _EXCEED.sub(r"\1 be unlimited", text)
    return re.sub(r"\bin no event\b", lambda found: "In any event" if found[0][0] == "I" else "in any event", text,
                  flags=re.IGNORECASE)  # fmt: skip


def negated(text: str) -> str:
    """What shall be shall not be, and the other way round; the first place decides."""
    found = re.search(r"\b(shall|will|may|must)( not)?\b", text)
    if found is None:
        return text
    return text[: found.end(1)] + ("" if found[2] else " not") + text[found.end() :]


def swapped(text: str) -> str:
    """The two sides change places, where both are named."""
    for one, other in SIDES:
        if re.search(rf"\b{one}\b", text) and re.search(rf"\b{other}\b", text):
            parts = re.split(rf"\b({one}|{other})\b", text)
            return "".join({one: other, other: one}.get(part, part) for part in parts)
    return text


ALTERED: dict[str, tuple[Callable[[str], str], str | None]] = {
    "a cap removed": (without_cap, "Cap on Liability"),
    "a negation": (negated, None),
    "sides swapped": (swapped, None),
}


def main() -> None:
    """Print a line for each kind of texts, and for each level what share of them is unusual."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("levels", type=float, nargs="+")
    parser.add_argument("--model", type=Path)
    asked = parser.parse_args()
    predictor = Predictor(asked.model or asked.run / "compressed", device="cpu")
    dataset = open_artifact(asked.run / "dataset", kind="dataset")
    train, validation, test = (read_split(dataset, name).to_pylist() for name in ("train", "validation", "test"))

    def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        return predictor.predict(texts).logits

    def rows(table: list[dict[str, str]]) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        labels = [predictor.task.summary(row["label"]) for row in table]
        return vectors([row["text"] for row in table]), np.array(labels, dtype=object)

    known = populations(rows(train), rows(validation), least=1)
    sizes = sorted(map(len, known.calibration))
    show_line(
        f"{len(known.labels)} categories, of {sizes[0]} to {sizes[-1]} calibration rows; {len(test)} test clauses"
    )
    asked_vectors, labels = rows(test)

    def told(found: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float64]:
        values = np.empty(len(found))
        for name in set(names):
            own = [index for index, one in enumerate(names) if one == name]
            values[own] = known.p_values(found[own], name)[0]
        return values

    def unsaid(found: NDArray[np.float32]) -> NDArray[np.float64]:
        return known.p_values(found, None)[0]

    def say(what: str, values: NDArray[np.float64]) -> None:
        shares = ", ".join(f"{(values <= level).mean():.3f} at {level:g}" for level in asked.levels)
        show_line(f"{what} ({len(values)}): {shares}")

    clean = told(asked_vectors, list(labels))
    say("clean clauses, as their category", clean)
    say("clean clauses, none told", unsaid(asked_vectors))
    random = np.random.default_rng(0)
    wrong = [str(random.choice([name for name in known.labels if name != label])) for label in labels]
    say("clauses, as another category", told(asked_vectors, wrong))
    aside = [text for _, text in out_of_scope.set_aside(CLAUSES, {row["group"] for row in test})]
    strange = {"clauses of categories set aside": aside, "what stands between clauses": out_of_scope.BETWEEN}
    for what, texts in {**strange, **dict(out_of_scope.others())}.items():
        found = vectors(texts)
        say(f"{what}, as any category", told(found, random.choice(known.labels, len(texts)).tolist()))
        say(f"{what}, none told", unsaid(found))
    for what, places in altered([row["text"] for row in test], list(labels)):
        names = [labels[index] for index in places]
        say(f"{what}, as their category", told(vectors(list(places.values())), names))
        say("  the same before", clean[list(places)])


def altered(texts: Sequence[str], labels: Sequence[str]) -> Iterator[tuple[str, dict[int, str]]]:
    """Each alteration, and the clauses that it changes: index -> text."""
    for what, (change, category) in ALTERED.items():
        changed = {index: change(text) for index, text in enumerate(texts) if category in {None, labels[index]}}
        yield what, {index: text for index, text in changed.items() if text != texts[index]}


if __name__ == "__main__":
    main()
