"""The sockets of the service: bound once, before anything else, so that a port that is taken is said at once.

They stay open in the supervisor whatever becomes of a worker, so a connection that waits in one is not lost. With one
socket for several workers, whoever wakes first would take all connections of a burst, and the others' share of the
processors would idle; so each worker has one, and the kernel deals out connections evenly (SO_REUSEPORT, socket(7)).
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Sequence

from ftdeploy.errors import ServeError

#: Connections that wait for a worker to take them: while one is replaced, the kernel keeps them here. Linux cuts it to
#: net.core.somaxconn, 4096 by itself.
BACKLOG = 4096
#: What an address says that this machine knows of by name but does not have, such as ::1 where IPv6 is off.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
#: What it says where no more files may be open, in this process or at all.
_FULL = frozenset({errno.EMFILE, errno.ENFILE})

#: setsockopt's name for a filter of what comes in, which Python does not know of (socket(7)).
_SO_ATTACH_FILTER = 26
#: Classic BPF, as (code, jump if true, jump if false, operand): a segment with SYN and without ACK is dropped.
_NO_SYN = (
    (0x30, 0, 0, 13),  # the byte of flags of the TCP header
    (0x54, 0, 0, 0x12),  # SYN and ACK of it
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # take whole
)

Address = tuple[str, int] | tuple[str, int, int, int]


def listen(host: str, port: int, *, queues: int = 1) -> list[socket.socket]:
    """Sockets that listen on each address that a host name stands for.

    Args:
        host: name or address; 0.0.0.0 is all of IPv4, and :: all of IPv6 alone.
        port: to listen on; 0 takes a free one.
        queues: sockets for each address.

    Raises:
        ServeError: the port is taken or not allowed, or the host is not one of this machine.
    """
    bound: list[socket.socket] = []
    try:
        refused: OSError | None = None
        # Asked without the port, of which it would quietly keep the lower 16 bits.
        for family, _, _, _, found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            try:
                bound += _listen(family, (found[0], port, *found[2:]), queues)
            except OSError as error:
                refused = error
                if error.errno not in _ABSENT:
                    raise
        if not bound and refused is not None:
            raise refused
    except (OSError, OverflowError, UnicodeError) as error:
        for one in bound:
            one.close()
        cause = "another program listens there, or the address is not one of this machine"
        fix = "choose another with --port and --host, or stop the other program"
        if isinstance(error, OSError) and error.errno in _FULL:
            cause = f"{queues} worker(s) have a socket each, and no more files may be open"
            fix = "ask for fewer with --workers, or raise the limit (ulimit -n)"
        message = f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}"
        raise ServeError(message, cause=cause, fix=fix) from error
    return bound


def share_of(sockets: Sequence[socket.socket], index: int, parts: int) -> list[socket.socket]:
    """The sockets that one of several workers listens on: every one has somebody, and everybody has one.

    Args:
        sockets: all of them.
        index: of the worker, from 0.
        parts: how many workers there are.
    """
    if parts > len(sockets):
        return [sockets[index % len(sockets)]]
    return [one for number, one in enumerate(sockets) if number % parts == index]


def url_of(listening: socket.socket, *, tls: bool = False) -> str:
    """The address as a URL."""
    host, port = listening.getsockname()[:2]
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


def hold_back(listening: socket.socket) -> None:
    """Have the kernel set up no further connection, while those that wait can still be taken.

    Between the last look at an empty backlog and the closing of its socket, there is time for a client to be let in,
    and to be reset. A client that comes after this asks again within a second, as TCP does, and is refused by then.

    Args:
        listening: one of the sockets of `listen`; whoever else holds it open is held back, too. Nothing is done where
            the kernel has no such filters: not on Linux, or in a sandbox that forbids them.
    """
    if sys.platform != "linux":
        return
    instructions = b"".join(struct.pack("=HBBI", *one) for one in _NO_SYN)
    program = ctypes.create_string_buffer(instructions)
    try:
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_NO_SYN), ctypes.addressof(program))
        )
    except OSError:
        return


def _listen(family: int, address: Address, queues: int) -> list[socket.socket]:
    if queues == 1:
        return [_bind(family, address, shared=False)]
    # First alone: sockets that share a port would be let in beside another service that does the same.
    with _bind(family, address, shared=False) as alone:
        address = alone.getsockname()
    bound: list[socket.socket] = []
    try:
        for _ in range(queues):
            bound.append(_bind(family, address, shared=True))  # noqa: PERF401  # those before a failure are closed
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def _bind(family: int, address: Address, *, shared: bool) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # its own address, and not IPv4's beside it
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening
