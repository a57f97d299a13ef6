"""Origins: those that a browser could send are taken, and each other is told what is wrong with it."""

from __future__ import annotations

import pytest

from ftdeploy.web_origins import wrong_origin


@pytest.mark.parametrize(
    "origin",
    ["*", "https://app.example.org", "http://localhost:5173", "http://127.0.0.1:80800"[:-1], "http://[::1]:3000",
     "https://xn--mnchen-3ya.example", "chrome-extension://abcdef", "http://x:443"],
)  # fmt: skip
def test_what_a_browser_sends_is_an_origin(origin: str) -> None:
    """Scheme and host, the port where it is not the usual one."""
    assert wrong_origin(origin) is None


@pytest.mark.parametrize(
    ("origin", "told"),
    [("https://app.example.org/", "slash"), ("https://app.example.org/page", "path"), ("app.example.org", "scheme"),
     ("https://App.example.org", "lower case"), ("https://*.example.org", "scheme"), ("", "scheme"),
     ("https://x\r\ny", "scheme"), ("null", "sandboxed"), ("https://x:443", "usual port"), ("http://x:80", "usual")],
)  # fmt: skip
def test_what_no_browser_sends_is_told(origin: str, told: str) -> None:
    """It would look as if it were allowed, and never be; `null` would allow everybody."""
    assert told in str(wrong_origin(origin))
