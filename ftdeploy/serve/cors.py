"""Pages of other origins: which may ask from a browser, and what they may read of the answer.

A browser sends some requests (a form, a text) without asking first whether it may, and only keeps the answer from the
page; but it says where the page stands, and so these are refused before anything is done or recorded for them.

Never with credentials: no cookie and no login of the browser goes along, so a page can do nothing that whoever runs it
could not do without the browser. A bearer key is a header that the page sets by itself. Sources: fetch.spec.whatwg.org,
3.3 (CORS protocol); w3.org/TR/fetch-metadata, 2.3 (Sec-Fetch-Site, which browsers send over TLS and to localhost).
"""

from __future__ import annotations

from collections.abc import Iterable

from ftdeploy.serve.wire import Header, Refusal, Reply, Scope, header

#: Of requests and of answers, beside those that every page may set and read.
_SENT = b"authorization, content-type, x-request-id, x-subject-id, inference-header-content-length"
_READ = b"x-request-id, x-model-digest, x-truncated, inference-header-content-length, retry-after, www-authenticate"
#: Seconds for which a browser need not ask again whether it may.
_REMEMBERED = b"600"
_VARY: Header = (b"vary", b"origin")
#: What browsers call pages that are not of our origin: another port is the same site.
_ELSEWHERE = frozenset({b"cross-site", b"same-site"})


class Cors:
    """What other origins may do.

    Args:
        origins: exact ones, or ``*`` among them for all.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._all = b"*" in self._origins

    def preflight(self, scope: Scope, methods: Iterable[str]) -> Reply | None:
        """The answer to a browser that asks whether it may; None where it does not ask, or may not.

        Args:
            scope: of an OPTIONS request.
            methods: that the path has.
        """
        if header(scope, b"access-control-request-method") is None or self._allowed(scope) is None:
            return None
        headers: tuple[Header, ...] = (
            (b"access-control-allow-methods", ", ".join(sorted(methods)).encode()),
            (b"access-control-allow-headers", _SENT),
            (b"access-control-max-age", _REMEMBERED),
        )
        return Reply(b"", status=204, headers=headers)

    def headers(self, scope: Scope) -> tuple[Header, ...]:
        """What an answer to this request says of who may read it."""
        allowed = self._allowed(scope)
        vary = () if self._all else (_VARY,)  # a cache must not hand one origin's answer to another
        if allowed is None:
            return vary
        return ((b"access-control-allow-origin", allowed), (b"access-control-expose-headers", _READ), *vary)

    def allows(self, scope: Scope) -> bool:
        """Whether the request is of a page that may ask."""
        return self._allowed(scope) is not None

    def _allowed(self, scope: Scope) -> bytes | None:
        origin = header(scope, b"origin")
        if origin is None:
            return None
        if self._all:
            return b"*"
        return origin if origin in self._origins else None


def refuse_elsewhere(scope: Scope, cors: Cors | None) -> None:
    """Refuse what a page of another origin has a browser send that is not allowed to ask.

    Args:
        scope: of a request; only a POST leaves a trace.
        cors: None allows no other origin.

    Raises:
        Refusal: 403; the body was not read.
    """
    elsewhere = scope["method"] == "POST" and header(scope, b"sec-fetch-site") in _ELSEWHERE
    if elsewhere and (cors is None or not cors.allows(scope)):
        message = "pages of this origin may not ask; serve.cors_origins or FTDEPLOY_CORS_ORIGINS lists those that may"
        raise Refusal(403, "forbidden", message, unread=True)
