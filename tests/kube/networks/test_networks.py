"""A network's NetworkAttachmentDefinition is made, kept, moved and removed; what is somebody else's is left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from kube.bed import definitions
from kube.bed.reconciling import Reconciling, eventually
from kube.bed.server import ApiServer
from kubernetes import client

from virtfn.cluster.kinds import ATTACHMENT_DEFINITIONS, IB_NETWORKS, NETWORKS, OVS_NETWORKS
from virtfn.controller.networks import FINALIZER, LAST_NAMESPACE_ANNOTATION
from virtfn.kube.client import KubeClient
from virtfn.kube.conditions import condition_of
from virtfn.kube.resource import EVENTS, NAMESPACES, Json, Resource, version_of

OWNER = "sriovnetwork.openshift.io/owner-ref"
RESOURCE = "k8s.v1.cni.cncf.io/resourceName"


def network(
    kind: Resource, name: str, *, namespace: str, annotations: dict[str, str] | None = None, **spec: Any
) -> Json:
    metadata = {"name": name, "namespace": namespace, "annotations": annotations or {}}
    spec = {"resourceName": "nics", **spec}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def ready(kube: KubeClient, kind: Resource, thing: Json, *, reason: str) -> Json:
    """The network once its condition has that reason, for its newest generation."""

    def look() -> Json | None:
        found = kube.get(kind, name=thing["metadata"]["name"], namespace=thing["metadata"]["namespace"])
        condition = condition_of(found, name="Ready")
        assert condition is not None
        assert (condition["reason"], condition["observedGeneration"]) == (reason, found["metadata"]["generation"])
        assert condition["status"] == ("True" if reason == "NetworkReady" else "False")
        return found

    found = eventually(look)
    assert found is not None
    return found


def message(found: Json) -> str:
    condition = condition_of(found, name="Ready")
    assert condition is not None
    return str(condition["message"])


def definition(kube: KubeClient, name: str, *, namespace: str) -> Json | None:
    return kube.find(ATTACHMENT_DEFINITIONS, name=name, namespace=namespace)


def at_rest(run: Reconciling) -> int:
    """Writes so far, when there were none for a second."""
    before = -1
    while before != (now := run.writes()):
        before = now
        time.sleep(1.0)
    return now


@pytest.mark.parametrize(
    ("kind", "plugin"),
    [(NETWORKS, "sriov"), (IB_NETWORKS, "ib-sriov"), (OVS_NETWORKS, "ovs")],
    ids=lambda each: str(each),
)
def test_each_kind_of_network_becomes_a_definition(
    kind: Resource, plugin: str, kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    with running() as run:
        made = kube.create(kind, body=network(kind, "net", namespace=namespace, networkNamespace=apps))
        live = ready(kube, kind, made, reason="NetworkReady")
        found = definition(kube, "net", namespace=apps)
        assert found is not None
        assert found["metadata"]["annotations"] == {
            RESOURCE: "openshift.io/nics",
            OWNER: f"{kind.kind}.sriovnetwork.openshift.io/{namespace}/net",
        }
        assert json.loads(found["spec"]["config"])["type"] == plugin
        assert "ownerReferences" not in found["metadata"], "an owner in another namespace is none"
        assert live["metadata"]["finalizers"] == [FINALIZER]
        assert live["metadata"]["annotations"][LAST_NAMESPACE_ANNOTATION] == apps
        kube.delete(kind, name="net", namespace=namespace)
        eventually(lambda: kube.find(kind, name="net", namespace=namespace) is None)
        assert definition(kube, "net", namespace=apps) is None
        at_rest(run)


def test_in_its_own_namespace_the_network_owns_it_and_nobody_has_to_wait(
    kube: KubeClient, running: Callable[[], Reconciling], apps: str
) -> None:
    with running():
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=apps))
        live = ready(kube, NETWORKS, made, reason="NetworkReady")
    assert "finalizers" not in live["metadata"]
    found = definition(kube, "net", namespace=apps)
    assert found is not None
    (owner,) = found["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "sriovnetwork.openshift.io/v1",
        "kind": "SriovNetwork",
        "name": "net",
        "uid": made["metadata"]["uid"],
    }


def test_what_is_ready_is_not_written_again_nor_by_the_next_process(
    kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    made = [network(NETWORKS, f"net-{number}", namespace=namespace, networkNamespace=apps) for number in range(5)]
    with running() as run:
        for body in made:
            kube.create(NETWORKS, body=body)
        for body in made:
            ready(kube, NETWORKS, body, reason="NetworkReady")
        at_rest(run)
    versions = [version_of(definition(kube, f"net-{number}", namespace=apps) or {}) for number in range(5)]
    with running() as again:
        assert at_rest(again) == 0
        assert again.tally.counted("queue_adds", of="networks") >= 5, "it did look"
    assert versions == [version_of(definition(kube, f"net-{number}", namespace=apps) or {}) for number in range(5)]


def test_one_that_the_go_operator_made_is_taken_as_it_is(
    kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    spec = {
        "networkNamespace": apps, "resourceName": "intelnics", "vlan": 10, "spoofChk": "on", "trust": "off",
        "linkState": "auto", "maxTxRate": 100, "minTxRate": 0,
        "ipam": '{"type": "host-local", "subnet": "10.1.0.0/24"}',
    }  # fmt: skip
    config = {
        "cniVersion": "1.0.0", "name": "net1", "type": "sriov", "vlan": 10, "spoofchk": "on", "trust": "off",
        "vlanQoS": 0, "min_tx_rate": 0, "max_tx_rate": 100, "link_state": "auto", "logLevel": "info",
        "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"},
    }  # fmt: skip
    owner = f"SriovNetwork.sriovnetwork.openshift.io/{namespace}/net1"
    theirs = kube.create(
        ATTACHMENT_DEFINITIONS,
        body={
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {
                "name": "net1",
                "namespace": apps,
                "annotations": {RESOURCE: "openshift.io/intelnics", OWNER: owner},
            },
            "spec": {"config": json.dumps(config, indent=4)},
        },
    )
    body = network(NETWORKS, "net1", namespace=namespace, **spec)
    body["metadata"] |= {"finalizers": [FINALIZER], "annotations": {LAST_NAMESPACE_ANNOTATION: apps}}
    made = kube.create(NETWORKS, body=body)
    with running() as run:
        ready(kube, NETWORKS, made, reason="NetworkReady")
        at_rest(run)
        assert run.tally.counted("writes", of=str(ATTACHMENT_DEFINITIONS)) == 0
    found = definition(kube, "net1", namespace=apps)
    assert found is not None
    assert version_of(found) == version_of(theirs)


def test_it_waits_for_its_namespace(kube: KubeClient, running: Callable[[], Reconciling], namespace: str) -> None:
    later = f"{namespace}-later"
    with running() as run:
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, networkNamespace=later))
        live = ready(kube, NETWORKS, made, reason="NamespaceNotFound")
        assert message(live) == f'target namespace "{later}" does not exist'
        at_rest(run)
        kube.create(NAMESPACES, body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": later}})
        ready(kube, NETWORKS, made, reason="NetworkReady")
        assert definition(kube, "net", namespace=later) is not None


def test_a_namespace_that_goes_away_is_no_error_that_repeats(
    kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    with running() as run:
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, networkNamespace=apps))
        ready(kube, NETWORKS, made, reason="NetworkReady")
        kube.delete(NAMESPACES, name=apps)
        eventually(lambda: run.views["namespaces"].store.get(apps)["metadata"].get("deletionTimestamp"))  # type: ignore[index]
        kube.delete(ATTACHMENT_DEFINITIONS, name="net", namespace=apps)
        live = ready(kube, NETWORKS, made, reason="NamespaceNotFound")
        assert message(live) == f'target namespace "{apps}" is being deleted'
        at_rest(run)
        assert run.tally.counted("turn_errors", of="networks") == 0


@pytest.mark.parametrize("then", ["apps", "own", "there and back"])
def test_when_it_moves_the_old_one_goes(
    then: str, kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    first = f"{namespace}-first"
    kube.create(NAMESPACES, body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": first}})
    way = {"apps": [apps], "own": [""], "there and back": [apps, "", first]}[then]
    with running() as run:
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, networkNamespace=first))
        ready(kube, NETWORKS, made, reason="NetworkReady")
        for step in way:
            kube.patch(NETWORKS, name="net", namespace=namespace, body={"spec": {"networkNamespace": step or None}})
            live = ready(kube, NETWORKS, made, reason="NetworkReady")
            there = step or namespace
            found = {where for where in (first, apps, namespace) if definition(kube, "net", namespace=where)}
            assert found == {there}
            assert live["metadata"]["annotations"][LAST_NAMESPACE_ANNOTATION] == there
            assert (FINALIZER in live["metadata"].get("finalizers", ())) == (there != namespace)
        at_rest(run)


@pytest.mark.parametrize("then", ["at once", "while nobody looks"])
def test_nothing_is_left_of_a_network_whose_finalizer_was_taken_away(
    then: str, kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    def force_away() -> None:
        kube.patch(NETWORKS, name="net", namespace=namespace, body={"metadata": {"finalizers": None}})
        kube.delete(NETWORKS, name="net", namespace=namespace)

    with running():
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, networkNamespace=apps))
        ready(kube, NETWORKS, made, reason="NetworkReady")
        stays = kube.create(NETWORKS, body=network(NETWORKS, "stays", namespace=namespace, networkNamespace=apps))
        ready(kube, NETWORKS, stays, reason="NetworkReady")
        if then == "at once":
            force_away()
    if then != "at once":
        force_away()
    with running():
        eventually(lambda: not kube.find(NETWORKS, name="net", namespace=namespace))
        eventually(lambda: not definition(kube, "net", namespace=apps))
        assert definition(kube, "stays", namespace=apps)


@pytest.mark.parametrize("change", ["config", "resource", "owner", "more", "gone"])
def test_what_somebody_does_to_it_is_undone(
    change: str, kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    patch: dict[str, Json] = {
        "config": {"spec": {"config": "{}"}},
        "resource": {"metadata": {"annotations": {RESOURCE: "other/nics"}}},
        "owner": {"metadata": {"annotations": {OWNER: None}}},
        "more": {"metadata": {"annotations": {"note": "mine"}}},
    }
    with running():
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, networkNamespace=apps))
        ready(kube, NETWORKS, made, reason="NetworkReady")
        before = definition(kube, "net", namespace=apps)
        assert before is not None
        if change == "gone":
            kube.delete(ATTACHMENT_DEFINITIONS, name="net", namespace=apps)
        else:
            kube.patch(ATTACHMENT_DEFINITIONS, name="net", namespace=apps, body=patch[change])

        def is_back() -> bool:
            found = definition(kube, "net", namespace=apps)
            assert found is not None
            assert found["spec"] == before["spec"]
            assert found["metadata"]["annotations"] == before["metadata"]["annotations"]
            return True

        eventually(is_back)


def test_the_first_of_several_has_it_and_the_next_one_when_it_goes(
    kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    with running():
        first = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, networkNamespace=apps))
        ready(kube, NETWORKS, first, reason="NetworkReady")
        second = kube.create(IB_NETWORKS, body=network(IB_NETWORKS, "net", namespace=namespace, networkNamespace=apps))
        third = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=apps))
        live = ready(kube, IB_NETWORKS, second, reason="NetworkAttachmentDefinitionInvalid")
        owner = f"SriovNetwork.sriovnetwork.openshift.io/{namespace}/net"
        assert message(live) == (f"NetworkAttachmentDefinition '{apps}/net' already exists and is owned by {owner}")
        ready(kube, NETWORKS, third, reason="NetworkAttachmentDefinitionInvalid")

        def is_told() -> bool:
            events = kube.list(EVENTS, namespace=namespace)
            return any(
                each["regarding"]["kind"] == "SriovIBNetwork" and each["reason"].startswith("Ready")
                and each["type"] == "Warning" and owner in each["note"]
                for each in events
            )  # fmt: skip

        eventually(is_told)
        kube.delete(IB_NETWORKS, name="net", namespace=namespace)  # was refused: must not take it along
        eventually(lambda: kube.find(IB_NETWORKS, name="net", namespace=namespace) is None)
        found = definition(kube, "net", namespace=apps)
        assert found is not None
        assert found["metadata"]["annotations"][OWNER] == owner
        kube.delete(NETWORKS, name="net", namespace=namespace)
        ready(kube, NETWORKS, third, reason="NetworkReady")
        found = definition(kube, "net", namespace=apps)
        assert found is not None
        assert found["metadata"]["annotations"][OWNER] == f"SriovNetwork.sriovnetwork.openshift.io/{apps}/net"


def foreign(name: str, *, namespace: str, **metadata: Any) -> Json:
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"config": '{"type": "bridge"}'},
    }


def test_one_that_belongs_to_nobody_is_taken_over_and_goes_along(
    kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    kube.create(ATTACHMENT_DEFINITIONS, body=foreign("net", namespace=apps))
    with running():
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, networkNamespace=apps))
        ready(kube, NETWORKS, made, reason="NetworkReady")
        found = definition(kube, "net", namespace=apps)
        assert found is not None
        assert json.loads(found["spec"]["config"])["type"] == "sriov"
        kube.patch(NETWORKS, name="net", namespace=namespace, body={"spec": {"networkNamespace": None}})
        eventually(lambda: definition(kube, "net", namespace=apps) is None)


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {OWNER: "SriovNetwork.sriovnetwork.openshift.io/elsewhere/net"}},
        {"annotations": {OWNER: "some other tool"}},
        {
            "ownerReferences": [
                {"apiVersion": "example.org/v1", "kind": "App", "name": "a", "uid": "1", "controller": True}
            ]
        },
    ],
    ids=["a network", "a tool", "a controller"],
)
def test_one_that_is_somebody_elses_is_left_alone_to_the_end(
    metadata: Json, kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    theirs = kube.create(ATTACHMENT_DEFINITIONS, body=foreign("net", namespace=apps, **metadata))
    with running() as run:
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, networkNamespace=apps))
        ready(kube, NETWORKS, made, reason="NetworkAttachmentDefinitionInvalid")
        kube.delete(NETWORKS, name="net", namespace=namespace)
        eventually(lambda: kube.find(NETWORKS, name="net", namespace=namespace) is None)
        at_rest(run)
    found = definition(kube, "net", namespace=apps)
    assert found is not None
    assert version_of(found) == version_of(theirs)


def test_an_old_note_of_a_namespace_does_not_delete_what_others_have_there(
    kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    theirs = kube.create(ATTACHMENT_DEFINITIONS, body=foreign("net", namespace=apps))
    annotations = {LAST_NAMESPACE_ANNOTATION: apps}
    body = network(NETWORKS, "net", namespace=namespace, annotations=annotations)
    with running():
        made = kube.create(NETWORKS, body=body)
        ready(kube, NETWORKS, made, reason="NetworkReady")
    assert version_of(definition(kube, "net", namespace=apps) or {}) == version_of(theirs)


def test_only_networks_of_the_operator_name_another_namespace(
    kube: KubeClient, running: Callable[[], Reconciling], namespace: str, apps: str
) -> None:
    with running():
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=apps, networkNamespace=namespace))
        live = ready(kube, NETWORKS, made, reason="NetworkAttachmentDefinitionInvalid")
        assert f"only networks in {namespace}" in message(live)
        assert definition(kube, "net", namespace=namespace) is None


def test_bad_json_is_told_with_its_place_and_mended(
    kube: KubeClient, running: Callable[[], Reconciling], namespace: str
) -> None:
    with running() as run:
        made = kube.create(NETWORKS, body=network(NETWORKS, "net", namespace=namespace, capabilities='{"mac": yes}'))
        live = ready(kube, NETWORKS, made, reason="NetworkAttachmentDefinitionInvalid")
        assert "spec.capabilities" in message(live)
        assert definition(kube, "net", namespace=namespace) is None
        assert at_rest(run) == 1, "its condition"
        kube.patch(NETWORKS, name="net", namespace=namespace, body={"spec": {"capabilities": '{"mac": true}'}})
        ready(kube, NETWORKS, made, reason="NetworkReady")


def test_where_the_cluster_knows_no_definitions_every_network_says_so(
    own_api_server: ApiServer, connected: Callable[[ApiServer], KubeClient], running: Callable[..., Reconciling],
    monkeypatch: pytest.MonkeyPatch, namespace: str, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    from pathlib import Path

    monkeypatch.setattr("virtfn.controller.networks.DEFINITIONS_RETRY", 0.5)
    tests = Path(__file__).resolve().parents[1]
    with own_api_server.client() as api:
        definitions.install(api, definitions.read([tests.parents[1] / "deploy" / "crds"]))
        client.CoreV1Api(api).create_namespace({"metadata": {"name": namespace}})
        kube = connected(own_api_server)
        with running(kube):
            body = network(NETWORKS, "net", namespace=namespace)
            made = kube.create(NETWORKS, body=body)
            live = ready(kube, NETWORKS, made, reason="NetworkAttachmentDefinitionNotFound")
            assert "install Multus" in message(live)
            gone = kube.create(
                NETWORKS, body=network(NETWORKS, "gone", namespace=namespace, networkNamespace="default")
            )
            ready(kube, NETWORKS, gone, reason="NetworkAttachmentDefinitionNotFound")
            kube.delete(NETWORKS, name="gone", namespace=namespace)
            eventually(lambda: kube.find(NETWORKS, name="gone", namespace=namespace) is None)  # nothing holds it
            definitions.install(api, definitions.read([tests / "data"]))
            ready(kube, NETWORKS, made, reason="NetworkReady")
