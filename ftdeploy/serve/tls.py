"""TLS: a certificate that is looked at before the port is opened, and handshakes under the limits of all connections.

asyncio and uvloop shake hands out of our sight: such connections would be counted by nobody, and each could take a
minute. Here a connection counts from its first moment and has the time of a request's headers for both together; one
that says nothing costs no TLS at all.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ftdeploy.errors import ServeError

if TYPE_CHECKING:
    from ftdeploy.serve.protocol import GuardedProtocol

log = logging.getLogger(__name__)

#: Both name a PEM file: the certificate with its chain, and its key.
CERTIFICATE, KEY = "FTDEPLOY_TLS_CERT", "FTDEPLOY_TLS_KEY"
#: How long a client may take to say goodbye, in seconds, after we did.
SHUTDOWN_SECONDS = 2.0
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for
_DAY = 86_400
_SOON_DAYS = 14


class Tls:
    """A certificate with its chain and its key, both PEM, as they are on disk by now.

    TLS 1.2 is the least; ciphers are OpenSSL's.

    Args:
        certificate: the file.
        key: the file.

    Raises:
        ServeError: one of them is missing, no PEM, encrypted, not the other's, not valid now, or not for servers.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key
        self._stamp = self._stamps()
        self.context, self.ends = _load(certificate, key)

    def __str__(self) -> str:
        return f"TLS with {self.certificate}, valid until {time.strftime('%Y-%m-%d', time.gmtime(self.ends))}"

    @property
    def ends_soon(self) -> bool:
        """Whether it should have been renewed by now."""
        return self.ends - time.time() < _SOON_DAYS * _DAY

    def refresh(self) -> None:
        """Take what is on disk now, for connections from now on; keep what there was when that cannot be used."""
        stamp = self._stamps()
        if stamp == self._stamp:
            return
        self._stamp = stamp  # what cannot be used is not tried again until it changes
        try:
            self.context, self.ends = _load(self.certificate, self.key)
        except ServeError as error:
            log.error("%s; the certificate before it stays, %s. %s", error.what, self, error.fix)  # noqa: TRY400  # no traceback: the sentence says it
        else:
            log.info("from now on %s", self)

    def _stamps(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_stamp(path) for path in (self.certificate, self.key))


def open_tls(environment: Mapping[str, str] | None = None) -> Tls | None:
    """The certificate that ``FTDEPLOY_TLS_CERT`` and ``FTDEPLOY_TLS_KEY`` name; None where they name none.

    Args:
        environment: None takes ``os.environ``.

    Raises:
        ServeError: one is named without the other, or they cannot be used.
    """
    environment = os.environ if environment is None else environment
    certificate, key = (environment.get(name, "").strip() for name in (CERTIFICATE, KEY))
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise ServeError(
            f"TLS wants a certificate and its key, and only the {'certificate' if certificate else 'key'} is named",
            cause="one of --tls-cert and --tls-key was left out",
            fix=f"name both, or neither ({CERTIFICATE} and {KEY} in the environment)",
        )
    return Tls(Path(certificate).expanduser().absolute(), Path(key).expanduser().absolute())


def _load(certificate: Path, key: Path) -> tuple[ssl.SSLContext, float]:
    """The server's side, and when the certificate ends, unix seconds; tried on a client in memory.

    Raises:
        ServeError: see `Tls`.
    """
    for path, what in ((certificate, "certificate"), (key, "key")):
        try:
            with path.open("rb") as handle:
                handle.read(1)
        except OSError as error:
            raise ServeError(
                f"the TLS {what} {path} cannot be read: {error.strerror}",
                cause="the path is wrong, or this user may not read it",
                fix="name the PEM files with --tls-cert and --tls-key, and let this user read them",
            ) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: _encrypted(key))
        starts, ends = _validity(context, certificate)
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or (error.reason or str(error)).lower().replace("_", " ")
        raise ServeError(
            f"the TLS certificate {certificate} with the key {key} cannot be used: {reason}",
            cause="they do not belong together, are no PEM, or the certificate is not for servers",
            fix="name the certificate with its chain, and the key it was made for (openssl x509 -in CERT -text)",
        ) from error
    now = time.time()
    if not starts <= now < ends:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ends if now >= ends else starts))
        raise ServeError(
            f"the TLS certificate {certificate} {'expired' if now >= ends else 'is not valid before'} {when}",
            cause="it was not renewed, or this machine's clock is wrong",
            fix="renew it, or set the clock",
        )
    return context, ends


def _encrypted(key: Path) -> str:
    raise ServeError(
        f"the TLS key {key} is encrypted",
        cause="it wants a pass phrase, and nobody is there to type one",
        fix="write it without: openssl pkey -in KEY -out PLAIN, readable by the service's user alone",
    )


def _validity(context: ssl.SSLContext, certificate: Path) -> tuple[float, float]:
    """From when to when the certificate is valid, unix seconds, as a client that trusts it sees it in a handshake.

    Raises:
        ssl.SSLError: the handshake fails, such as for a certificate that is not one of a server.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(certificate)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = trusting.wrap_bio(down, up), context.wrap_bio(up, down, server_side=True)
    left = set(ends)
    while left:
        for end in tuple(left):
            try:
                end.do_handshake()
                left.discard(end)
            except ssl.SSLWantReadError:
                pass
    found = cast("dict[str, str]", ends[0].getpeercert())
    return ssl.cert_time_to_seconds(found["notBefore"]), ssl.cert_time_to_seconds(found["notAfter"])


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size


class TlsDoor(asyncio.Protocol):
    """A connection before it speaks HTTP: it is counted, and shakes hands once it says something.

    Args:
        inner: what speaks HTTP afterwards.
        context: of the certificate.
        seconds: for the handshake.
    """

    def __init__(self, inner: GuardedProtocol, context: ssl.SSLContext, seconds: float) -> None:
        self._inner = inner
        self._context = context
        self._seconds = seconds
        self._hello = bytearray()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._raw = cast("asyncio.Transport", transport)
        self._inner.arrive(self._raw)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """It went before it shook hands."""
        self._inner.leave()

    def data_received(self, data: bytes) -> None:
        """The client begins; what follows goes to the TLS layer."""
        self._hello += data
        if self._task is None:
            self._raw.pause_reading()
            self._task = asyncio.get_running_loop().create_task(self._shake())

    async def _shake(self) -> None:
        loop = asyncio.get_running_loop()
        early = _Early()
        shaking = loop.create_task(
            loop.start_tls(
                self._raw, early, self._context, server_side=True,
                ssl_handshake_timeout=self._seconds, ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        )  # fmt: skip
        # In two steps: right behind those that start_tls takes, and before the loop reads from any socket again.
        loop.call_soon(loop.call_soon, self._feed)
        try:
            made = await shaking
        except (OSError, EOFError):  # what is no TLS, gave up, or was given up: no fault of ours
            made = None
        if made is None or made.is_closing() or early.lost or self._raw.is_closing():
            self._inner.leave()
            self._raw.abort()
            return
        made.set_protocol(self._inner)
        self._inner.connection_made(made)
        for piece in early.pieces:
            self._inner.data_received(piece)
        if early.ended:
            self._inner.eof_received()

    def _feed(self) -> None:
        """Hand what came before the TLS layer was there to it, as a transport does."""
        layer = cast("asyncio.BufferedProtocol", self._raw.get_protocol())
        left = memoryview(self._hello)
        while left and not self._raw.is_closing():
            room = memoryview(layer.get_buffer(len(left)))
            size = min(len(room), len(left))
            room[:size] = left[:size]
            layer.buffer_updated(size)
            left = left[size:]


class _Early(asyncio.Protocol):
    """Keeps what is decrypted before HTTP is there to take it: a client may send it with the end of its handshake."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = self.lost = False

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self.lost = True
