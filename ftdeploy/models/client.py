"""HTTP as an evaluation wants it: answers that are late are waited for, within bounds, and whatever else comes is told.

Uses httpx (https://www.python-httpx.org), whose client several threads may share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ftdeploy import __version__
from ftdeploy.errors import DependencyError, ServeError, SourceError

#: Statuses after which the same request may be answered.
_LATER = (429, 503)
_NO_KEY, _FORBIDDEN = 401, 403
_DENIED = (_NO_KEY, _FORBIDDEN)
#: A bearer key for every service that is asked; a URL that names a user is asked as that user instead.
TOKEN = "FTDEPLOY_TOKEN"  # noqa: S105  # the name of a variable
_OK = 200
#: Seconds of the first wait where the service names none; each further one is twice as long, up to the last.
_WAIT, _LONGEST_WAIT = 0.25, 10.0
#: How often a request is sent again after its connection broke: services restart.
_RECONNECTS = 3
_LINE = 200  # most characters of an answer that a message repeats


@dataclass(frozen=True, kw_only=True)
class Calls:
    """How a service is called.

    Attributes:
        texts: in a request.
        in_flight: requests at the same time.
        timeout: seconds until a request without an answer is given up.
        patience: seconds that a request which is put off (429, 503) is sent again for.
    """

    texts: int = 32
    in_flight: int = 4
    timeout: float = 60.0
    patience: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP.
        document: the body as JSON; None where it is none.
        digest: the header ``X-Model-Digest``, or empty.
        told: the body's beginning, for messages.
    """

    status: int
    document: Any
    digest: str
    told: str

    @property
    def good(self) -> bool:
        """Whether it is an answer to what was asked."""
        return self.status == _OK


class Client:
    """Asks one service; several threads may share it.

    Args:
        place: an http or https URL. A user and a password in it are sent (Basic), its query goes with every request,
            and neither is shown. Without a user, the key of the environment's ``FTDEPLOY_TOKEN`` is sent (Bearer).
        calls: bounds.

    Raises:
        SourceError: the URL is none, or the key has characters that no key has.
        DependencyError: httpx is not installed.
    """

    def __init__(self, place: str, calls: Calls) -> None:
        try:
            import httpx
        except ImportError as error:
            raise DependencyError(
                "asking a running service needs the package httpx",
                cause="ftdeploy was installed without its extra `eval`",
                fix="pip install 'ftdeploy[eval]'",
            ) from error
        try:
            url = httpx.URL(place)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise _no_url(place, str(error)) from error
        if not url.host:
            raise _no_url(place, "it names no host")
        self._httpx, self._calls = httpx, calls
        self.path = url.path.rstrip("/")
        self.origin = str(url.copy_with(userinfo=b"", raw_path=b"/")).rstrip("/")
        self.shown = self.origin + self.path
        self._token = "" if url.username else os.environ.get(TOKEN, "").strip()
        if not _sendable(self._token):
            raise SourceError(
                f"what {TOKEN} holds is no key: it has spaces, or characters that are not ASCII",
                cause="more than the key was copied",
                fix="set it to the bare key, such as `ftdeploy keys add` prints it",
            )
        bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._http = httpx.Client(
            auth=(url.username, url.password) if url.username else None,
            params=url.params,
            timeout=httpx.Timeout(calls.timeout),
            limits=httpx.Limits(max_connections=calls.in_flight),
            headers={"User-Agent": f"ftdeploy/{__version__}", **bearer},
        )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def get(self, path: str, *, wanted: bool = False) -> Mapping[str, Any] | None:
        """The JSON object at a path; None where there is none.

        Args:
            path: from the root.
            wanted: whether a login that is asked for is an error; gateways ask for one at paths that do not exist.

        Raises:
            SourceError: the service cannot be reached, or wants a login.
            ServeError: no answer in time.
        """
        found = self._send("GET", path, None)
        if wanted and found.status in _DENIED:
            raise self._denied(found)
        return found.document if found.good and isinstance(found.document, dict) else None

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Ask; while the service puts it off (429, 503), again after what ``Retry-After`` says.

        Raises:
            SourceError: the service cannot be reached, or wants a login.
            ServeError: no answer in time, or the service stays overloaded.
        """
        found = self._send("POST", path, body)
        if found.status in _DENIED:
            raise self._denied(found)
        return found

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        began, attempt, broken = time.monotonic(), 0, 0
        while True:
            try:
                found = self._http.request(method, self.origin + path, json=body)
            except self._httpx.TimeoutException as error:
                raise self._late(path) from error
            except self._httpx.TransportError as error:
                broken += 1
                if broken > _RECONNECTS or isinstance(error, self._httpx.UnsupportedProtocol):
                    raise self._unreachable(error) from error
                time.sleep(_WAIT * 2 ** (broken - 1))
                continue
            if found.status_code not in _LATER:
                return _answer(found)
            wait = retry_after(found.headers.get("Retry-After"))
            wait = min(_WAIT * 2**attempt, _LONGEST_WAIT) if wait is None else wait
            attempt += 1
            if time.monotonic() - began + wait > self._calls.patience:
                raise self._overloaded(path, _answer(found))
            time.sleep(wait)

    def _unreachable(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.shown} cannot be reached: {error or type(error).__name__}",
            cause="nothing serves there, or a firewall or proxy stands between",
            fix="start the service (`ftdeploy serve BUNDLE`), or correct host and port",
        )

    def _denied(self, found: Answer) -> SourceError:
        told = f": {found.told.replace(self._token, '...') if self._token else found.told}" if found.told else ""
        if not self._token:
            return SourceError(
                f"{self.shown} wants a login ({found.status}){told}",
                cause="the service is protected",
                fix=f"set {TOKEN} to a bearer key of it, or put user and password into the URL "
                "(https://USER:PASSWORD@HOST)",
            )
        if found.status == _FORBIDDEN:
            return SourceError(
                f"{self.shown} does not allow this with the key of {TOKEN} (403){told}",
                cause="the key lacks the scope `predict`",
                fix="set it to another key (`ftdeploy keys add NAME --scope predict`)",
            )
        return SourceError(
            f"{self.shown} does not take the key of {TOKEN} (401){told}",
            cause="the key was revoked, has expired, or is one of another service",
            fix="set it to a key of this service; `ftdeploy keys ls` beside it lists them",
        )

    def _late(self, path: str) -> ServeError:
        return ServeError(
            f"{self.origin}{path} gave no answer within {self._calls.timeout:g} s",
            cause="the service hangs, or the model is too slow for a request of this size",
            fix="look into the service's log; ask with fewer texts in a request",
        )

    def _overloaded(self, path: str, answer: Answer) -> ServeError:
        return ServeError(
            f"{self.origin}{path} put a request off for {self._calls.patience:g} s: {answer.status} {answer.told}",
            cause="it is overloaded or not ready",
            fix="wait until it is ready and has less to do, then run again",
        )


def retry_after(header: str | None) -> float | None:
    """Seconds that ``Retry-After`` asks for, a number or a date (RFC 9110, 10.2.3); None where it says nothing."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _sendable(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def _answer(found: Any) -> Answer:
    try:
        document = found.json()
    except ValueError:
        document = None
    told = document.get("error") if isinstance(document, dict) and isinstance(document.get("error"), str) else None
    location = found.headers.get("Location", "")
    shown = told or (f"it points to {location}" if location else " ".join(found.text[: 2 * _LINE].split()))
    return Answer(
        status=found.status_code,
        document=document,
        digest=found.headers.get("X-Model-Digest", ""),
        told=shown[:_LINE],
    )


def _no_url(place: str, why: str) -> SourceError:
    return SourceError(
        f"{place!r} is no URL: {why}",
        cause="a typing error",
        fix="write it as http://HOST:PORT, or https://HOST/v2/models/NAME",
    )
