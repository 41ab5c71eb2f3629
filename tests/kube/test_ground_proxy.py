"""The proxy of the bed does what its faults say: plain requests and watches, with and without harm."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from http.client import IncompleteRead

import pytest
from kube.bed import faults
from kube.bed.proxy import Proxy
from kube.bed.raw import PATIENCE, config_map, config_maps, names, opened
from kube.bed.server import ADMIN, ApiServer
from kubernetes import client


@pytest.fixture
def three() -> list[str]:
    """Names of the three config maps that `watch` makes; in this order they are listed, too."""
    return ["one", "three", "two"]


@pytest.fixture
def watch(kube_admin: client.ApiClient, namespace: str, three: list[str]) -> str:
    """What to ask for to watch from before the three were made: they come in this order, as events."""
    core = client.CoreV1Api(kube_admin)
    begin = core.list_namespaced_config_map(namespace).metadata.resource_version
    for name in three:
        core.create_namespaced_config_map(namespace, config_map(name, text="x" * 100))
    return config_maps(namespace, watch="true", resourceVersion=begin)


def test_the_proxy_forwards_and_records(
    client_for: Callable[..., client.ApiClient], proxy: Proxy, namespace: str, watch: str, three: list[str]
) -> None:
    core = client.CoreV1Api(client_for(ADMIN, server=proxy.url))
    first = core.list_namespaced_config_map(namespace, limit=2, label_selector="a notin (b)")
    assert [item.metadata.name for item in first.items] == three[:2]
    core.patch_namespaced_config_map("two", namespace, {"data": {"text": "y" * 300_000}})
    assert core.read_namespaced_config_map("two", namespace).data == {"text": "y" * 300_000}
    core.delete_namespaced_config_map("two", namespace)
    with pytest.raises(client.ApiException, match="not found"):
        core.read_namespaced_config_map("two", namespace)
    asked = proxy.requests()
    assert [request.method for request in asked] == ["GET", "PATCH", "GET", "DELETE", "GET"]
    assert asked[0].target == f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=a notin (b)&limit=2"
    assert json.loads(asked[1].body)["data"]["text"].startswith("yyy")
    assert "python" in asked[0].user_agent
    assert [request.time for request in asked] == sorted(request.time for request in asked)
    assert proxy.wait_for(2, "GET", "/configmaps/two") == [asked[2], asked[4]]
    with pytest.raises(TimeoutError, match=r"0 of 1 requests PUT"):
        proxy.wait_for(1, "PUT", timeout=0)


def test_a_kubeconfig_and_kubectl_fit_a_tls_proxy(api_server: ApiServer, tls_proxy: Proxy, namespace: str) -> None:
    kubectl = api_server.assets.kubectl
    assert kubectl is not None
    kubeconfig = api_server.kubeconfig(server=tls_proxy.url)
    argv = [str(kubectl), "--kubeconfig", str(kubeconfig), "get", "namespace", namespace, "-o", "name"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"namespace/{namespace}\n", "")
    assert "kubectl" in tls_proxy.requests("GET", f"/namespaces/{namespace}$")[0].user_agent


def test_a_watch_comes_through_as_it_happens(
    api_server: ApiServer, kube_admin: client.ApiClient, tls_proxy: Proxy, namespace: str, watch: str, three: list[str]
) -> None:
    with opened(tls_proxy.url, watch, ca_file=api_server.ca_file) as answer:
        assert names([answer.readline() for _ in three]) == three
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map("four"))
        assert names([answer.readline()]) == ["four"], "while the watch goes on"
    assert tls_proxy.requests()[0].is_watch


def test_faults_are_for_the_chosen_requests_and_so_often(proxy: Proxy, namespace: str) -> None:
    rule = proxy.on("GET", r"configmaps\?", fault=faults.TOO_MANY, times=2)
    proxy.on("POST", "", fault=faults.INTERNAL, times=None)
    statuses = []
    for target in (config_maps(namespace), "/version", config_maps(namespace), config_maps(namespace)):
        with opened(proxy.url, target) as answer:
            statuses.append((answer.status, answer.headers["Retry-After"]))
            assert json.loads(answer.read())
    assert statuses == [(429, "1"), (200, None), (429, "1"), (200, None)]
    assert [request.target for request in rule.hits] == [config_maps(namespace), config_maps(namespace)]
    proxy.on("*", "", fault=faults.GONE, times=None)
    proxy.clear()
    with opened(proxy.url, "/version") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (faults.GONE, 410, "Expired"),
        (faults.TOO_MANY, 429, "TooManyRequests"),
        (faults.INTERNAL, 500, "InternalError"),
        (faults.UNAVAILABLE, 503, "ServiceUnavailable"),
    ],
)
def test_an_error_is_what_an_api_server_says(
    client_for: Callable[..., client.ApiClient], proxy: Proxy, fault: faults.Answer, status: int, reason: str
) -> None:
    proxy.on("GET", "/api/v1/nodes", fault=fault)
    with opened(proxy.url, "/api/v1/nodes") as answer:
        told = json.loads(answer.read())
    assert (answer.status, told["kind"], told["code"], told["reason"]) == (status, "Status", status, reason)
    assert client.CoreV1Api(client_for(ADMIN, server=proxy.url)).list_node().items is not None, "only once"


def test_garbage_is_no_json(proxy: Proxy, namespace: str) -> None:
    proxy.on("GET", "configmaps", fault=faults.GARBAGE)
    with opened(proxy.url, config_maps(namespace)) as answer:
        assert answer.status == 200
        with pytest.raises(ValueError, match=r"decode|Expecting"):
            json.loads(answer.read())


def test_a_watch_is_cut_in_the_middle_of_a_line(proxy: Proxy, watch: str, three: list[str]) -> None:
    rule = proxy.on("GET", "watch=true", fault=faults.CutMidLine(after_lines=2))
    with opened(proxy.url, watch) as answer:
        assert names([answer.readline(), answer.readline()]) == three[:2]
        with pytest.raises(IncompleteRead) as cut:
            answer.read()
    assert rule.wait()
    assert cut.value.partial.startswith(b'{"type":"ADDED"')
    assert not cut.value.partial.endswith(b"\n")


def test_a_watch_ends_in_the_middle_of_a_line(proxy: Proxy, watch: str, three: list[str]) -> None:
    proxy.on("GET", "watch=true", fault=faults.CutMidLine(after_lines=1, politely=True))
    with opened(proxy.url, watch) as answer:
        assert names([answer.readline()]) == three[:1]
        half = answer.read()
    assert half.startswith(b'{"type":"ADDED"')
    assert not half.endswith(b"\n")


def test_a_list_is_cut_too(proxy: Proxy, namespace: str, watch: str) -> None:
    rule = proxy.on("GET", "configmaps", fault=faults.CutMidLine())
    with opened(proxy.url, config_maps(namespace)) as answer, pytest.raises(IncompleteRead):
        answer.read()
    assert rule.wait()


@pytest.mark.parametrize("passed", [0, 2])
def test_a_half_open_watch_says_nothing_and_does_not_end(
    kube_admin: client.ApiClient, proxy: Proxy, namespace: str, watch: str, three: list[str], passed: int
) -> None:
    rule = proxy.on("GET", "watch=true", fault=faults.HalfOpen(after_lines=passed))
    with opened(proxy.url, watch, timeout=1) as answer:
        assert names([answer.readline() for _ in range(passed)]) == three[:passed]
        assert rule.wait()
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map("four"))
        with pytest.raises(TimeoutError):
            answer.readline()


def test_a_line_of_a_watch_is_replaced(
    kube_admin: client.ApiClient, proxy: Proxy, namespace: str, watch: str, three: list[str]
) -> None:
    proxy.on("GET", "watch=true", fault=faults.ReplaceLine(line=b"{nonsense\n", after_lines=1))
    with opened(proxy.url, watch) as answer:
        assert names([answer.readline()]) == three[:1]
        assert answer.readline() == b"{nonsense\n"
        assert names([answer.readline()]) == three[2:]
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map("four"))
        assert names([answer.readline()]) == ["four"], "it goes on"


def test_an_error_event_ends_a_watch(proxy: Proxy, watch: str, three: list[str]) -> None:
    gone = faults.error_event(410, reason="Expired")
    proxy.on("GET", "watch=true", fault=faults.ReplaceLine(line=gone, after_lines=2, then_end=True))
    with opened(proxy.url, watch) as answer:
        *before, last = answer.read().splitlines()
    assert names(before) == three[:2]
    assert json.loads(last) == {"type": "ERROR", "object": json.loads(faults.GONE.body) | {"message": "Expired"}}


def test_a_trickle_is_the_whole_in_small_pieces(proxy: Proxy, namespace: str, watch: str, three: list[str]) -> None:
    rule = proxy.on("GET", "configmaps", fault=faults.Trickle(size=7))
    with opened(proxy.url, config_maps(namespace)) as answer:
        first = answer.read1()
        rest = answer.read()
    assert rule.wait()
    assert 0 < len(first) < 200
    assert [item["metadata"]["name"] for item in json.loads(first + rest)["items"]] == three


def test_a_refused_request_never_reaches_the_server(kube_admin: client.ApiClient, proxy: Proxy, namespace: str) -> None:
    proxy.on("POST", "configmaps", fault=faults.Refuse())
    with pytest.raises(ConnectionError):
        post(proxy, namespace, "one")
    assert client.CoreV1Api(kube_admin).list_namespaced_config_map(namespace).items == []


def test_an_answer_is_lost_after_the_server_did_it(kube_admin: client.ApiClient, proxy: Proxy, namespace: str) -> None:
    proxy.on("POST", "configmaps", fault=faults.LoseAnswer())
    with pytest.raises(ConnectionError):
        post(proxy, namespace, "one")
    (present,) = client.CoreV1Api(kube_admin).list_namespaced_config_map(namespace).items
    assert present.metadata.name == "one"


@pytest.mark.parametrize(("fault", "done"), [(faults.Swallow(), []), (faults.WithholdAnswer(), ["one"])])
def test_an_answer_never_comes(
    kube_admin: client.ApiClient, proxy: Proxy, namespace: str, fault: faults.Fault, done: list[str]
) -> None:
    rule = proxy.on("POST", "configmaps", fault=fault)
    with pytest.raises(TimeoutError):
        post(proxy, namespace, "one", timeout=2)
    assert rule.wait()
    present = client.CoreV1Api(kube_admin).list_namespaced_config_map(namespace).items
    assert [item.metadata.name for item in present] == done


def post(proxy: Proxy, namespace: str, name: str, *, timeout: float = PATIENCE) -> int:
    target = config_maps(namespace)
    with opened(proxy.url, target, method="POST", content=config_map(name), timeout=timeout) as answer:
        answer.read()
        return answer.status


def test_all_connections_freeze_and_thaw(
    kube_admin: client.ApiClient, proxy: Proxy, namespace: str, watch: str, three: list[str]
) -> None:
    with opened(proxy.url, watch) as answer:
        assert names([answer.readline() for _ in three]) == three
        proxy.freeze()
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map("four"))
        with pytest.raises(TimeoutError):
            post(proxy, namespace, "five", timeout=1)
        proxy.thaw()
        assert names([answer.readline()]) == ["four"]
        assert post(proxy, namespace, "six") == 201


def test_all_connections_are_cut_and_new_ones_are_not(
    proxy: Proxy, namespace: str, watch: str, three: list[str]
) -> None:
    with opened(proxy.url, watch) as answer:
        assert names([answer.readline() for _ in three]) == three
        proxy.cut()
        with pytest.raises((ConnectionResetError, IncompleteRead)):
            answer.read()
    assert post(proxy, namespace, "four") == 201


def test_nobody_listens_while_it_is_down(proxy: Proxy, namespace: str) -> None:
    proxy.down()
    with pytest.raises(ConnectionRefusedError):
        post(proxy, namespace, "one")
    proxy.up()
    assert post(proxy, namespace, "one") == 201


def test_the_proxy_notices_that_a_client_has_gone(proxy: Proxy, watch: str, three: list[str]) -> None:
    with opened(proxy.url, watch) as answer:
        assert names([answer.readline()]) == three[:1]
        assert proxy.open_connections == 1
    assert proxy.wait_until_idle()
