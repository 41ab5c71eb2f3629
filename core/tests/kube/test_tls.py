"""A TLS connection that fails leaves no file open, whenever it fails."""

from __future__ import annotations

import gc
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import trustme
from kubernetes.client import Configuration

from virtfn.errors import Unavailable
from virtfn.kube.access import connect
from virtfn.kube.resource import NODES
from virtfn.kube.tls import closed_on_failure
from virtfn.kube.transport import TransportSettings

AT_ONCE = struct.pack("ii", 1, 0)
PATIENT = TransportSettings(connect_timeout=30.0)
CERTIFICATES_ARE_READ = 0.003  # seconds: a client does that after TCP and before TLS


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    connection.close()


def open_now() -> set[ssl.SSLSocket]:
    """Of clients."""
    found = [each for each in gc.get_objects() if isinstance(each, ssl.SSLSocket)]
    return {each for each in found if not each.server_side and each.fileno() != -1}


@pytest.fixture
def serving() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """A server that does this with each connection; its port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(treat: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                treat(accepted)

        listeners.append(listener)
        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        port: int = listener.getsockname()[1]
        return port

    yield serve
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()


def test_a_reset_between_tcp_and_tls(serving: Callable[..., int]) -> None:
    plain = socket.create_connection(("127.0.0.1", serving(reset)))
    poller = select.poll()
    poller.register(plain, select.POLLIN)
    assert poller.poll(30_000), "the reset has come"
    before = open_now()
    with pytest.raises(ConnectionResetError) as kept, closed_on_failure():
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    assert open_now() == before
    assert kept.value.__traceback__ is not None, "it is the error that the socket hangs on"


def before_tls(accepted: socket.socket) -> None:
    time.sleep(CERTIFICATES_ARE_READ)
    reset(accepted)


def in_the_handshake(accepted: socket.socket) -> None:
    accepted.recv(1 << 16)
    reset(accepted)


def with_words_of_its_own(accepted: socket.socket) -> None:
    accepted.sendall(b"HTTP/1.1 503 there is nobody\r\n\r\n")
    accepted.close()


@pytest.mark.parametrize("cut", [before_tls, in_the_handshake, with_words_of_its_own])
def test_a_client_that_keeps_its_errors_keeps_no_connection(
    serving: Callable[..., int], cut: Callable[[socket.socket], None]
) -> None:
    configured = Configuration()
    configured.host = f"https://127.0.0.1:{serving(cut)}"
    before = open_now()
    kept = []
    client = connect(configured, user_agent="test", random=Random(1), settings=PATIENT)
    for _ in range(3):
        with pytest.raises(Unavailable, match="did not reach the API server") as caught:
            client.get(NODES, name="a")
        kept.append(caught.value)
    assert open_now() == before
    client.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "said",
    [b"", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{", HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"],
    ids=["nothing", "half a head", "half a body", "a line of a watch"],
)
def test_nor_one_that_is_cut_in_an_answer(serving: Callable[..., int], tmp_path: Path, said: bytes) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def answer(accepted: socket.socket) -> None:
        with context.wrap_socket(accepted, server_side=True) as wrapped:
            wrapped.recv(1 << 16)
            wrapped.sendall(said)
            wrapped.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)

    before = open_now()
    configured = Configuration()
    configured.host, configured.ssl_ca_cert = f"https://127.0.0.1:{serving(answer)}", str(tmp_path / "ca.pem")
    client = connect(configured, user_agent="test", random=Random(1), settings=PATIENT)
    with pytest.raises(Unavailable) as of_a_read:
        client.get(NODES, name="a")
    with (
        pytest.raises(Unavailable) as of_a_watch,
        client.watch(NODES, resource_version="1", seconds=300, quiet=30.0) as stream,
    ):
        list(stream.chunks())
    assert open_now() == before
    client.close()
    assert of_a_read.value is not of_a_watch.value, "both are kept until here"
