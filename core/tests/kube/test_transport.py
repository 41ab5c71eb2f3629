"""What can go wrong between here and the API server, and what is done about it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration

from virtfn.errors import BadReply, TooManyRequests, Unauthorized, Unavailable
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.resource import NODES
from virtfn.kube.transport import TransportSettings

ONE = "/api/v1/nodes/n1"
NODE = {"kind": "Node", "metadata": {"name": "n1"}}


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_obeyed(kit: Any, server: Any, client: KubeClient, clock: Any, code: int) -> None:
    put_off = kit.refused(code, headers={"Retry-After": "3"})
    server.answer("GET", ONE, put_off, put_off, kit.Answer(body=NODE))
    assert client.get(NODES, name="n1") == NODE
    assert len(clock.waits) == 2
    assert all(3.0 <= wait <= 4.0 for wait in clock.waits)


def test_retry_after_is_obeyed_for_writes_too(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("POST", "/api/v1/nodes", kit.refused(429, headers={"Retry-After": "1"}), kit.Answer(201, NODE))
    assert client.create(NODES, body=NODE) == NODE


def test_nobody_is_put_off_for_ever(kit: Any, server: Any, client: KubeClient, clock: Any) -> None:
    server.answer("GET", ONE, *[kit.refused(429, headers={"Retry-After": "1"})] * 9)
    with pytest.raises(TooManyRequests) as caught:
        client.get(NODES, name="n1")
    assert caught.value.retry_after == 1.0
    assert len(clock.waits) == TransportSettings().put_off_times


def test_a_very_long_retry_after_is_an_error_at_once(kit: Any, server: Any, client: KubeClient, clock: Any) -> None:
    server.answer("GET", ONE, kit.refused(503, headers={"Retry-After": "3600"}))
    with pytest.raises(Unavailable) as caught:
        client.get(NODES, name="n1")
    assert caught.value.retry_after == 3600.0
    assert clock.waits == []


def test_the_impatient_hear_of_retry_after_at_once(kit: Any, server: Any, client: KubeClient, clock: Any) -> None:
    server.answer("GET", ONE, kit.refused(429, headers={"Retry-After": "2"}))
    with pytest.raises(TooManyRequests):
        client.get(NODES, name="n1", patient=False)
    assert clock.waits == []


def test_closing_ends_the_wait_of_those_put_off(kit: Any, server: Any, client: KubeClient, clock: Any) -> None:
    clock.on_wait = lambda seconds: client.close()
    server.answer("GET", ONE, *[kit.refused(429, headers={"Retry-After": "1"})] * 9)
    with pytest.raises(TooManyRequests):
        client.get(NODES, name="n1")
    assert len(clock.waits) == 1


def test_a_failing_server_is_not_asked_again_here(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("GET", ONE, kit.refused(500, message="etcd is gone"))
    with pytest.raises(Unavailable, match=r"nodes n1: GET failed on the server \(etcd is gone; ") as caught:
        client.get(NODES, name="n1")
    assert caught.value.status == 500
    assert len(server.requests) == 1


def test_a_kept_connection_that_the_server_closed_is_no_failure_of_a_read(
    kit: Any, server: Any, client: KubeClient
) -> None:
    server.answer("GET", ONE, kit.Answer(drop=True), kit.Answer(body=NODE))
    assert client.get(NODES, name="n1") == NODE


def test_what_may_not_be_done_twice_is_not_done_twice(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("POST", "/api/v1/nodes", kit.Answer(drop=True))
    with pytest.raises(Unavailable, match="did not reach"):
        client.create(NODES, body=NODE)
    server.answer("PATCH", ONE, kit.Answer(drop=True))
    with pytest.raises(Unavailable):
        client.patch(NODES, name="n1", body=[{"op": "add", "path": "/x/-", "value": 1}], kind=PatchKind.JSON)
    assert len(server.requests) == 2


def test_merge_patches_may_be_sent_twice(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("PATCH", ONE, kit.Answer(drop=True), kit.Answer(body=NODE))
    assert client.patch(NODES, name="n1", body={"spec": {}}) == NODE


def test_a_server_that_is_not_there(server: Any, client_of: Callable[..., KubeClient]) -> None:
    client = client_of(configuration=Configuration(host="http://127.0.0.1:1", no_proxy="*"))
    with pytest.raises(Unavailable, match="nodes n1: GET did not reach the API server") as caught:
        client.get(NODES, name="n1")
    assert caught.value.retryable
    assert caught.value.status == 0


def test_a_server_that_says_nothing(kit: Any, server: Any, client: KubeClient) -> None:
    hold = kit.Hold()
    server.answer("GET", ONE, kit.watched(hold))
    with pytest.raises(Unavailable, match="had no answer in time"):
        client.get(NODES, name="n1", timeout=0.05)
    hold.go.set()


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"", b"[1]", b"\xff\xfe"])
def test_garbage_is_a_bad_reply(kit: Any, server: Any, client: KubeClient, body: bytes) -> None:
    server.answer("GET", ONE, kit.Answer(body=body))
    with pytest.raises(BadReply, match="nodes n1: the answer is"):
        client.get(NODES, name="n1")


def test_a_refusal_of_something_in_between_is_quoted(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("GET", ONE, kit.Answer(502, b"<h1>Bad Gateway</h1>"))
    with pytest.raises(Unavailable, match="Bad Gateway"):
        client.get(NODES, name="n1")


def test_a_redirect_is_not_followed_with_our_token(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("GET", ONE, kit.Answer(302, b"", headers={"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(Exception, match="HTTP 302"):
        client.get(NODES, name="n1")
    assert len(server.requests) == 1


def test_the_token_is_asked_for_before_each_request(server: Any, client_of: Callable[..., KubeClient]) -> None:
    server.objects[ONE] = {**NODE, "metadata": {"name": "n1"}}
    configuration = Configuration(host=server.url, no_proxy="*", api_key={"BearerToken": "Bearer one"})
    tokens = iter(["Bearer two", "Bearer three"])

    def refresh(configured: Configuration) -> None:
        configured.api_key["BearerToken"] = next(tokens)

    configuration.refresh_api_key_hook = refresh
    client = client_of(configuration=configuration)
    client.get(NODES, name="n1")
    client.get(NODES, name="n1")
    sent = [{name.lower(): value for name, value in request.headers.items()} for request in server.requests]
    assert [headers["authorization"] for headers in sent] == ["Bearer two", "Bearer three"]


def test_a_token_that_cannot_be_got_is_an_error_of_ours(server: Any, client_of: Callable[..., KubeClient]) -> None:
    configuration = Configuration(host=server.url, no_proxy="*", api_key={"BearerToken": "Bearer one"})

    def refresh(configured: Configuration) -> None:
        raise OSError("no such token file")

    configuration.refresh_api_key_hook = refresh
    with pytest.raises(Unauthorized, match="no such token file"):
        client_of(configuration=configuration).get(NODES, name="n1")
    assert server.requests == []


def test_an_address_may_have_a_path(server: Any, client_of: Callable[..., KubeClient]) -> None:
    server.objects[f"/clusters/c1{ONE}"] = NODE
    client = client_of(configuration=Configuration(host=f"{server.url}/clusters/c1/", no_proxy="*"))
    assert client.get(NODES, name="n1") == NODE


def test_a_plain_proxy_gets_the_whole_address(server: Any, client_of: Callable[..., KubeClient]) -> None:
    client = client_of(configuration=Configuration(host="http://api.example:80", proxy=server.url, no_proxy=""))
    server.objects[ONE] = NODE
    assert client.get(NODES, name="n1") == NODE
    assert server.requests[0].headers["Host"].startswith("api.example")


def test_connections_are_kept(server: Any, client: KubeClient) -> None:
    server.objects[ONE] = NODE
    for _ in range(5):
        client.get(NODES, name="n1")
    assert len({request.peer for request in server.requests}) == 1


def test_as_many_connections_are_kept_as_wanted(kit: Any, server: Any, client_of: Callable[..., KubeClient]) -> None:
    client = client_of(settings=TransportSettings(pool_size=8))
    together = threading.Barrier(8, timeout=kit.patience)

    def ask(times: int) -> None:
        for _ in range(times):
            together.wait()
            client.get(NODES, name="n1")

    server.objects[ONE] = NODE
    threads = [threading.Thread(target=ask, args=(5,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(kit.patience)
    assert len(server.requests) == 40
    assert len({request.peer for request in server.requests}) <= 8


def test_keepalive_is_on(server: Any, client_of: Callable[..., KubeClient]) -> None:
    configuration = Configuration(host=server.url, no_proxy="*")
    client_of(configuration=configuration)
    assert configuration.keep_alive


def test_a_stream_is_closed_from_another_thread(kit: Any, server: Any, client: KubeClient) -> None:
    hold = kit.Hold()
    server.answer("GET", "/api/v1/nodes", kit.watched(b"first\n", hold))
    seen: list[bytes] = []

    def read() -> None:
        with stream:
            seen.extend(stream.chunks())

    stream = client.watch(NODES, resource_version="1", seconds=300, quiet=kit.patience)
    thread = threading.Thread(target=read)
    thread.start()
    assert hold.reached.wait(kit.patience)
    stream.close()
    thread.join(kit.patience)
    assert not thread.is_alive()
    assert seen in ([b"first\n"], [])
    stream.close()


def test_a_stream_that_breaks_is_unavailable(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("GET", "/api/v1/nodes", kit.watched(b"first\n", kit.Cut()))
    stream = client.watch(NODES, resource_version="1", seconds=300, quiet=kit.patience)
    with stream, pytest.raises(Unavailable, match="nodes: watch did not reach"):
        list(stream.chunks())


def test_a_stream_that_says_nothing_is_unavailable(kit: Any, server: Any, client: KubeClient) -> None:
    hold = kit.Hold()
    server.answer("GET", "/api/v1/nodes", kit.watched(b"first\n", hold))
    stream = client.watch(NODES, resource_version="1", seconds=300, quiet=0.05)
    with stream, pytest.raises(Unavailable, match="had no answer in time"):
        list(stream.chunks())
    hold.go.set()


def sockets() -> int:
    """How many this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(str(link.readlink()).startswith("socket:") for link in links if link.is_symlink())


def test_an_error_that_is_kept_keeps_no_connection(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("POST", "/api/v1/nodes", *[kit.Answer(drop=True)] * 10)
    kept = []
    for _ in range(10):
        with pytest.raises(Unavailable) as caught:
            client.create(NODES, body=NODE)
        kept.append(caught.value)
    server.wait_until_idle()
    gc.collect()
    before = sockets()
    kept.clear()
    gc.collect()
    assert sockets() == before
