"""``POST /review``: a whole document in, its passages out, each with its label and where it is, in characters.

A document is a text in JSON, or a PDF, whose text layer is read and comes back with the passages, which are places in
it.

The bundle's recipe says so (``package.review``) and names the labels that somebody has to look at (`critical`). A
passage of which the model is not sure enough gets the bundle's fallback, where it has one. Passages are asked behind
the texts of other requests, as those of `/predict/bulk`, so a contract of a hundred pages holds nobody up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from ftdeploy.serve.answers import Answers
from ftdeploy.serve.engine import Engine
from ftdeploy.serve.passages import passages
from ftdeploy.serve.pdf import PdfText
from ftdeploy.serve.question import check_object, invalid, kind_of, parse_json
from ftdeploy.serve.wire import Refusal, Reply

PATH = "/review"
#: Passages of a document, at most.
MOST = 4096
#: Passages that are asked together.
CHUNK_ROWS = 64
#: A body of more bytes is looked at beside the event loop.
_ASIDE = 65_536


@dataclass(frozen=True, slots=True)
class Document:
    """A text, and where its passages are.

    Attributes:
        text: the document.
        places: (start, end) of its passages, in order.
        pdf: what it was read from; None where the client sent the text.
    """

    text: str
    places: Sequence[tuple[int, int]]
    pdf: PdfText | None = None

    def chunks(self) -> Iterable[range]:
        """Indices of the passages that are asked together."""
        return (
            range(start, min(start + CHUNK_ROWS, len(self.places))) for start in range(0, len(self.places), CHUNK_ROWS)
        )

    def texts(self, chunk: Iterable[int]) -> list[str]:
        """The passages with these indices."""
        return [self.text[slice(*self.places[index])] for index in chunk]

    def render(self, found: Sequence[Answers], identity: str, digest: str) -> Reply:
        """The answer.

        Args:
            found: of `chunks`, in order.
            identity: the request's id.
            digest: of the bundle.
        """
        rows: list[dict[str, Any]] = []
        for answers in found:
            critical = set(answers.signature.review.critical if answers.signature.review else ())
            for answer, cut in zip(answers.labels(), answers.truncated(), strict=True):
                start, end = self.places[len(rows)]
                rows.append({
                    "label": answer[0]["label"],
                    "score": answer[0]["score"],
                    "start": start,
                    "end": end,
                    "critical": answer[0]["label"] in critical,
                    "truncated": cut,
                } | ({"page": self.pdf.page(start)} if self.pdf else {}))  # fmt: skip
        whole: dict[str, Any] = {"passages": rows, "model_digest": digest, "request_id": identity}
        if self.pdf:
            whole |= {"text": self.text, "pages": len(self.pdf.starts), "pages_without_text": self.pdf.blank}
        headers = ((b"x-request-id", identity.encode()), (b"x-model-digest", digest.encode()))
        return Reply(orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY), headers=headers)


def parse_review(body: bytes | bytearray) -> Document:
    """Read the body of ``POST /review``; the size of a body bounds what may be in it, and a document without a word has
    no passage.

    Raises:
        Refusal: 400 not JSON; 422 a wrong key or type; 413 too many passages.
    """
    asked = parse_json(body)
    check_object(asked, ("inputs",), "the body")
    text = asked.get("inputs")
    if not isinstance(text, str):
        raise invalid(f"inputs wants the text of one document, not {kind_of(text)}")
    return divided(text)


def divided(text: str, pdf: PdfText | None = None) -> Document:
    """A document with its passages.

    Raises:
        Refusal: 413 too many passages.
    """
    places = list(islice(passages(text), MOST + 1))
    if len(places) > MOST:
        message = f"the document has more than the {MOST:,} passages that are read at once; send it in parts"
        raise Refusal(413, "too_large", message)
    return Document(text, places, pdf)


async def review(engine: Engine, body: bytes | bytearray | PdfText, identity: str, subject: str | None) -> Reply:
    """Read a document and answer for its passages, one group after the other.

    Args:
        engine: of the service.
        body: of the request, or what was read of it.
        identity: the request's id.
        subject: whom the document is about, for the traffic.

    Raises:
        Refusal: as `parse_review` and `Engine.ask`.
    """
    if isinstance(body, PdfText):
        document = await asyncio.to_thread(divided, body.text, body)
    elif len(body) > _ASIDE:
        document = await asyncio.to_thread(parse_review, body)
    else:
        document = parse_review(body)
    found = []
    for chunk in document.chunks():
        rows, scored = await engine.ask(document.texts(chunk), identity, subject=subject, lines=chunk)
        found.append(Answers(rows, scored, identity, engine.digest, engine.signature))
    return document.render(found, identity, engine.digest)
