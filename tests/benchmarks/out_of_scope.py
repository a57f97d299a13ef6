"""What `package.thresholds.keep` comes to for contract clauses: how many of the 19 categories become `other`, and how
many texts of none of them do. A finished run of recipes/contract-review.yaml; none is trained.

    python tests/benchmarks/out_of_scope.py runs/contract-review 0.95 0.9 0.8 [--model runs/contract-review/onnx]

The score is found on the validation rows; everything else is of contracts that stand in neither validation nor train:
test rows, and clauses of the categories that the recipe sets aside. Passages that every contract has and CUAD has no
category for were written for this file; sentences of other domains come from the recipes' other sources.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.artifact import open_artifact
from ftdeploy.console import show_line
from ftdeploy.dataset import label_names, read_split
from ftdeploy.models import open_model
from ftdeploy.prepare.read import read_rows
from ftdeploy.recipe import load_recipe
from ftdeploy.sources import resolve
from ftdeploy.thresholds import keeping

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
ROWS = 500  # of another domain
#: What stands in contracts between the clauses of CUAD.
BETWEEN = """\
This Agreement is entered into as of the date first written above by and between the parties named below.
WHEREAS, the Company is engaged in the business of developing and selling medical devices; and
"Affiliate" means any entity that controls, is controlled by or is under common control with a party.
The headings in this Agreement are for convenience only and shall not affect its interpretation.
This Agreement may be executed in counterparts, each of which shall be deemed an original.
This Agreement constitutes the entire agreement between the parties and supersedes all prior understandings.
If any provision of this Agreement is held to be invalid, the remaining provisions shall remain in full force.
No waiver of any breach shall be deemed a waiver of any other breach.
This Agreement may be amended only by a written instrument signed by both parties.
All notices shall be in writing and delivered by hand or by registered mail to the addresses set forth below.
Neither party is responsible for delays caused by acts of God, war, strikes or other events beyond its control.
The parties are independent contractors, and nothing herein creates a partnership or joint venture.
Recipient shall hold the Confidential Information in strict confidence and use it for this Agreement only.
Confidential Information does not include information that is public through no fault of the recipient.
Each party represents that it is duly organized and has full power to enter into this Agreement.
Invoices are payable within thirty days of receipt by wire transfer to the account that Seller designates.
Buyer shall pay all sales, use and value added taxes that are imposed on the Products.
Title and risk of loss shall pass to Buyer upon delivery to the carrier at Seller's plant.
Seller shall acknowledge each purchase order within five business days of its receipt.
The indemnified party shall give prompt notice of the claim and cooperate in its defense.
Any dispute shall be settled by arbitration before three arbitrators in accordance with the rules of the AAA.
The steering committee shall meet quarterly and consist of two representatives of each party.
Contractor shall perform the Services in a professional manner and in accordance with Schedule A.
Customer shall provide Contractor with access to its facilities during normal business hours.
Either party may terminate this Agreement if the other becomes insolvent or files a petition in bankruptcy.
IN WITNESS WHEREOF, the parties have caused this Agreement to be executed by their duly authorized officers.
By: ______________ Name: John Smith Title: Chief Executive Officer
EXHIBIT B: SPECIFICATIONS OF THE PRODUCTS
Article 1 Definitions; Article 2 Supply; Article 3 Prices; Article 4 Delivery; Article 5 Quality
Supplier shall keep the Products free of defects by inspections that conform to the Quality Manual.
""".splitlines()


def set_aside(recipe: Path, contracts: set[str]) -> Iterator[tuple[str, str]]:
    """(category, text) of the clauses of these contracts whose category is null in the recipe's label_map."""
    (entry,) = load_recipe(recipe).data.entries
    for row in read_rows(entry, resolve(entry), wanted=("text", "label", "contract")):
        label = row.values["label"]
        if entry.label_map.get(label, label) is None and row.values["contract"] in contracts:
            yield label, row.values["text"]


def others() -> Iterator[tuple[str, list[str]]]:
    """(domain, texts) at even distances from the sources of other recipes."""
    for domain, recipe, column in (
        ("sentences of company news", "finance-sentiment", None),
        ("titles of products", "retail-categorization", 1),
        ("talks of doctor and patient", "clinical-sections", 3),
    ):
        entry = load_recipe(ROOT / "recipes" / f"{recipe}.yaml").data.entries[0]
        with resolve(entry).open(encoding=entry.encoding, newline="") as lines:
            if column is None:
                found = [line.rpartition("@")[0] for line in lines]
            else:
                found = [row[column] for row in csv.reader(lines)]
        found = found[1:]
        yield domain, [found[n * len(found) // ROWS] for n in range(ROWS)]


def main() -> None:
    """Print a block a share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("keep", type=float, nargs="+")
    parser.add_argument("--model", help="another model of these rows; the run's own by default")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "contract-review.yaml")
    asked = parser.parse_args()
    dataset = open_artifact(asked.run / "dataset", kind="dataset")
    labels = label_names(dataset)
    model = open_model(asked.model or str(asked.run / "compressed"), device="cpu", labels=labels)

    def scores(texts: list[str]) -> NDArray[np.float32]:
        return model.scores(texts)

    validation, test = (read_split(dataset, split).to_pylist() for split in ("validation", "test"))
    aside = list(set_aside(asked.recipe, {row["group"] for row in test}))
    known, found = (scores([row["text"] for row in rows]) for rows in (validation, test))
    truth = np.array([labels.index(row["label"]) for row in test])
    outside: dict[str, NDArray[np.float32]] = {
        "clauses of the categories set aside": scores([text for _, text in aside]).max(axis=1),
        "what stands between clauses": scores(list(BETWEEN)).max(axis=1),
        **{domain: scores(texts).max(axis=1) for domain, texts in others()},
    }
    best, right = found.max(axis=1), found.argmax(axis=1) == truth
    for name, values in outside.items():
        beaten = (best[:, None] > values[None]).mean() + (best[:, None] == values[None]).mean() / 2
        show_line(f"{name}: {len(values)} texts, AUROC {beaten:.3f}")
    for keep in asked.keep:
        least = keeping(known.max(axis=1).astype(np.float64), keep)
        other = best < least
        by_label: defaultdict[str, list[bool]] = defaultdict(list)
        for row, yes in zip(test, other, strict=True):
            by_label[row["label"]].append(bool(yes))
        worst = sorted(((float(np.mean(rows)), label) for label, rows in by_label.items()), reverse=True)[:4]
        show_line(f"keep {keep:g}: score {least:g}; of {len(test)} test clauses {other.mean():.3f} become other")
        show_line("  most often: " + ", ".join(f"{label} {share:.2f}" for share, label in worst))
        show_line(f"  of those kept right {right[~other].mean():.4f}, of those not {right[other].mean():.4f}")
        for name, values in outside.items():
            show_line(f"  {name}: {(values < least).mean():.3f} become other")


if __name__ == "__main__":
    main()
