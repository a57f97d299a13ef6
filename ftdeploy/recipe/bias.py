"""Groups of rows that a model should treat alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from ftdeploy.document import Section
from ftdeploy.origin import RecipePath

Term = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
ListName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


def term_column(name: str) -> str:
    """The column of a dataset that holds which of a list's terms stands in the text."""
    return f"terms:{name}"


def _different(terms: tuple[str, ...]) -> tuple[str, ...]:
    folded = [term.casefold() for term in terms]
    twice = [term for term in terms if folded.count(term.casefold()) > 1]
    if not terms or twice:
        raise ValueError(f"{twice[0]!r} stands twice" if twice else "at least one term is wanted")
    return terms


Terms = Annotated[tuple[Term, ...], AfterValidator(_different)]


def _in_one_group(groups: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    _different(tuple(term for terms in groups.values() for term in terms))
    return groups


TermGroups = Annotated[Mapping[Term, Terms], AfterValidator(_in_one_group)]


class Bias(Section):
    """Groups of rows that a model should treat alike: by terms in the text, beside the columns of `slices`.

    Each list becomes a column `terms:NAME` of the dataset, so that metrics are reported by it, and a suite's gates of
    the kind `gap` can name it. Terms in a text say what it mentions, not who wrote it.
    """

    terms: Mapping[ListName, Terms | TermGroups | RecipePath] = {}
    """Lists of identity terms by name: the terms, groups of them (`{female: [she, her], male: [he, him]}`), or a UTF-8
    file with a term on each line (relative to the recipe; empty lines and those after # are passed over). Found as
    whole words, whatever their case. The column holds the term, or the name of its group; the first in the text
    decides, and a text without any has an empty one."""
    reweigh: str | None = Field(default=None, min_length=1)
    """A column of `slices`, or `terms:NAME`: training rows get weights that make it independent of the label (Kamiran
    & Calders 2012)."""

    @model_validator(mode="after")
    def _known_list(self) -> Self:
        if self.reweigh is not None and self.reweigh.startswith("terms:"):
            known = [term_column(name) for name in self.terms]
            if self.reweigh not in known:
                raise ValueError(f"reweigh names {self.reweigh!r}, and the lists are: {', '.join(known) or 'none'}")
        return self
