"""Pairs of product titles out of PriceRunner's offers (Akritidis et al. 2020): does another shop sell the same product?

A CSV without a header: offer, title, vendor, cluster (the product), its name, category id, category. Products that are
alike stand near each other in it.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Products that are paired with one another only, so that a split divides groups and no product is on two sides.
GROUP = 50


@dataclass(frozen=True)
class Offer:
    """A title in a shop."""

    name: str
    title: str
    words: frozenset[str]

    def like(self, other: Offer) -> float:
        """Jaccard similarity of the words."""
        return len(self.words & other.words) / len(self.words | other.words)


def load(path: Path) -> Iterator[dict[str, str]]:
    """Yield two pairs for each product that several titles name: its first title beside its second, and beside the one
    of another product that reads most like it. So common words alone do not tell which is which.

    Args:
        path: ``pricerunner_aggregate.csv``.

    Yields:
        ``title`` and ``other``; ``label`` (same or different); ``category``; ``products`` (a group of fifty products of
        a category, of which both are); ``id`` (the two offers' numbers).
    """
    for category, products in _products(path).items():
        for start in range(0, len(products), GROUP):
            group = products[start : start + GROUP]
            for product in group:
                first, *others = product
                strangers = [offer for one in group if one is not product for offer in one]
                if not others or not strangers:
                    continue
                nearest = max(strangers, key=lambda offer: (first.like(offer), offer.name))
                for label, other in (("same", others[0]), ("different", nearest)):
                    yield {
                        "title": first.title, "other": other.title, "label": label, "category": category,
                        "products": f"{category} {start // GROUP + 1}", "id": f"{first.name}-{other.name}",
                    }  # fmt: skip


def _products(path: Path) -> dict[str, list[list[Offer]]]:
    """By category, each product's offers; of equal titles the first."""
    found: dict[str, dict[str, dict[str, Offer]]] = defaultdict(lambda: defaultdict(dict))
    with path.open(encoding="utf-8", newline="") as lines:
        for name, title, _vendor, cluster, _label, _number, category in csv.reader(lines):
            plain = " ".join(title.split()).casefold()
            found[category][cluster].setdefault(plain, Offer(name, title, frozenset(plain.split())))
    return {category: [list(offers.values()) for offers in clusters.values()] for category, clusters in found.items()}
