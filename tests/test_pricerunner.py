"""The loader of pairs of product titles, on lines as the file has them; it is read as ftdeploy reads loaders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftdeploy.prepare.loader import load_rows

LOADER = Path(__file__).parents[1] / "recipes" / "sources" / "pricerunner.py"


def _pairs(folder: Path, *offers: tuple[str, str, str]) -> list[Mapping[str, Any]]:
    """Of offers (title, product, category), numbered from 1."""
    path = folder / "offers.csv"
    lines = (f'{number},"{title}",shop,{product},Name,1,{category}' for number, (title, product, category)
             in enumerate(offers, start=1))  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return list(load_rows(Path(f"{LOADER}:load"), path))


def test_a_product_gives_a_pair_of_its_own_and_one_with_what_reads_most_like_it(tmp_path: Path) -> None:
    """The second title, not one that is equal but for case; the likest title of another product of the category."""
    found = _pairs(
        tmp_path,
        ("canon eos 80d body", "a", "Cameras"), ("Canon  EOS 80d body", "a", "Cameras"), ("canon 80d", "a", "Cameras"),
        ("nikon d500", "b", "Cameras"), ("canon eos 70d body", "c", "Cameras"), ("canon eos 80d body", "d", "Bags"),
    )  # fmt: skip
    common = {"title": "canon eos 80d body", "category": "Cameras", "products": "Cameras 1"}
    assert found == [
        {**common, "other": "canon 80d", "label": "same", "id": "1-3"},
        {**common, "other": "canon eos 70d body", "label": "different", "id": "1-5"},
    ]


def test_no_product_stands_in_two_groups(tmp_path: Path) -> None:
    """Fifty products of a category are a group, and both titles of a pair are of one."""
    offers = [(f"phone {number} {side}", str(number), "Phones") for number in range(120) for side in ("black", "white")]
    found = _pairs(tmp_path, *offers)
    groups: dict[str, set[str]] = {}
    for row in found:
        for title in (row["title"], row["other"]):
            groups.setdefault(title.split()[1], set()).add(row["products"])
    assert {len(names) for names in groups.values()} == {1}
    assert {row["products"] for row in found} == {"Phones 1", "Phones 2", "Phones 3"}
    assert [row["label"] for row in found].count("same") == 120
