"""The bed itself: if one of these fails, no other test with the API server means anything."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kube.bed import definitions, faults
from kube.bed.proxy import Proxy
from kube.bed.server import ADMIN, ALICE, BOB, STRANGER, ApiServer, claims
from kubernetes import client, config

PATIENCE = 30.0
WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.ground.example}
spec:
  group: ground.example
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              size: {type: integer, minimum: 1}
              colour: {type: string, default: grey}
          status:
            type: object
            properties:
              seen: {type: integer}
"""


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


# --- the server -----------------------------------------------------------------------------------------------------


def test_the_server_is_the_one_whose_binary_was_found(api_server: ApiServer, kube_admin: client.ApiClient) -> None:
    told = client.VersionApi(kube_admin).get_code()
    assert (int(told.major), int(told.minor.rstrip("+"))) == api_server.version
    assert api_server.version >= (1, 20)


def test_only_the_loopback_is_listened_on(own_api_server: ApiServer) -> None:
    pids = own_api_server.pids()
    assert len(pids) == 2
    sockets = {link for pid in pids for link in map(_link, Path(f"/proc/{pid}/fd").iterdir())}
    listening = 0
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                assert words[1].startswith(loopback), line
                listening += 1
    assert listening >= 3


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""


def test_each_test_has_a_namespace_of_its_own(kube_admin: client.ApiClient, namespace: str) -> None:
    assert namespace.startswith("test-each-test-has-a-namespace")
    assert client.CoreV1Api(kube_admin).list_namespaced_config_map(namespace).items == []


def test_kubectl_takes_the_kubeconfig(api_server: ApiServer, namespace: str) -> None:
    kubectl = api_server.assets.kubectl
    assert kubectl is not None, "no kubectl beside kube-apiserver"
    argv = [kubectl, "--kubeconfig", api_server.kubeconfig(), "get", "namespace", namespace, "-o", "name"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"namespace/{namespace}\n", "")


def test_the_python_client_takes_the_kubeconfig(api_server: ApiServer, namespace: str) -> None:
    with config.new_client_from_config(str(api_server.kubeconfig(ADMIN))) as api:
        assert client.CoreV1Api(api).read_namespace(namespace).metadata.name == namespace


# --- who may do what ------------------------------------------------------------------------------------------------


def test_a_stranger_is_refused(client_for: Callable[..., client.ApiClient], namespace: str) -> None:
    with pytest.raises(client.ApiException, match='"stranger" cannot list resource "configmaps"') as refused:
        client.CoreV1Api(client_for(STRANGER)).list_namespaced_config_map(namespace)
    assert refused.value.status == 403


def test_an_unknown_token_is_nobody(client_for: Callable[..., client.ApiClient], namespace: str) -> None:
    with pytest.raises(client.ApiException) as refused:
        client.CoreV1Api(client_for("no-such-token")).list_namespaced_config_map(namespace)
    assert refused.value.status == 401


def allow(admin: client.ApiClient, namespace: str, *verbs: str, subject: dict[str, str]) -> None:
    rights = client.RbacAuthorizationV1Api(admin)
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": list(verbs)}]
    rights.create_namespaced_role(namespace, {"metadata": {"name": "maps"}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "maps"}
    binding = {"metadata": {"name": "maps"}, "roleRef": role, "subjects": [subject]}
    rights.create_namespaced_role_binding(namespace, binding)


def eventually(ask: Callable[[], Any]) -> Any:
    """What the server answers when its authorizer has heard of a new role, which it does by a watch."""
    pause = threading.Event()
    for _ in range(100):
        try:
            return ask()
        except client.ApiException as error:
            if error.status != 403:
                raise
            pause.wait(0.1)
    return ask()


def test_a_role_gives_what_it_says_and_no_more(
    kube_admin: client.ApiClient, client_for: Callable[..., client.ApiClient], namespace: str
) -> None:
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ALICE.name}
    allow(kube_admin, namespace, "list", subject=subject)
    alice = client.CoreV1Api(client_for(ALICE))
    assert eventually(lambda: alice.list_namespaced_config_map(namespace)).items == []
    with pytest.raises(client.ApiException, match="cannot create resource"):
        alice.create_namespaced_config_map(namespace, config_map("one"))
    with pytest.raises(client.ApiException, match='"bob" cannot list'):
        client.CoreV1Api(client_for(BOB)).list_namespaced_config_map(namespace)


def test_a_service_account_has_a_token(
    kube_admin: client.ApiClient,
    client_for: Callable[..., client.ApiClient],
    token_for: Callable[..., str],
    namespace: str,
) -> None:
    token = token_for("daemon")
    assert claims(token)["sub"] == f"system:serviceaccount:{namespace}:daemon"
    assert token_for("daemon"), "a second token of the same account"
    account = client.CoreV1Api(client_for(token))
    with pytest.raises(client.ApiException, match=f'"system:serviceaccount:{namespace}:daemon" cannot list') as refused:
        account.list_namespaced_config_map(namespace)
    assert refused.value.status == 403
    allow(kube_admin, namespace, "list", subject={"kind": "ServiceAccount", "name": "daemon", "namespace": namespace})
    assert eventually(lambda: account.list_namespaced_config_map(namespace)).items == []


def test_a_token_is_bound_to_a_pod(
    kube_admin: client.ApiClient,
    client_for: Callable[..., client.ApiClient],
    token_for: Callable[..., str],
    namespace: str,
) -> None:
    core = client.CoreV1Api(kube_admin)
    token_for("daemon")
    containers = [{"name": "main", "image": "nothing"}]
    spec = {"serviceAccountName": "daemon", "nodeName": "node-1", "containers": containers}
    pod = core.create_namespaced_pod(namespace, {"metadata": {"name": "daemon-1"}, "spec": spec})
    token = token_for("daemon", bound_to={"kind": "Pod", "name": "daemon-1", "uid": pod.metadata.uid})
    assert claims(token)["kubernetes.io"]["pod"] == {"name": "daemon-1", "uid": pod.metadata.uid}  # type: ignore[index]
    with pytest.raises(client.ApiException) as refused:
        client.CoreV1Api(client_for(token)).list_namespaced_config_map(namespace)
    assert refused.value.status == 403, "known, and without rights"


# --- custom resources -----------------------------------------------------------------------------------------------


@pytest.fixture
def widgets(kube_admin: client.ApiClient) -> str:
    (name,) = definitions.install(kube_admin, [yaml.safe_load(WIDGETS)])
    return name.split(".")[0]


def widget(name: str, **spec: object) -> dict[str, Any]:
    return {"apiVersion": "ground.example/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


def test_a_definition_prunes_defaults_and_validates(kube_admin: client.ApiClient, widgets: str, namespace: str) -> None:
    custom = client.CustomObjectsApi(kube_admin)
    where = ("ground.example", "v1", namespace, widgets)
    made = custom.create_namespaced_custom_object(*where, {**widget("one", size=1, unknown=2), "status": {"seen": 3}})
    assert made["spec"] == {"size": 1, "colour": "grey"}
    assert "status" not in made, "has a subresource of its own"
    patched = custom.patch_namespaced_custom_object_status(*where, "one", {"status": {"seen": 4}, "spec": {"size": 9}})
    assert (patched["spec"]["size"], patched["status"]) == (1, {"seen": 4})
    with pytest.raises(client.ApiException, match="should be greater than or equal to 1") as refused:
        custom.create_namespaced_custom_object(*where, widget("two", size=0))
    assert refused.value.status == 422


def test_a_definition_may_be_put_again_and_changed(kube_admin: client.ApiClient, widgets: str, namespace: str) -> None:
    changed = yaml.safe_load(WIDGETS)
    changed["spec"]["versions"].append({**changed["spec"]["versions"][0], "name": "v2", "storage": False})
    assert definitions.install(kube_admin, [changed]) == ["widgets.ground.example"]
    custom = client.CustomObjectsApi(kube_admin)
    custom.create_namespaced_custom_object("ground.example", "v1", namespace, widgets, widget("one", size=1))
    seen = custom.get_namespaced_custom_object("ground.example", "v2", namespace, widgets, "one")
    assert seen["apiVersion"] == "ground.example/v2"


def test_network_attachment_definitions_are_there(kube_admin: client.ApiClient, namespace: str) -> None:
    network = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "blue"},
        "spec": {"config": '{"type": "sriov"}', "unknown": 1},
    }
    made = client.CustomObjectsApi(kube_admin).create_namespaced_custom_object(
        "k8s.cni.cncf.io", "v1", namespace, "network-attachment-definitions", network
    )
    assert made["spec"] == {"config": '{"type": "sriov"}'}


@pytest.mark.needs_version("1.30")
def test_a_newer_server_has_rules_in_definitions_and_admission_policies(
    kube_admin: client.ApiClient, namespace: str
) -> None:
    policies = client.AdmissionregistrationV1Api(kube_admin).list_validating_admission_policy()
    assert policies.kind == "ValidatingAdmissionPolicyList"
    ruled = yaml.safe_load(WIDGETS.replace("widget", "gadget").replace("Widget", "Gadget"))
    schema = ruled["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["x-kubernetes-validations"] = [{"rule": "self.size < 10", "message": "too big for a gadget"}]
    definitions.install(kube_admin, [ruled])
    gadget = {**widget("one", size=10), "kind": "Gadget"}
    with pytest.raises(client.ApiException, match="too big for a gadget"):
        client.CustomObjectsApi(kube_admin).create_namespaced_custom_object(
            "ground.example", "v1", namespace, "gadgets", gadget
        )


# --- watches, plain and through the proxy ---------------------------------------------------------------------------


@contextmanager
def opened(api: ApiServer, url: str, target: str, *, timeout: float = PATIENCE) -> Iterator[HTTPResponse]:
    """An answer as it comes, without a client that would mend it."""
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "https":
        trust = ssl.create_default_context(cafile=str(api.ca_file))
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout, context=trust
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        headers = {"Authorization": f"Bearer {ADMIN.token}", "User-Agent": "ground/1"}
        connection.request("GET", target, headers=headers)
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def maps(namespace: str, **query: object) -> str:
    words = "&".join(f"{key}={value}" for key, value in query.items())
    return f"/api/v1/namespaces/{namespace}/configmaps?{words}"


def names(lines: list[bytes]) -> list[str]:
    return [json.loads(line)["object"]["metadata"]["name"] for line in lines]


@pytest.fixture
def three(kube_admin: client.ApiClient, namespace: str) -> list[str]:
    """Three config maps in the namespace; a watch from the beginning has three lines."""
    for name in ("one", "three", "two"):
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map(name, text="x" * 100))
    return ["one", "three", "two"]


def test_a_watch_has_events_and_bookmarks(
    api_server: ApiServer, kube_admin: client.ApiClient, namespace: str, three: list[str]
) -> None:
    core = client.CoreV1Api(kube_admin)
    begin = core.list_namespaced_config_map(namespace).metadata.resource_version
    target = maps(namespace, watch="true", resourceVersion=begin, allowWatchBookmarks="true", timeoutSeconds=5)
    with opened(api_server, api_server.url, target) as answer:
        core.patch_namespaced_config_map("one", namespace, {"data": {"text": "y"}})
        core.delete_namespaced_config_map("two", namespace)
        events = [json.loads(line) for line in answer]
    assert [event["type"] for event in events[:2]] == ["MODIFIED", "DELETED"]
    bookmarks = events[2:]
    assert {event["type"] for event in bookmarks} == {"BOOKMARK"}, "the server sends one before it ends a watch"
    assert int(bookmarks[-1]["object"]["metadata"]["resourceVersion"]) > int(begin)


def test_the_proxy_forwards_and_records(
    client_for: Callable[..., client.ApiClient], proxy: Proxy, namespace: str, three: list[str]
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
    argv = [kubectl, "--kubeconfig", kubeconfig, "get", "namespace", namespace, "-o", "name"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"namespace/{namespace}\n", "")
    assert "kubectl" in tls_proxy.requests("GET", f"/namespaces/{namespace}$")[0].user_agent


def test_a_watch_comes_through_as_it_happens(
    api_server: ApiServer, kube_admin: client.ApiClient, tls_proxy: Proxy, namespace: str, three: list[str]
) -> None:
    with opened(api_server, tls_proxy.url, maps(namespace, watch="true")) as answer:
        assert names([answer.readline() for _ in three]) == three
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map("four"))
        assert names([answer.readline()]) == ["four"], "while the watch goes on"
    assert tls_proxy.requests()[0].is_watch


def test_faults_are_for_the_chosen_requests_and_so_often(
    api_server: ApiServer, proxy: Proxy, namespace: str, three: list[str]
) -> None:
    rule = proxy.on("GET", r"configmaps\?", fault=faults.TOO_MANY, times=2)
    proxy.on("POST", "", fault=faults.INTERNAL, times=None)
    statuses = []
    for target in (maps(namespace), "/version", maps(namespace), maps(namespace)):
        with opened(api_server, proxy.url, target) as answer:
            statuses.append((answer.status, answer.headers["Retry-After"]))
            assert json.loads(answer.read())
    assert statuses == [(429, "1"), (200, None), (429, "1"), (200, None)]
    assert [request.target for request in rule.hits] == [maps(namespace), maps(namespace)]
    proxy.on("*", "", fault=faults.GONE, times=None)
    proxy.clear()
    with opened(api_server, proxy.url, "/version") as answer:
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
    with opened_plain(proxy, "/api/v1/nodes") as answer:
        told = json.loads(answer.read())
    assert (answer.status, told["kind"], told["code"], told["reason"]) == (status, "Status", status, reason)
    assert client.CoreV1Api(client_for(ADMIN, server=proxy.url)).list_node().items is not None, "only once"


@contextmanager
def opened_plain(proxy: Proxy, target: str) -> Iterator[Any]:
    request = urllib.request.Request(f"{proxy.url}{target}", headers={"Authorization": f"Bearer {ADMIN.token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        with error:
            yield error


def test_garbage_is_no_json(api_server: ApiServer, proxy: Proxy, namespace: str) -> None:
    proxy.on("GET", "configmaps", fault=faults.GARBAGE)
    with opened(api_server, proxy.url, maps(namespace)) as answer:
        assert answer.status == 200
        with pytest.raises(ValueError, match=r"decode|Expecting"):
            json.loads(answer.read())


def test_a_watch_is_cut_in_the_middle_of_a_line(
    api_server: ApiServer, proxy: Proxy, namespace: str, three: list[str]
) -> None:
    rule = proxy.on("GET", "watch=true", fault=faults.CutMidLine(after_lines=2))
    with opened(api_server, proxy.url, maps(namespace, watch="true")) as answer:
        assert names([answer.readline(), answer.readline()]) == three[:2]
        with pytest.raises(IncompleteRead) as cut:
            answer.read()
    assert rule.wait()
    assert cut.value.partial.startswith(b'{"type":"ADDED"')
    assert not cut.value.partial.endswith(b"\n")


def test_a_watch_ends_in_the_middle_of_a_line(
    api_server: ApiServer, proxy: Proxy, namespace: str, three: list[str]
) -> None:
    proxy.on("GET", "watch=true", fault=faults.CutMidLine(after_lines=1, politely=True))
    with opened(api_server, proxy.url, maps(namespace, watch="true")) as answer:
        assert names([answer.readline()]) == three[:1]
        half = answer.read()
    assert half.startswith(b'{"type":"ADDED"')
    assert not half.endswith(b"\n")


def test_a_list_is_cut_too(api_server: ApiServer, proxy: Proxy, namespace: str, three: list[str]) -> None:
    rule = proxy.on("GET", "configmaps", fault=faults.CutMidLine())
    with opened(api_server, proxy.url, maps(namespace)) as answer, pytest.raises(IncompleteRead):
        answer.read()
    assert rule.wait()


@pytest.mark.parametrize("passed", [0, 2])
def test_a_half_open_watch_says_nothing_and_does_not_end(
    api_server: ApiServer,
    kube_admin: client.ApiClient,
    proxy: Proxy,
    namespace: str,
    three: list[str],
    passed: int,
) -> None:
    rule = proxy.on("GET", "watch=true", fault=faults.HalfOpen(after_lines=passed))
    with opened(api_server, proxy.url, maps(namespace, watch="true"), timeout=1) as answer:
        assert names([answer.readline() for _ in range(passed)]) == three[:passed]
        assert rule.wait()
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map("four"))
        with pytest.raises(TimeoutError):
            answer.readline()


def test_a_line_of_a_watch_is_replaced(
    api_server: ApiServer, kube_admin: client.ApiClient, proxy: Proxy, namespace: str, three: list[str]
) -> None:
    proxy.on("GET", "watch=true", fault=faults.ReplaceLine(line=b"{nonsense\n", after_lines=1))
    with opened(api_server, proxy.url, maps(namespace, watch="true")) as answer:
        assert names([answer.readline()]) == three[:1]
        assert answer.readline() == b"{nonsense\n"
        assert names([answer.readline()]) == three[2:]
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map("four"))
        assert names([answer.readline()]) == ["four"], "it goes on"


def test_an_error_event_ends_a_watch(api_server: ApiServer, proxy: Proxy, namespace: str, three: list[str]) -> None:
    gone = faults.error_event(410, reason="Expired")
    proxy.on("GET", "watch=true", fault=faults.ReplaceLine(line=gone, after_lines=2, then_end=True))
    with opened(api_server, proxy.url, maps(namespace, watch="true")) as answer:
        *before, last = answer.read().splitlines()
    assert names(before) == three[:2]
    assert json.loads(last) == {"type": "ERROR", "object": json.loads(faults.GONE.body) | {"message": "Expired"}}


def test_a_trickle_is_the_whole_in_small_pieces(
    api_server: ApiServer, proxy: Proxy, namespace: str, three: list[str]
) -> None:
    rule = proxy.on("GET", "configmaps", fault=faults.Trickle(size=7))
    with opened(api_server, proxy.url, maps(namespace)) as answer:
        first = answer.read1()
        rest = answer.read()
    assert rule.wait()
    assert 0 < len(first) < 200
    assert [item["metadata"]["name"] for item in json.loads(first + rest)["items"]] == three


def test_a_refused_request_never_reaches_the_server(
    api_server: ApiServer, kube_admin: client.ApiClient, proxy: Proxy, namespace: str
) -> None:
    proxy.on("POST", "configmaps", fault=faults.Refuse())
    with pytest.raises(ConnectionError):
        post(proxy, namespace, config_map("one"))
    assert client.CoreV1Api(kube_admin).list_namespaced_config_map(namespace).items == []


def test_an_answer_is_lost_after_the_server_did_it(kube_admin: client.ApiClient, proxy: Proxy, namespace: str) -> None:
    proxy.on("POST", "configmaps", fault=faults.LoseAnswer())
    with pytest.raises(ConnectionError):
        post(proxy, namespace, config_map("one"))
    (present,) = client.CoreV1Api(kube_admin).list_namespaced_config_map(namespace).items
    assert present.metadata.name == "one"


@pytest.mark.parametrize(("fault", "done"), [(faults.Swallow(), []), (faults.WithholdAnswer(), ["one"])])
def test_an_answer_never_comes(
    kube_admin: client.ApiClient, proxy: Proxy, namespace: str, fault: faults.Fault, done: list[str]
) -> None:
    rule = proxy.on("POST", "configmaps", fault=fault)
    with pytest.raises(TimeoutError):
        post(proxy, namespace, config_map("one"), timeout=2)
    assert rule.wait()
    present = client.CoreV1Api(kube_admin).list_namespaced_config_map(namespace).items
    assert [item.metadata.name for item in present] == done


def post(proxy: Proxy, namespace: str, content: dict[str, Any], *, timeout: float = PATIENCE) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)
    try:
        headers = {"Authorization": f"Bearer {ADMIN.token}", "Content-Type": "application/json"}
        connection.request("POST", maps(namespace), json.dumps(content), headers)
        with connection.getresponse() as answer:
            answer.read()
            return answer.status
    finally:
        connection.close()


def test_all_connections_freeze_and_thaw(
    api_server: ApiServer, kube_admin: client.ApiClient, proxy: Proxy, namespace: str, three: list[str]
) -> None:
    with opened(api_server, proxy.url, maps(namespace, watch="true")) as answer:
        assert names([answer.readline() for _ in three]) == three
        proxy.freeze()
        client.CoreV1Api(kube_admin).create_namespaced_config_map(namespace, config_map("four"))
        with pytest.raises(TimeoutError):
            post(proxy, namespace, config_map("five"), timeout=1)
        proxy.thaw()
        assert names([answer.readline()]) == ["four"]
        assert post(proxy, namespace, config_map("six")) == 201


def test_all_connections_are_cut_and_new_ones_are_not(
    api_server: ApiServer, proxy: Proxy, namespace: str, three: list[str]
) -> None:
    with opened(api_server, proxy.url, maps(namespace, watch="true")) as answer:
        assert names([answer.readline() for _ in three]) == three
        proxy.cut()
        with pytest.raises((ConnectionResetError, IncompleteRead)):
            answer.read()
    assert post(proxy, namespace, config_map("four")) == 201


def test_nobody_listens_while_it_is_down(api_server: ApiServer, proxy: Proxy, namespace: str) -> None:
    proxy.down()
    with pytest.raises(ConnectionRefusedError):
        post(proxy, namespace, config_map("one"))
    proxy.up()
    assert post(proxy, namespace, config_map("one")) == 201


def test_the_proxy_notices_that_a_client_has_gone(
    api_server: ApiServer, proxy: Proxy, namespace: str, three: list[str]
) -> None:
    with opened(api_server, proxy.url, maps(namespace, watch="true")) as answer:
        assert names([answer.readline()]) == three[:1]
        assert proxy.open_connections == 1
    assert proxy.wait_until_idle()


# --- an end, and another beginning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_data_and_address_outlive_the_server(own_api_server: ApiServer, end: str) -> None:
    url, uid = own_api_server.url, ""
    with own_api_server.client() as api:
        core = client.CoreV1Api(api)
        uid = core.create_namespaced_config_map("default", config_map("one", text="kept")).metadata.uid
        with opened(own_api_server, url, maps("default", watch="true")) as answer:
            assert "one" in names([answer.readline() for _ in core.list_namespaced_config_map("default").items])
            getattr(own_api_server, end)()
            assert not own_api_server.running
            with suppress(ConnectionError, IncompleteRead, ssl.SSLError):
                answer.read()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", own_api_server.port), timeout=PATIENCE)
    own_api_server.start()
    assert own_api_server.url == url
    with own_api_server.client() as api:
        kept = client.CoreV1Api(api).read_namespaced_config_map("one", "default")
    assert (kept.metadata.uid, kept.data) == (uid, {"text": "kept"})


def test_a_server_that_cannot_start_says_why(api_server: ApiServer) -> None:
    broken = ApiServer(api_server.assets, arguments=["--no-such-option"])
    with pytest.raises(Exception, match=r"(?s)kube-apiserver ended.*no-such-option"), broken:
        pass
