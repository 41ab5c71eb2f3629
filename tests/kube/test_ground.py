"""The bed itself: if one of these fails, no other test with the API server means anything."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube.bed import definitions
from kube.bed.raw import PATIENCE, config_map, config_maps, names, opened
from kube.bed.server import ADMIN, ALICE, BOB, STRANGER, ApiServer, claims
from kubernetes import client, config

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
    argv = [str(kubectl), "--kubeconfig", str(api_server.kubeconfig()), "get", "namespace", namespace, "-o", "name"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"namespace/{namespace}\n", "")


def test_the_python_client_takes_the_kubeconfig(api_server: ApiServer, namespace: str) -> None:
    with config.new_client_from_config(str(api_server.kubeconfig(ADMIN))) as api:
        assert client.CoreV1Api(api).read_namespace(namespace).metadata.name == namespace


# --- who may do what ------------------------------------------------------------------------------------------------


def test_a_stranger_is_refused(client_for: Callable[..., client.ApiClient], namespace: str) -> None:
    with pytest.raises(client.ApiException, match=r"stranger\W+ cannot list resource \W+configmaps") as refused:
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
    with pytest.raises(client.ApiException, match=r"bob\W+ cannot list"):
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
    with pytest.raises(
        client.ApiException, match=rf"system:serviceaccount:{namespace}:daemon\W+ cannot list"
    ) as refused:
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


def test_the_kinds_of_this_project_are_served(kube_admin: client.ApiClient, crds: list[str], namespace: str) -> None:
    assert "sriovnetworknodestates.sriovnetwork.openshift.io" in crds
    for name in crds:
        plural, _, group = name.partition(".")
        listed = client.CustomObjectsApi(kube_admin).list_namespaced_custom_object(group, "v1", namespace, plural)
        assert listed["items"] == []


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


# --- a watch ---------------------------------------------------------------------------


def test_a_watch_has_events_and_bookmarks(api_server: ApiServer, kube_admin: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(kube_admin)
    for name in ("one", "two"):
        core.create_namespaced_config_map(namespace, config_map(name))
    begin = core.list_namespaced_config_map(namespace).metadata.resource_version
    target = config_maps(namespace, watch="true", resourceVersion=begin, allowWatchBookmarks="true", timeoutSeconds=5)
    with opened(api_server.url, target, ca_file=api_server.ca_file) as answer:
        core.patch_namespaced_config_map("one", namespace, {"data": {"text": "y"}})
        core.delete_namespaced_config_map("two", namespace)
        events = [json.loads(line) for line in answer]
    assert [event["type"] for event in events[:2]] == ["MODIFIED", "DELETED"]
    bookmarks = events[2:]
    assert {event["type"] for event in bookmarks} == {"BOOKMARK"}, "the server sends one before it ends a watch"
    assert int(bookmarks[-1]["object"]["metadata"]["resourceVersion"]) > int(begin)


# --- an end, and another beginning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_data_and_address_outlive_the_server(own_api_server: ApiServer, end: str) -> None:
    url, uid = own_api_server.url, ""
    with own_api_server.client() as api:
        core = client.CoreV1Api(api)
        begin = core.list_namespaced_config_map("default").metadata.resource_version
        uid = core.create_namespaced_config_map("default", config_map("one", text="kept")).metadata.uid
        target = config_maps("default", watch="true", resourceVersion=begin, fieldSelector="metadata.name=one")
        with opened(url, target, ca_file=own_api_server.ca_file) as answer:
            assert names([answer.readline()]) == ["one"]
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


def test_no_program_outlives_the_tests(tmp_path: Path) -> None:
    killed = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from kube.bed.process import Program
program = Program("sleep", Path({str(tmp_path / "log")!r}))
program.start(["sleep", "600"])
print(program.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", killed], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    status = Path("/proc", done.stdout.strip(), "stat")
    deadline = time.monotonic() + PATIENCE
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.05)


def test_a_server_that_cannot_start_says_why(api_server: ApiServer) -> None:
    broken = ApiServer(api_server.assets, arguments=["--no-such-option"])
    with pytest.raises(Exception, match=r"(?s)kube-apiserver ended.*no-such-option"), broken:
        pass
