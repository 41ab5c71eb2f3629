"""Addresses and names of objects."""

from __future__ import annotations

import pytest

from virtfn.kube.resource import LEASES, NODES, PODS, Resource, key_of, metadata_of, split_key, uid_of, version_of


@pytest.mark.parametrize(
    ("resource", "where", "path"),
    [
        (NODES, {}, "/api/v1/nodes"),
        (NODES, {"name": "n1", "subresource": "status"}, "/api/v1/nodes/n1/status"),
        (PODS, {}, "/api/v1/pods"),
        (PODS, {"namespace": "x"}, "/api/v1/namespaces/x/pods"),
        (PODS, {"namespace": "x", "name": "p"}, "/api/v1/namespaces/x/pods/p"),
        (LEASES, {"namespace": "x", "name": "l"}, "/apis/coordination.k8s.io/v1/namespaces/x/leases/l"),
        (PODS, {"namespace": "x", "name": "../../nodes"}, "/api/v1/namespaces/x/pods/..%2F..%2Fnodes"),
    ],
)
def test_paths(resource: Resource, where: dict[str, str], path: str) -> None:
    assert resource.path(**where) == path


def test_addresses_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="is not namespaced"):
        NODES.path(namespace="x", name="n1")
    with pytest.raises(ValueError, match="needs a namespace"):
        PODS.path(name="p")


def test_words_for_messages() -> None:
    assert LEASES.api_version == "coordination.k8s.io/v1"
    assert NODES.api_version == "v1"
    assert LEASES.subject(namespace="x", name="l") == "leases.coordination.k8s.io x/l"
    assert NODES.subject(name="n1") == "nodes n1"
    assert PODS.subject(namespace="x") == "pods x"


def test_keys() -> None:
    assert key_of({"metadata": {"namespace": "x", "name": "p"}}) == "x/p"
    assert key_of({"metadata": {"name": "n1"}}) == "n1"
    assert split_key("x/p") == ("x", "p")
    assert split_key("n1") == ("", "n1")
    with pytest.raises(KeyError):
        key_of({"metadata": {}})


def test_facts_that_may_be_missing() -> None:
    thing = {"metadata": {"uid": "u", "resourceVersion": "5"}}
    assert (uid_of(thing), version_of(thing)) == ("u", "5")
    assert (uid_of({}), version_of({"metadata": None})) == ("", "")
    assert metadata_of({"metadata": "x"}) == {}
