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


def test_a_product_gives_a_pair_of_its_own_and_one_with_another(tmp_path: Path) -> None:
    """The second title, not one that is equal but for case; the likest title of the category, and for the next product
    any other one of its group."""
    found = _pairs(
        tmp_path,
        ("canon eos 80d body", "a", "Cameras"), ("Canon  EOS 80d body", "a", "Cameras"), ("canon 80d", "a", "Cameras"),
        ("nikon d500", "b", "Cameras"), ("canon eos 70d body", "c", "Cameras"), ("eos 70d", "c", "Cameras"),
        ("canon eos 80d bag", "d", "Bags"),
    )  # fmt: skip
    common = {"title": "canon eos 80d body", "category": "Cameras", "products": "1"}
    assert found[:2] == [
        {**common, "other": "canon 80d", "label": "same", "id": "1-3"},
        {**common, "other": "canon eos 70d body", "label": "different", "id": "1-5"},
    ]
    assert [(row["title"], row["label"]) for row in found[2:]] == [
        ("canon eos 70d body", "same"), ("canon eos 70d body", "different"),
    ]  # fmt: skip
    assert found[3]["other"] in {"canon eos 80d body", "canon 80d", "nikon d500", "canon eos 80d bag"}


def test_no_product_stands_in_two_groups(tmp_path: Path) -> None:
    """Fifty products of each category are a group, and both titles of a pair are of one; half of the pairs of different
    products may cross categories."""
    offers = [
        (f"{kind} {number} {side}", f"{kind} {number}", kind)
        for kind, most in (("phone", 120), ("fridge", 60)) for number in range(most) for side in ("black", "white")
    ]  # fmt: skip
    found = _pairs(tmp_path, *offers)
    groups: dict[str, set[str]] = {}
    for row in found:
        for title in (row["title"], row["other"]):
            groups.setdefault(title.rpartition(" ")[0], set()).add(row["products"])
    assert {len(names) for names in groups.values()} == {1}
    assert {row["products"] for row in found} == {"1", "2", "3"}
    assert [row["label"] for row in found].count("same") == 180
    crossed = [row for row in found if row["other"].split()[0] != row["category"]]
    assert 20 < len(crossed) < 90
    assert {row["label"] for row in crossed} == {"different"}
