"""The port is bound once, for as many workers as there will be, or it is said why not."""

from __future__ import annotations

import resource
import socket
import sys

import pytest

from ftdeploy.errors import ServeError
from ftdeploy.serve.listen import hold_back, listen, share_of, url_of


def close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


def test_a_name_is_listened_on_at_each_of_its_addresses() -> None:
    """localhost answers at 127.0.0.1, and at ::1 where there is one."""
    sockets = listen("localhost", 0)
    try:
        assert "127.0.0.1" in {one.getsockname()[0] for one in sockets}
        with socket.create_connection(sockets[0].getsockname()[:2]) as client:
            assert client.getpeername()[:2] == sockets[0].getsockname()[:2]
    finally:
        close(sockets)


def test_connections_are_dealt_out_to_all_queues() -> None:
    """Each of three sockets of one port gets some of many."""
    sockets = listen("127.0.0.1", 0, queues=3)
    clients = []
    try:
        assert len({one.getsockname() for one in sockets}) == 1
        for _ in range(120):
            clients.append(socket.create_connection(sockets[0].getsockname()))  # noqa: PERF401  # closed below, whatever comes
        taken = []
        for one in sockets:
            one.setblocking(False)
            taken.append(0)
            try:
                while True:
                    one.accept()[0].close()
                    taken[-1] += 1
            except BlockingIOError:
                continue
        assert sum(taken) == 120
        assert min(taken) > 10
    finally:
        close([*clients, *sockets])


@pytest.mark.parametrize("queues", [1, 2])
@pytest.mark.parametrize("taken", [1, 2])
def test_a_port_that_is_taken_is_an_error(queues: int, taken: int) -> None:
    """Also by a service that lets others in beside it, as one with several queues does."""
    others = listen("127.0.0.1", 0, queues=taken)
    port = others[0].getsockname()[1]
    try:
        with pytest.raises(ServeError, match=f"127.0.0.1:{port}: Address already in use"):
            listen("127.0.0.1", port, queues=queues)
    finally:
        close(others)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("203.0.113.7", 3000), ("no.such.host.invalid", 1)])
def test_what_cannot_be_listened_on_is_an_error(host: str, port: int) -> None:
    """A port out of range, another machine's address, a name that nobody knows."""
    with pytest.raises(ServeError, match="cannot listen on"):
        listen(host, port)


def test_more_workers_than_files_may_be_open_are_an_error_that_says_so() -> None:
    """No other program is to blame."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as one:
        resource.setrlimit(resource.RLIMIT_NOFILE, (one.fileno() + 10, hard))
        try:
            with pytest.raises(ServeError, match="Too many open files") as caught:
                listen("127.0.0.1", 0, queues=1000)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.cause == "1000 worker(s) have a socket each, and no more files may be open"
    assert "--workers" in caught.value.fix


@pytest.mark.parametrize(("sockets", "parts"), [(1, 1), (1, 3), (3, 3), (4, 3), (3, 4), (8, 1)])
def test_every_socket_has_a_worker_and_every_worker_a_socket(sockets: int, parts: int) -> None:
    """However many workers a bundle wants that is swapped in."""
    made = [socket.socket() for _ in range(sockets)]
    try:
        shares = [share_of(made, index, parts) for index in range(parts)]
        assert all(shares)
        assert {id(one) for share in shares for one in share} == {id(one) for one in made}
    finally:
        close(made)


def test_an_address_as_a_url() -> None:
    """IPv6 in brackets."""
    (one,) = listen("127.0.0.1", 0)
    with one:
        assert url_of(one) == f"http://127.0.0.1:{one.getsockname()[1]}"
    six = socket.socket(socket.AF_INET6)
    with six:
        assert url_of(six) == "http://[::]:0"


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have no such filter")
def test_held_back_clients_are_not_let_in_and_those_before_are() -> None:
    """A socket that closes resets who waits in its backlog: nobody may come between the last look at it and that."""
    (listening,) = listen("127.0.0.1", 0)
    address = listening.getsockname()
    with listening, socket.create_connection(address):
        hold_back(listening)
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.3)
        listening.setblocking(False)
        taken, _ = listening.accept()
        with taken, pytest.raises(BlockingIOError):
            listening.accept()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
