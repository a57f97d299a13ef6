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

#: Products of a category in a group. Pairs are made within groups, so that no product is on two sides of a split.
GROUP = 50
#: Decides which other product a title is put beside where it is not the likest: a prime, so that all get their turn.
STRIDE = 7919


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
    of another product. That is by turns the title of its category that reads most like it, and any one of any category:
    of the likest alone a model learns that what has few words in common is the same.

    Args:
        path: ``pricerunner_aggregate.csv``.

    Yields:
        ``title`` and ``other``; ``label`` (same or different); ``category`` of the first; ``products`` (a group of
        fifty products of each category, of which both are); ``id`` (the two offers' numbers).
    """
    turn = 0
    for number, group in enumerate(_groups(path), start=1):
        everything = [(product, offer) for products in group.values() for product in products for offer in product]
        for category, products in group.items():
            for product in products:
                first, *others = product
                alike = [offer for one in products if one is not product for offer in one]
                anything = [offer for one, offer in everything if one is not product]
                if not others or not alike:
                    continue
                turn += 1
                if turn % 2:
                    stranger = max(alike, key=lambda offer: (first.like(offer), offer.name))
                else:
                    stranger = anything[turn * STRIDE % len(anything)]
                for label, other in (("same", others[0]), ("different", stranger)):
                    yield {
                        "title": first.title, "other": other.title, "label": label, "category": category,
                        "products": str(number), "id": f"{first.name}-{other.name}",
                    }  # fmt: skip


def _groups(path: Path) -> Iterator[dict[str, list[list[Offer]]]]:
    """By category, the offers of fifty products each; of the next fifty; and so on."""
    categories = _products(path)
    for start in range(0, max(map(len, categories.values()), default=0), GROUP):
        yield {name: products[start : start + GROUP] for name, products in categories.items() if products[start:]}


def _products(path: Path) -> dict[str, list[list[Offer]]]:
    """By category, each product's offers; of equal titles the first."""
    found: dict[str, dict[str, dict[str, Offer]]] = defaultdict(lambda: defaultdict(dict))
    with path.open(encoding="utf-8", newline="") as lines:
        for name, title, _vendor, cluster, _label, _number, category in csv.reader(lines):
            plain = " ".join(title.split()).casefold()
            found[category][cluster].setdefault(plain, Offer(name, title, frozenset(plain.split())))
    return {category: [list(offers.values()) for offers in clusters.values()] for category, clusters in found.items()}
