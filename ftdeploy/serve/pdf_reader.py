"""The text layer of a PDF: a program that reads a PDF from standard input and writes its text as JSON.

It is run by `ftdeploy.serve.pdf` in a process of its own, and imports nothing but pypdf, as a PDF may be damaged on
purpose: it may unpack to gigabytes, or refer to itself. The lines keep their distances (pypdf's layout mode), by which
paragraphs are told.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise

#: Bytes of memory that it may take, pypdf itself included.
MEMORY = 1_500_000_000
_SPACES = re.compile(r"[^\S\n]+")


class UnreadableError(Exception):
    """Why there is no text; the message is a word for `ftdeploy.serve.pdf`."""


def read(data: bytes, *, most_pages: int, most_chars: int) -> list[str]:
    """The text of each page, paragraphs divided by blank lines.

    Args:
        data: the file.
        most_pages: that it may have.
        most_chars: of all of them.

    Raises:
        UnreadableError: it is encrypted, or longer than that.
        Exception: whatever pypdf makes of a damaged file.
    """
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableError("encrypted")
    if len(reader.pages) > most_pages:
        raise UnreadableError("long")
    found, held = [], 0
    for page in reader.pages:
        text = page.extract_text(extraction_mode="layout")
        held += len(text)
        if held > 4 * most_chars:  # the layout is made of white space, which goes
            raise UnreadableError("long")
        found.append(text)
    pages = paragraphs(found)
    if sum(map(len, pages)) > most_chars:
        raise UnreadableError("long")
    return pages


def paragraphs(pages: Sequence[str]) -> list[str]:
    """Pages in which a blank line stands where the distance between lines is larger than it is within a paragraph: than
    it mostly is before a line that goes on with a small letter.

    Args:
        pages: with lines at their distances.
    """
    lines = [[_SPACES.sub(" ", line).strip() for line in page.split("\n")] for page in pages]
    gaps: Counter[int] = Counter()
    for page in lines:
        filled = [index for index, line in enumerate(page) if line]
        gaps.update(after - before for before, after in pairwise(filled) if page[after][0].islower())
    usual = gaps.most_common(1)[0][0] if gaps else 1  # 2 where lines are double spaced
    return [_joined(page, usual) for page in lines]


def _joined(page: Sequence[str], usual: int) -> str:
    parts: list[str] = []
    last = None
    for index, line in enumerate(page):
        if not line:
            continue
        if last is not None:
            parts.append("\n" if index - last <= usual else "\n\n")
        parts.append(line)
        last = index
    text = unicodedata.normalize("NFKC", "".join(parts))  # ligatures are one character in many PDFs
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a pair is no character


def main() -> None:
    """Read, and say what came of it: ``{"pages": [...]}`` or ``{"error": word}``."""
    most_pages, most_chars, seconds = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        told: dict[str, object] = {"pages": read(sys.stdin.buffer.read(), most_pages=most_pages, most_chars=most_chars)}
    except UnreadableError as error:
        told = {"error": str(error)}
    except MemoryError:
        told = {"error": "memory"}
    except Exception as error:  # noqa: BLE001  # of pypdf's, in whatever a damaged file leads it to
        told = {"error": "encrypted" if type(error).__name__ == "DependencyError" else "damaged"}
    sys.stdout.buffer.write(json.dumps(told).encode())


if __name__ == "__main__":
    main()
