"""Verbs: what goes over the wire, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from virtfn.errors import AlreadyExists, BadReply, Conflict, Gone, InvalidObject, LeaseLost, NotFound
from virtfn.kube.client import KubeClient, PatchKind
from virtfn.kube.resource import NODES

PATH = "/apis/example.org/v1/namespaces/there/widgets"


def test_an_object_is_what_the_server_has(kit: Any, server: Any, client: KubeClient) -> None:
    server.objects[f"{PATH}/a"] = kit.widget("a", spec={"unknown": [1, None]})
    assert client.get(kit.widgets, name="a", namespace="there") == kit.widget("a", spec={"unknown": [1, None]})
    assert server.requests[0].headers["User-Agent"] == "virtfn/test"


def test_missing_is_an_error_of_get_and_none_of_find(kit: Any, client: KubeClient) -> None:
    with pytest.raises(NotFound, match=r"widgets\.example\.org there/a: GET found nothing \(.*not found; create it"):
        client.get(kit.widgets, name="a", namespace="there")
    assert client.find(kit.widgets, name="a", namespace="there") is None


@pytest.mark.parametrize("many", [False, True])
def test_metadata_only_is_asked_for_by_the_accept_header(kit: Any, server: Any, client: KubeClient, many: bool) -> None:
    server.answer("GET", "/api/v1/nodes" if many else "/api/v1/nodes/n1", kit.listed(version="5"))
    if many:
        list(client.list(NODES, metadata_only=True))
    else:
        client.get(NODES, name="n1", metadata_only=True)
    kind = "PartialObjectMetadataList" if many else "PartialObjectMetadata"
    accept = server.requests[0].headers["Accept"]
    assert accept == f"application/json;as={kind};g=meta.k8s.io;v=v1,application/json"


def test_a_list_is_fetched_page_by_page(kit: Any, server: Any, client: KubeClient) -> None:
    first, second = kit.widget("a"), kit.widget("b")
    server.answer("GET", PATH, kit.listed(first, version="9", more="next"), kit.listed(second, version="9"))
    found = client.list(kit.widgets, namespace="there", labels="x=y", fields="metadata.name!=z", limit=1)
    assert next(found) == first
    assert len(server.requests) == 1
    assert list(found) == [second]
    assert [request.query for request in server.requests] == [
        {"labelSelector": "x=y", "fieldSelector": "metadata.name!=z", "limit": "1"},
        {"labelSelector": "x=y", "fieldSelector": "metadata.name!=z", "limit": "1", "continue": "next"},
    ]


def test_a_list_that_expires_on_the_way_says_so(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("GET", PATH, kit.listed(kit.widget("a"), version="9", more="next"), kit.refused(410, "Expired"))
    with pytest.raises(Gone):
        list(client.list(kit.widgets, namespace="there"))


@pytest.mark.parametrize("body", [{"items": 3}, {"items": ["a"]}, {"items": {"a": 1}}])
def test_what_is_no_list_is_a_bad_reply(kit: Any, server: Any, client: KubeClient, body: Any) -> None:
    server.answer("GET", PATH, kit.Answer(body=body))
    with pytest.raises(BadReply, match="not a list"):
        client.page(kit.widgets, namespace="there")


def test_create_update_and_delete(kit: Any, server: Any, client: KubeClient) -> None:
    made = client.create(kit.widgets, body=kit.widget("a"), field_manager="us")
    assert server.requests[-1].query == {"fieldManager": "us"}
    with pytest.raises(AlreadyExists):
        client.create(kit.widgets, body=kit.widget("a"))
    changed = client.update(kit.widgets, body={**made, "spec": {"n": 1}})
    assert changed["spec"] == {"n": 1}
    with pytest.raises(Conflict, match="read it again"):
        client.update(kit.widgets, body={**made, "spec": {"n": 2}})
    with pytest.raises(Conflict):
        client.delete(kit.widgets, name="a", namespace="there", uid="another")
    uid = changed["metadata"]["uid"]
    assert client.delete(kit.widgets, name="a", namespace="there", uid=uid, grace_seconds=0, propagation="Foreground")
    assert server.requests[-1].body == {
        "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}, "gracePeriodSeconds": 0,
        "propagationPolicy": "Foreground",
    }  # fmt: skip
    assert not client.delete(kit.widgets, name="a", namespace="there")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (PatchKind.MERGE, "application/merge-patch+json"),
        (PatchKind.JSON, "application/json-patch+json"),
        (PatchKind.APPLY, "application/apply-patch+yaml"),
    ],
)
def test_patches_name_their_kind(kit: Any, server: Any, client: KubeClient, kind: PatchKind, word: str) -> None:
    server.answer("PATCH", f"{PATH}/a/status", kit.Answer(body={"kind": "Widget"}))
    body = [{"op": "remove", "path": "/x"}] if kind is PatchKind.JSON else {"x": 1}
    client.patch(
        kit.widgets, name="a", namespace="there", body=body, kind=kind, subresource="status", field_manager="us",
        force=True, metadata_only=True,
    )  # fmt: skip
    request = server.requests[0]
    assert request.headers["Content-Type"] == word
    assert request.headers["Accept"].startswith("application/json;as=PartialObjectMetadata;")
    assert request.query == {"fieldManager": "us", "force": "true"}
    assert request.body == body


def test_what_the_server_does_not_take_names_the_fields(kit: Any, server: Any, client: KubeClient) -> None:
    causes = [{"reason": "FieldValueInvalid", "field": "spec.numVfs", "message": "must be less than 9"}]
    server.answer("POST", PATH, kit.refused(422, "Invalid", "spec.numVfs: bad", details={"causes": causes}))
    with pytest.raises(InvalidObject, match="POST was refused") as caught:
        client.create(kit.widgets, body=kit.widget("a"))
    assert caught.value.causes == (("spec.numVfs", "must be less than 9"),)
    assert caught.value.status == 422
    assert not caught.value.retryable


def test_a_watch_asks_for_bookmarks_and_an_end(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("GET", PATH, kit.watched(b"one\n", b"two"))
    with client.watch(kit.widgets, namespace="there", resource_version="7", seconds=300, quiet=kit.patience) as stream:
        assert b"".join(stream.chunks()) == b"one\ntwo"
    assert server.requests[0].query == {
        "watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "300", "resourceVersion": "7",
    }  # fmt: skip


def test_anything_else_goes_by_its_path(kit: Any, server: Any, client: KubeClient) -> None:
    server.answer("GET", "/version", kit.Answer(body={"major": "1"}))
    assert client.call("GET", path="/version", subject="version") == {"major": "1"}


def test_a_guarded_client_asks_before_each_write_and_never_before_a_read(
    kit: Any, server: Any, client: KubeClient
) -> None:
    made = client.create(kit.widgets, body=kit.widget("a"))

    def refuse() -> None:
        raise LeaseLost("not ours any more")

    guarded = client.guarded(refuse)
    assert guarded.get(kit.widgets, name="a", namespace="there") == made
    before = len(server.requests)
    writes: tuple[Callable[[], object], ...] = (
        lambda: guarded.create(kit.widgets, body=kit.widget("b")),
        lambda: guarded.update(kit.widgets, body=made),
        lambda: guarded.patch(kit.widgets, name="a", namespace="there", body={"x": 1}),
        lambda: guarded.delete(kit.widgets, name="a", namespace="there"),
        lambda: guarded.call("POST", path=f"{PATH}/a/eviction", subject="a", body={}),
    )
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert len(server.requests) == before
    assert client.delete(kit.widgets, name="a", namespace="there")


def test_a_write_that_was_put_off_asks_again_before_it_is_sent(kit: Any, server: Any, client: KubeClient) -> None:
    later = kit.refused(429, "TooManyRequests", headers={"Retry-After": "3"})
    server.answer("DELETE", f"{PATH}/a", later, later)
    rights = iter([True, True, False])

    def ask() -> None:
        if not next(rights):
            raise LeaseLost("not ours any more")

    with pytest.raises(LeaseLost):
        client.guarded(ask).delete(kit.widgets, name="a", namespace="there")
    assert len(server.asked("DELETE")) == 2
