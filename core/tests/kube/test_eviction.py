"""Evictions: of either kind, and what each refusal means."""

from __future__ import annotations

from typing import Any

import pytest

from virtfn.errors import Conflict, EvictionBlocked, InvalidObject, NotFound, TooManyRequests, Unavailable
from virtfn.kube.client import KubeClient
from virtfn.kube.eviction import Evictor

PATH = "/api/v1/namespaces/there/pods/p/eviction"
BUDGET = {"causes": [{"reason": "DisruptionBudget", "message": "needs 1 healthy pods"}]}


@pytest.fixture
def evictor(client: KubeClient) -> Evictor:
    return Evictor(client)


def discovery(kit: Any, version: str) -> Any:
    eviction = {"name": "pods/eviction", "group": "policy", "version": version, "kind": "Eviction"}
    return kit.Answer(body={"resources": [{"name": "pods"}, eviction]})


@pytest.fixture
def modern(kit: Any, server: Any) -> Any:
    server.answer("GET", "/api/v1", discovery(kit, "v1"))
    return server


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_the_server_says_which_kind_it_takes(kit: Any, server: Any, evictor: Evictor, version: str) -> None:
    server.answer("GET", "/api/v1", discovery(kit, version))
    server.answer("POST", PATH, *[kit.Answer(201, {"kind": "Status"})] * 2)
    assert evictor.evict(name="p", namespace="there", uid="u", grace_seconds=5, dry_run=True)
    assert evictor.evict(name="p", namespace="there")
    first, second = (each.body for each in server.asked("POST"))
    assert first == {
        "apiVersion": f"policy/{version}", "kind": "Eviction", "metadata": {"name": "p", "namespace": "there"},
        "deleteOptions": {"preconditions": {"uid": "u"}, "gracePeriodSeconds": 5, "dryRun": ["All"]},
    }  # fmt: skip
    assert "deleteOptions" not in second
    assert len(server.asked("GET")) == 1, "asked once"


@pytest.mark.parametrize(("headers", "wait"), [({}, None), ({"Retry-After": "10"}, 10.0)])
def test_a_budget_blocks_and_nobody_waits_here(
    kit: Any, modern: Any, evictor: Evictor, clock: Any, headers: Any, wait: Any
) -> None:
    modern.answer("POST", PATH, kit.refused(429, "TooManyRequests", details=BUDGET, headers=headers))
    with pytest.raises(EvictionBlocked, match="pods there/p: POST is held up by a disruption budget") as caught:
        evictor.evict(name="p", namespace="there")
    assert caught.value.retry_after == wait
    assert clock.waits == []


def test_the_budget_is_named(kit: Any, modern: Any, evictor: Evictor) -> None:
    cause = {
        "reason": "DisruptionBudget",
        "message": "The disruption budget b needs 2 healthy pods",
    }
    modern.answer("POST", PATH, kit.refused(429, "TooManyRequests", details={"causes": [cause]}))
    with pytest.raises(EvictionBlocked, match="The disruption budget b needs 2 healthy pods; "):
        evictor.evict(name="p", namespace="there")


def test_a_busy_server_is_not_a_budget(kit: Any, modern: Any, evictor: Evictor, clock: Any) -> None:
    modern.answer("POST", PATH, kit.refused(429, "TooManyRequests", headers={"Retry-After": "1"}))
    with pytest.raises(TooManyRequests):
        evictor.evict(name="p", namespace="there")
    assert clock.waits == []


def test_two_budgets_block_until_somebody_acts(kit: Any, modern: Any, evictor: Evictor) -> None:
    message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    modern.answer("POST", PATH, kit.refused(500, message=message), kit.refused(500, message="etcd"))
    with pytest.raises(EvictionBlocked) as caught:
        evictor.evict(name="p", namespace="there")
    assert caught.value.status == 500
    with pytest.raises(Unavailable):
        evictor.evict(name="p", namespace="there")


def test_gone_is_gone(kit: Any, modern: Any, evictor: Evictor) -> None:
    modern.answer("POST", PATH, kit.refused(404), kit.refused(409, "Conflict"), kit.refused(409, "Conflict"))
    assert not evictor.evict(name="p", namespace="there")
    assert not evictor.evict(name="p", namespace="there", uid="u")
    with pytest.raises(Conflict):
        evictor.evict(name="p", namespace="there")


def test_a_server_that_was_upgraded_meanwhile(kit: Any, server: Any, evictor: Evictor) -> None:
    server.answer("GET", "/api/v1", discovery(kit, "v1beta1"), discovery(kit, "v1"))
    server.answer("POST", PATH, kit.refused(400, "BadRequest"), kit.Answer(201, {"kind": "Status"}))
    assert evictor.evict(name="p", namespace="there")
    assert [each.body["apiVersion"] for each in server.asked("POST")] == ["policy/v1beta1", "policy/v1"]


def test_a_request_that_is_wrong_stays_wrong(kit: Any, server: Any, evictor: Evictor) -> None:
    server.answer("GET", "/api/v1", discovery(kit, "v1"), discovery(kit, "v1"))
    server.answer("POST", PATH, kit.refused(422, "Invalid"))
    with pytest.raises(InvalidObject):
        evictor.evict(name="p", namespace="there")


def test_a_server_without_evictions(kit: Any, server: Any, evictor: Evictor) -> None:
    server.answer("GET", "/api/v1", kit.Answer(body={"resources": []}))
    with pytest.raises(NotFound, match="no evictions"):
        evictor.evict(name="p", namespace="there")
