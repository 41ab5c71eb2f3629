"""Each verb, each refusal, as a real API server takes and gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kube.bed import faults
from kube.bed.proxy import Proxy
from kube.bed.server import STRANGER, ApiServer

from virtfn.errors import (
    AlreadyExists,
    BadReply,
    Conflict,
    Forbidden,
    Gone,
    InvalidObject,
    NotFound,
    Unauthorized,
    Unavailable,
)
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.resource import CONFIG_MAPS, NAMESPACES, NODES, Json, Resource, key_of, uid_of, version_of
from virtfn.kube.transport import TransportSettings


def test_an_object_from_beginning_to_end(kube: KubeClient, namespace: str, config_map: Callable[..., Json]) -> None:
    made = kube.create(CONFIG_MAPS, body=config_map("a", x="1"), field_manager="us")
    assert kube.get(CONFIG_MAPS, name="a", namespace=namespace) == made
    with pytest.raises(AlreadyExists, match=f"configmaps {namespace}/a: POST found another one"):
        kube.create(CONFIG_MAPS, body=config_map("a"))
    changed = kube.update(CONFIG_MAPS, body={**made, "data": {"x": "2"}})
    assert changed["data"] == {"x": "2"}
    with pytest.raises(Conflict, match="came too late"):
        kube.update(CONFIG_MAPS, body={**made, "data": {"x": "3"}})
    with pytest.raises(Conflict):
        kube.delete(CONFIG_MAPS, name="a", namespace=namespace, uid="another")
    with pytest.raises(Conflict):
        kube.delete(CONFIG_MAPS, name="a", namespace=namespace, resource_version=version_of(made))
    assert kube.delete(CONFIG_MAPS, name="a", namespace=namespace, uid=uid_of(made), propagation="Background")
    assert not kube.delete(CONFIG_MAPS, name="a", namespace=namespace)
    assert kube.find(CONFIG_MAPS, name="a", namespace=namespace) is None
    with pytest.raises(NotFound):
        kube.get(CONFIG_MAPS, name="a", namespace=namespace)


def test_patches_of_each_kind(kube: KubeClient, namespace: str, config_map: Callable[..., Json]) -> None:
    kube.create(CONFIG_MAPS, body=config_map("a", x="1", y="1"))

    def patch(body: Any, **more: Any) -> Json:
        return kube.patch(CONFIG_MAPS, name="a", namespace=namespace, body=body, **more)

    assert patch({"data": {"x": None, "z": "1"}})["data"] == {"y": "1", "z": "1"}
    operations = [{"op": "test", "path": "/data/y", "value": "1"}, {"op": "remove", "path": "/data/y"}]
    assert patch(operations, kind=PatchKind.JSON)["data"] == {"z": "1"}
    with pytest.raises(InvalidObject):
        patch(operations, kind=PatchKind.JSON)
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"z": "ours"}}
    with pytest.raises(Conflict, match="conflict"):
        patch(applied, kind=PatchKind.APPLY, field_manager="us")
    assert patch(applied, kind=PatchKind.APPLY, field_manager="us", force=True)["data"] == {"z": "ours"}
    with pytest.raises(Conflict):
        patch({"metadata": {"resourceVersion": "1"}, "data": {"z": "late"}})


def test_a_status_is_a_thing_of_its_own(kube: KubeClient, namespace: str) -> None:
    name = f"node-{namespace}"[:60].rstrip("-")
    kube.create(NODES, body={"metadata": {"name": name}})
    status = {"status": {"phase": "Running"}, "metadata": {"labels": {"x": "1"}}}
    patched = kube.patch(NODES, name=name, body=status, subresource="status")
    assert patched["status"]["phase"] == "Running"
    assert kube.get(NODES, name=name, subresource="status")["status"]["phase"] == "Running"
    unchanged = kube.patch(NODES, name=name, body={"status": {"phase": "Pending"}})
    assert unchanged["status"]["phase"] == "Running"
    kube.delete(NODES, name=name)


def test_lists_by_page_and_selector(kube: KubeClient, namespace: str, config_map: Callable[..., Json]) -> None:
    for n in range(7):
        kube.create(CONFIG_MAPS, body=config_map(f"c{n}", labels={"even": str(n % 2 == 0)}))
    found = list(kube.list(CONFIG_MAPS, namespace=namespace, limit=2))
    assert [key_of(each) for each in found] == [f"{namespace}/c{n}" for n in range(7)]
    even = kube.list(CONFIG_MAPS, namespace=namespace, labels="even=True", limit=3)
    assert [each["metadata"]["name"] for each in even] == ["c0", "c2", "c4", "c6"]
    (one,) = kube.list(CONFIG_MAPS, namespace=namespace, fields="metadata.name=c3")
    assert one["metadata"]["name"] == "c3"
    page = kube.page(CONFIG_MAPS, namespace=namespace, limit=2)
    assert page.continuation
    assert page.resource_version.isdigit()


def test_metadata_only(kube: KubeClient, namespace: str, config_map: Callable[..., Json]) -> None:
    kube.create(CONFIG_MAPS, body=config_map("a", x="1"))
    (listed,) = kube.list(CONFIG_MAPS, namespace=namespace, metadata_only=True, fields="metadata.name=a")
    got = kube.get(CONFIG_MAPS, name="a", namespace=namespace, metadata_only=True)
    body = {"data": {"x": "2"}}
    patched = kube.patch(CONFIG_MAPS, name="a", namespace=namespace, body=body, metadata_only=True)
    for thing in (listed, got, patched):
        assert thing["kind"] == "PartialObjectMetadata"
        assert "data" not in thing
    assert kube.get(CONFIG_MAPS, name="a", namespace=namespace)["data"] == {"x": "2"}


def test_a_namespace_is_no_place_for_everything(kube: KubeClient, namespace: str) -> None:
    with pytest.raises(InvalidObject, match="POST was refused") as caught:
        kube.create(CONFIG_MAPS, body={"metadata": {"name": "Not A Name", "namespace": namespace}})
    ((field, what),) = caught.value.causes
    assert field == "metadata.name"
    assert "Not A Name" in what
    with pytest.raises(NotFound):
        kube.create(CONFIG_MAPS, body={"metadata": {"name": "a", "namespace": f"no-{namespace}"}})


def test_a_kind_that_the_server_does_not_have(kube: KubeClient) -> None:
    with pytest.raises(NotFound, match=r"things\.example\.org: GET found nothing \(404 page not found; .*its CRD"):
        list(kube.list(Resource("example.org", "v1", "things", "Thing")))


def test_who_may_not(api_server: ApiServer, connected: Callable[..., KubeClient], namespace: str) -> None:
    with pytest.raises(Forbidden, match=r'User "stranger" cannot list resource "configmaps"'):
        list(connected(api_server, STRANGER).list(CONFIG_MAPS, namespace=namespace))
    with pytest.raises(Unauthorized, match="check the token"):
        connected(api_server, "a token of nobody").get(NAMESPACES, name=namespace)


def test_a_continue_token_that_means_nothing(kube: KubeClient, namespace: str) -> None:
    with pytest.raises((InvalidObject, Gone)):
        kube.page(CONFIG_MAPS, namespace=namespace, continuation="bm9uc2Vuc2U")


def test_a_server_that_puts_off_is_obeyed(through: KubeClient, tls_proxy: Proxy, namespace: str) -> None:
    tls_proxy.on("GET", f"/namespaces/{namespace}$", fault=faults.TOO_MANY, times=2)
    assert through.get(NAMESPACES, name=namespace)["metadata"]["name"] == namespace
    first, second, third = (each.time for each in tls_proxy.requests("GET", f"/namespaces/{namespace}$"))
    assert second - first >= 1.0
    assert third - second >= 1.0
    assert tls_proxy.requests()[0].user_agent == "virtfn/test"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.INTERNAL, Unavailable), (faults.UNAVAILABLE, Unavailable), (faults.WEB_PAGE, Unavailable),
        (faults.GARBAGE, BadReply), (faults.GONE, Gone), (faults.Swallow(), Unavailable),
        (faults.WithholdAnswer(), Unavailable),
    ],
    ids=["500", "503", "web page", "garbage", "410", "no answer", "withheld"],
)  # fmt: skip
def test_what_goes_wrong_is_an_error_of_ours(
    through: KubeClient, tls_proxy: Proxy, namespace: str, fault: faults.Fault, kind: type[Exception]
) -> None:
    tls_proxy.on("GET", f"/namespaces/{namespace}$", fault=fault)
    with pytest.raises(kind, match=f"^namespaces {namespace}: "):
        through.get(NAMESPACES, name=namespace, timeout=1.0)
    assert through.get(NAMESPACES, name=namespace)["metadata"]["name"] == namespace


def test_a_connection_that_is_reset_once_is_no_failure_of_a_read(
    through: KubeClient, tls_proxy: Proxy, namespace: str
) -> None:
    rule = tls_proxy.on("GET", f"/namespaces/{namespace}$", fault=faults.Refuse())
    assert through.get(NAMESPACES, name=namespace)
    assert len(rule.hits) == 1


def test_a_create_whose_answer_is_lost_is_not_sent_again(
    through: KubeClient, kube: KubeClient, tls_proxy: Proxy, namespace: str, config_map: Callable[..., Json]
) -> None:
    rule = tls_proxy.on("POST", "/configmaps", fault=faults.LoseAnswer(), times=None)
    with pytest.raises(Unavailable):
        through.create(CONFIG_MAPS, body=config_map("a"))
    assert len(rule.hits) == 1
    assert kube.get(CONFIG_MAPS, name="a", namespace=namespace)


def test_a_server_that_is_away_and_back(own_api_server: ApiServer, connected: Callable[..., KubeClient]) -> None:
    kube = connected(own_api_server, settings=TransportSettings(connect_timeout=2.0))
    assert kube.get(NAMESPACES, name="kube-system")
    own_api_server.kill()
    with pytest.raises(Unavailable, match="did not reach the API server"):
        kube.get(NAMESPACES, name="kube-system")
    own_api_server.start()
    assert kube.get(NAMESPACES, name="kube-system")


def test_one_connection_does_for_one_after_the_other(through: KubeClient, tls_proxy: Proxy, namespace: str) -> None:
    for _ in range(10):
        through.get(NAMESPACES, name=namespace)
    assert tls_proxy.open_connections == 1
