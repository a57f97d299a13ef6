"""The ground-truth files of Hutto and Gilbert (ICWSM 2014): snippets with the mean sentiment of about 20 people.

Tab separated without quotes: id, mean rating from -4 to 4, text. UTF-8, CRLF. Four domains, one file each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

DOMAINS = {
    "movieReviewSnippets": "movie",
    "amazonReviewSnippets": "amazon",
    "nytEditorialSnippets": "nyt",
    "tweets": "tweets",
}
THRESHOLD = 0.5  # ratings closer to zero are neither positive nor negative


def load(path: Path) -> Iterator[dict[str, str]]:
    """Yield the clearly positive and negative snippets of a file, or of every ground-truth file of a folder.

    Args:
        path: ``<domain>_GroundTruth.txt``, or the folder that holds such files.

    Yields:
        ``text``, ``label`` (positive or negative), ``id``, ``document`` (the review, editorial or tweet that the
        snippet is from; the movie file does not tell, so there each snippet is its own) and ``source`` (the domain).

    Raises:
        ValueError: a line that is not id, rating, text.
    """
    for domain, name, rating, text in _snippets(path):
        if abs(rating) > THRESHOLD:
            yield {
                "text": text,
                "label": "positive" if rating > 0 else "negative",
                "id": f"{domain}-{name}",
                "document": f"{domain}-{name.partition('_')[0]}",
                "source": domain,
            }


def texts(path: Path) -> Iterator[dict[str, str]]:
    """Yield the snippets that `load` does not give of the movie file, without a label: texts for a teacher to answer.

    Args:
        path: as for `load`.

    Yields:
        ``text`` and ``id``: every snippet of the other domains, and the movie snippets that are neither clearly
        positive nor clearly negative.

    Raises:
        ValueError: a line that is not id, rating, text.
    """
    for domain, name, rating, text in _snippets(path):
        if domain != "movie" or abs(rating) <= THRESHOLD:
            yield {"text": text, "id": f"{domain}-{name}"}


def _snippets(path: Path) -> Iterator[tuple[str, str, float, str]]:
    """Domain, id, mean rating and text."""
    files = sorted(path.glob("*_GroundTruth.txt")) if path.is_dir() else [path]
    for file in files:
        stem = file.name.removesuffix("_GroundTruth.txt")
        domain = DOMAINS.get(stem, stem)
        with file.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                fields = line.rstrip("\r\n").split("\t", 2)
                if len(fields) != 3:  # noqa: PLR2004 - id, rating, text
                    raise ValueError(f"{file.name}, line {number}: {len(fields)} fields where 3 are expected")
                name, rating, text = fields
                yield domain, name, float(rating), text
