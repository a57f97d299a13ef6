"""PDFs as documents: their text and pages, and those that hold none, are damaged, or would hold somebody up."""

from __future__ import annotations

import asyncio
import sys
import zlib
from typing import Any

import pytest
from pdf_files import bound, written

from ftdeploy.serve import pdf
from ftdeploy.serve.pdf import AT_ONCE, MEDIA_TYPE, PdfReading, PdfText, read_pdf, refuse_unnamed
from ftdeploy.serve.wire import Refusal

SECONDS = 30.0


def test_the_text_comes_with_its_paragraphs_and_pages() -> None:
    """Paragraphs are told by the distance between lines; a page that is a picture has its number."""
    first = ("The parties agree as follows in consideration", "of the mutual covenants.", "", "1. Term. Two years.")
    found = read_pdf(written(first, (), ("2. Law. New York.",)), SECONDS)
    begun = "The parties agree as follows in consideration\nof the mutual covenants.\n\n1. Term. Two years."
    assert found.text.split("\n\n\n\n")[0] == begun
    assert (found.blank, len(found.starts)) == ([2], 3)
    assert found.page(found.text.index("Term")) == 1
    assert found.page(found.text.index("2. Law")) == 3
    assert found.text[found.starts[2] :] == "2. Law. New York."


@pytest.mark.parametrize("matrix", ["0 1 -1 0", "0 -1 1 0", "-1 0 0 -1"])
def test_turned_text_is_read_too(matrix: str) -> None:
    """A table that was printed across the page, behind what stands upright; and a page that is turned as a whole."""
    upright = "BT /F1 11 Tf 72 720 Td (1. Term. Two years.) Tj ET "
    turned = f"BT /F1 11 Tf {matrix} 300 400 Tm (Neither party may) Tj 0 -14 Td (assign this.) Tj ET"
    found = read_pdf(bound([(upright + turned).encode(), turned.encode()]), SECONDS)
    clause = "Neither party may\nassign this."
    assert found.text == f"1. Term. Two years.\n\n{clause}\n\n{clause}"
    assert found.blank == []


def test_what_stands_in_a_form_is_read_too() -> None:
    """A stamp, or a page put in whole, as programs do that merge and sign (form XObjects, ISO 32000-1, 8.10)."""
    from io import BytesIO

    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    body = b"BT /F1 11 Tf 72 720 Td (1. Term. Two years.) Tj ET /Stamp Do"
    writer = PdfWriter(clone_from=PdfReader(BytesIO(bound([body]))))
    resources: Any = writer.pages[0]["/Resources"]
    form = DecodedStreamObject()
    form.set_data(b"BT /F1 11 Tf 72 300 Td (2. Law. New York.) Tj ET")
    form[NameObject("/Subtype")] = NameObject("/Form")
    form[NameObject("/Resources")] = DictionaryObject(resources)
    resources[NameObject("/XObject")] = DictionaryObject({NameObject("/Stamp"): writer._add_object(form)})
    kept = BytesIO()
    writer.write(kept)
    assert read_pdf(kept.getvalue(), SECONDS).text == "1. Term. Two years.\n\n2. Law. New York."


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (written((), ()), 422, "no text layer"),
        (b"%PDF-1.4\nno PDF", 422, "damaged, or none"),
        (b"", 422, "damaged, or none"),
        (written(("a",))[:300], 422, "damaged, or none"),
        (written(("a",), trailer="/Encrypt << /Filter /Standard /V 4 >>"), 422, "damaged|encrypted"),
    ],
)
def test_what_holds_no_text_is_refused(body: bytes, status: int, said: str) -> None:
    """With the reason, and what to do where something can be done."""
    with pytest.raises(Refusal, match=said) as refused:
        read_pdf(body, SECONDS)
    assert refused.value.status == status


def test_an_encrypted_pdf_says_so() -> None:
    """By a password that nobody has told; one without a password is read."""
    from io import BytesIO

    from pypdf import PdfReader, PdfWriter

    for password, readable in (("secret", False), ("", True)):
        writer = PdfWriter(clone_from=PdfReader(BytesIO(written(("1. Term. Two years.",)))))
        writer.encrypt(password, owner_password="owner", algorithm="RC4-128")  # noqa: S106  # of this file
        kept = BytesIO()
        writer.write(kept)
        if readable:
            assert read_pdf(kept.getvalue(), SECONDS).text == "1. Term. Two years."
        else:
            with pytest.raises(Refusal, match="encrypted") as refused:
                read_pdf(kept.getvalue(), SECONDS)
            assert (refused.value.status, refused.value.error_type) == (422, "encrypted")


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/x-www-form-urlencoded", written(("a",)), "a PDF was sent as 'application/x-www-form-urlencoded'"),
        ("application/json", written(("a",)), "a PDF was sent as 'application/json'"),
        ("", written(("a",)), "a PDF was sent without a content-type"),
        ("multipart/form-data", b"--x\r\ncontent-disposition: form-data", "a form was sent"),
    ],
)
def test_a_pdf_that_is_sent_as_something_else_says_how(kind: str, body: bytes, said: str) -> None:
    """curl's default, a form of a browser: that it is no JSON would lead nobody on. Where it is named, and where a text
    in JSON is sent under any name, nothing is said."""
    with pytest.raises(Refusal, match=f"{said}.*content-type: application/pdf") as told:
        refuse_unnamed(body, kind)
    assert told.value.status == 415
    refuse_unnamed(body, MEDIA_TYPE)
    refuse_unnamed(b'{"inputs": "a"}', "application/x-www-form-urlencoded")


def test_one_that_unpacks_to_gigabytes_is_refused() -> None:
    """Zeros packed twice, which take a ten-thousandth of their room; the child's memory has a bound."""
    bomb = zlib.compress(zlib.compress(bytes(200_000_000), 1), 9)
    assert len(bomb) < 10_000
    with pytest.raises(Refusal) as refused:
        read_pdf(bound([bomb], filter_name="/Filter [/FlateDecode /FlateDecode]"), SECONDS)
    assert refused.value.status in {413, 422}


def test_one_that_takes_too_long_is_refused() -> None:
    """The child is ended, and its memory is free."""
    with pytest.raises(Refusal, match="more time") as refused:
        read_pdf(written(("a",)), 0.01)
    assert refused.value.status == 413


def test_what_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By pages and by characters."""
    for name in ("MOST_PAGES", "MOST_CHARS"):
        with monkeypatch.context() as patch:
            patch.setattr(pdf, name, 1)
            with pytest.raises(Refusal, match="send it in parts") as refused:
                read_pdf(written(("some text",), ("more",)), SECONDS)
            assert refused.value.status == 413


def test_a_few_are_read_at_the_same_time() -> None:
    """Whoever comes then is told to come again."""

    async def ask() -> list[PdfText | BaseException]:
        reading, body = PdfReading(), written(("1. Term.",))
        return await asyncio.gather(*(reading.read(body, SECONDS) for _ in range(AT_ONCE + 1)), return_exceptions=True)

    *read, refused = asyncio.run(ask())
    assert [one.text for one in read if isinstance(one, PdfText)] == ["1. Term."] * AT_ONCE
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.headers) == (429, ((b"retry-after", b"1"),))


def test_without_pypdf_it_says_what_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is read in any case."""
    monkeypatch.setitem(sys.modules, "pypdf", None)
    monkeypatch.setattr(pdf, "find_spec", lambda _name: None)
    with pytest.raises(Refusal, match="pypdf is not installed") as refused:
        asyncio.run(PdfReading().read(written(("a",)), SECONDS))
    assert refused.value.status == 415
