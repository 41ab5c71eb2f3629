"""The handshake on a real API server: from what a daemon needs to DrainComplete, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virtfn.kube.resource import NAMESPACES, NODES, Resource


def test_a_node_at_rest_gets_its_annotations_and_nothing_else(cluster: Any, start: Callable[..., Any]) -> None:
    cluster.add_node("a")
    running = start()
    cluster.wait_current("a", "Idle")
    assert cluster.annotation("a", "sriovnetwork.openshift.io/desired-state") == "Idle"
    word = "sriovnetwork.openshift.io/state"
    cluster.wait(lambda: cluster.node("a")["metadata"].get("annotations", {}).get(word) == "Idle", why="node says so")
    cluster.need("a", "Idle", affects=())
    written = running.tally.counted("writes")
    cluster.settle()
    cluster.set_ready("a", "Unknown")
    cluster.set_ready("a", "True")
    cluster.settle()
    assert running.tally.counted("writes") == written
    assert cluster.reason("a") == ""
    assert not cluster.is_cordoned("a")


def test_only_holders_go_and_the_node_comes_back(cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]) -> None:
    cluster.add_node("a")
    cluster.add_node("b")
    cluster.add_pod("holder", "a", vfs=vfs[:1])
    cluster.add_pod("other-vf", "a", vfs=vfs[3:])
    cluster.add_pod("plain", "a")
    cluster.add_pod("bare", "a", vfs=vfs[1:2], owner="")
    cluster.add_pod("elsewhere", "b", vfs=vfs[:1])
    running = start()
    cluster.need("a", "Drain_Required", affects=vfs[:2])
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == {"other-vf", "plain"}
    assert cluster.pods("b") == {"elsewhere"}
    assert cluster.is_cordoned("a")
    assert cluster.is_ours("a")
    assert not cluster.is_cordoned("b")
    assert cluster.annotation("a", "virtfn.io/drained-for") == "d1"
    assert cluster.annotation("a", "sriovnetwork.openshift.io/desired-state") == "Drain_Required"
    assert cluster.node("a")["metadata"]["annotations"]["sriovnetwork.openshift.io/state"] == "Drain_Required"
    cluster.wait_reason("a", "Drained")
    cluster.wait(lambda: cluster.events("a", "DrainStarted"), why="an event")
    (event,) = cluster.events("a", "DrainStarted")
    assert "without a controller, so that they do not come back" in event["note"]
    assert event["type"] == "Normal"
    assert running.tally.counted("evictions") == 2
    cluster.need("a", "Idle")
    cluster.wait_current("a", "Idle")
    assert not cluster.is_cordoned("a")
    assert not cluster.is_ours("a")
    assert cluster.annotation("a", "virtfn.io/drained-for") == ""
    assert cluster.annotation("a", "virtfn.io/drain") == ""
    cluster.wait_reason("a", "NotNeeded")


def test_requests_count_where_multus_says_nothing(cluster: Any, start: Callable[..., Any]) -> None:
    cluster.add_node("a")
    cluster.add_pod("asks", "a", requests=1)
    cluster.add_pod("plain", "a")
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == {"plain"}


def test_a_pod_is_waited_for_until_its_kubelet_has_ended_it(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_leaving("slow"), why="it was asked to go")
    cluster.wait(lambda: "was asked to go and has not ended" in cluster.message("a"), why="people are told")
    assert cluster.current("a") == "Draining"
    assert cluster.reason("a") == "Draining"
    cluster.end_pod("slow")
    cluster.wait_current("a", "DrainComplete")


def test_a_budget_holds_up_the_drain_before_anything_is_cordoned(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.add_pod("app", "a", vfs=vfs[:1])
    cluster.add_budget("keeps", app="app")
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait_reason("a", "EvictionBlocked")
    assert f"{cluster.namespace}/app" in cluster.message("a")
    assert "The disruption budget keeps needs" in cluster.message("a"), "both are named"
    cluster.settle()
    assert cluster.current("a") == "Idle"
    assert not cluster.is_cordoned("a")
    assert cluster.pods("a") == {"app"}
    (event,) = cluster.events("a", "EvictionBlocked")
    assert event["type"] == "Warning"
    cluster.let_go("keeps", allows=1)
    cluster.annotate("a", {"virtfn.io/retry": "1"})  # not to wait for the next try
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == set()


def test_a_budget_that_closes_while_it_drains_is_honoured_until_it_opens(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    """Two pods, of which the budget lets one go: the server counts it down, and nobody here counts it up again."""
    cluster.add_node("a")
    for n in range(2):
        cluster.add_pod(f"p{n}", "a", vfs=vfs[n : n + 1], labels={"set": "x", "app": "set"})
    cluster.add_budget("one", app="set", allows=1)
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: len(cluster.pods("a")) == 1, why="one has gone")
    cluster.wait_reason("a", "EvictionBlocked")
    assert cluster.current("a") == "Draining"
    assert "disruption budget one" in cluster.message("a")
    cluster.settle()
    assert len(cluster.pods("a")) == 1
    cluster.let_go("one", allows=1)
    cluster.wait_current("a", "DrainComplete")


def test_the_deadline_uncordons_and_says_who_was_in_the_way(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    start(drain_deadline=3.0)
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_cordoned("a"), why="it begins")
    cluster.wait_reason("a", "DeadlineExceeded")
    assert cluster.current("a") == "Idle"
    assert not cluster.is_cordoned("a")
    assert not cluster.is_ours("a")
    assert f"given up after 3 s, in the way: {cluster.namespace}/slow" in cluster.message("a")
    assert '"attempts":1' in cluster.annotation("a", "virtfn.io/drain")
    cluster.settle()
    assert cluster.current("a") == "Idle", "it is left alone for a while"
    assert len(cluster.events("a", "DeadlineExceeded")) == 1
    cluster.end_pod("slow")
    cluster.need("a", "Drain_Required", digest="another")
    cluster.wait_current("a", "DrainComplete")


def test_a_foreign_cordon_stays(cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]) -> None:
    cluster.add_node("a", cordoned=True)
    cluster.add_pod("holder", "a", vfs=vfs[:1])
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == set()
    assert not cluster.is_ours("a")
    cluster.need("a", "Idle")
    cluster.wait_current("a", "Idle")
    cluster.settle()
    assert cluster.is_cordoned("a")


def test_somebody_uncordons_while_it_drains(cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]) -> None:
    cluster.add_node("a")
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_cordoned("a"), why="it begins")
    cluster.kube.patch(NODES, name=cluster.name("a"), body={"spec": {"unschedulable": None}})
    cluster.wait_reason("a", "CordonRemoved")
    cluster.settle()
    assert cluster.current("a") == "Idle"
    assert not cluster.is_cordoned("a"), "the person's word stands"
    assert not cluster.is_ours("a")


def test_a_cordon_that_came_after_ours_was_taken_away_while_nobody_led(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.keep_managers("a")
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    running = start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_cordoned("a"), why="it begins")
    running.stop()
    for value in (None, True):
        body = {"spec": {"unschedulable": value}}
        cluster.kube.patch(NODES, name=cluster.name("a"), body=body, field_manager="kubectl-cordon")
    assert cluster.is_ours("a"), "our mark does not tell the two apart"
    cluster.end_pod("slow")
    start()
    cluster.wait_current("a", "DrainComplete")
    cluster.need("a", "Idle")
    cluster.wait_current("a", "Idle")
    cluster.wait(lambda: not cluster.is_ours("a"), why="our mark is gone")
    cluster.settle()
    assert cluster.is_cordoned("a")


def test_no_longer_needed_while_it_drains(cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]) -> None:
    cluster.add_node("a")
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_cordoned("a"), why="it begins")
    cluster.need("a", "Idle")
    cluster.wait_current("a", "Idle")
    assert not cluster.is_cordoned("a")


def test_another_plan_is_drained_for_too(cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]) -> None:
    cluster.add_node("a")
    cluster.add_pod("first", "a", vfs=vfs[:1])
    cluster.add_pod("second", "a", vfs=vfs[1:2])
    start()
    cluster.need("a", "Drain_Required", affects=vfs[:1])
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == {"second"}
    cluster.need("a", "Drain_Required", affects=vfs[:2], digest="d2")
    cluster.wait(lambda: cluster.annotation("a", "virtfn.io/drained-for") == "d2", why="drained for the new plan")
    assert cluster.current("a") == "DrainComplete"
    assert cluster.pods("a") == set()
    assert cluster.is_cordoned("a")


def test_a_reboot_sends_all_away_but_what_the_node_keeps(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.add_node("b")
    cluster.add_pod("plain", "a")
    cluster.add_pod("holder", "a", vfs=vfs[:1])
    cluster.add_pod("daemon", "a", owner="DaemonSet", vfs=vfs[1:2])
    cluster.add_pod("file", "a", owner="Node", annotations={"kubernetes.io/config.mirror": "x"})
    start()
    cluster.need("a", "Reboot_Required", affects=())
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == {"daemon", "file"}
    assert cluster.is_cordoned("a")


def test_the_pods_of_daemon_sets_go_last_and_are_kept_away(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.add_pod("slow", "a", vfs=vfs[:1], grace=30)
    cluster.add_pod("daemon", "a", vfs=vfs[1:2], owner="DaemonSet")
    cluster.add_pod("other-daemon", "a", owner="DaemonSet")
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: cluster.is_leaving("slow"), why="the others go first")
    cluster.settle()
    assert cluster.pods("a") == {"slow", "daemon", "other-daemon"}
    others = cluster.taints("a")
    assert others, "the server taints every new node, and nobody here takes that away"
    assert "virtfn.io/draining" not in others
    cluster.end_pod("slow")
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == {"other-daemon"}
    assert sorted(cluster.taints("a")) == sorted([*others, "virtfn.io/draining"])
    cluster.need("a", "Idle")
    cluster.wait_current("a", "Idle")
    assert cluster.taints("a") == others
    assert not cluster.is_cordoned("a")


def test_a_static_pod_that_holds_a_vf_is_reported_before_anything_is_done(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.add_pod("file", "a", owner="Node", annotations={"kubernetes.io/config.mirror": "x"}, vfs=vfs[:1])
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait_reason("a", "EvictionBlocked")
    assert "file" in cluster.message("a")
    assert not cluster.is_cordoned("a")


def test_drains_are_disabled(cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]) -> None:
    cluster.add_node("a")
    cluster.add_node("b")
    cluster.configure(disableDrain=True)
    cluster.add_pod("holder", "a", vfs=vfs[:1])
    cluster.add_pod("plain", "b")
    start()
    cluster.need("a", "Drain_Required")
    cluster.need("b", "Reboot_Required")
    cluster.wait_current("a", "DrainComplete")
    cluster.wait_reason("a", "DrainDisabled")
    assert not cluster.is_cordoned("a")
    cluster.wait_current("b", "DrainComplete")
    assert cluster.is_cordoned("b")
    assert cluster.pods("a") == {"holder"}
    assert cluster.pods("b") == {"plain"}


def test_budgets_are_not_asked_where_pods_are_deleted(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    cluster.add_node("a")
    cluster.configure(podEvictionPolicy="delete", podEvictionForce=True)
    cluster.add_pod("app", "a", vfs=vfs[:1], grace=30)
    cluster.add_budget("keeps", app="app")
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == set()


def test_another_drainer_is_left_to_it(cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]) -> None:
    cluster.add_node("a")
    cluster.add_pod("holder", "a", vfs=vfs[:1])
    running = start(use_external_drainer=True)
    word = "sriovnetwork.openshift.io/use-external-drainer"
    cluster.wait(lambda: cluster.annotation("a", word) == "true", why="it is said who drains")
    cluster.need("a", "Drain_Required")
    cluster.wait_reason("a", "ExternalDrainer")
    assert cluster.annotation("a", "sriovnetwork.openshift.io/desired-state") == "Drain_Required"
    cluster.settle()
    assert cluster.current("a") == ""
    assert cluster.pods("a") == {"holder"}
    assert not cluster.is_cordoned("a")
    running.stop()
    start()
    cluster.settle()
    assert cluster.current("a") == "", "who drains does not change in the middle"
    cluster.need("a", "Idle")
    cluster.wait(lambda: cluster.annotation("a", word) == "", why="then it does")
    cluster.need("a", "Drain_Required")
    cluster.wait_current("a", "DrainComplete")


def test_a_daemon_that_only_knows_the_annotations(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    """As the existing operators' do: no plan, no needed state; every pod with a VF goes."""
    cluster.add_node("a")
    cluster.say_nothing("a")
    cluster.add_pod("holder", "a", vfs=vfs[3:])
    cluster.add_pod("plain", "a")
    start()
    cluster.wait_current("a", "Idle")

    def say(needed: str) -> None:
        cluster.annotate("a", {"sriovnetwork.openshift.io/desired-state": needed})

    say("Drain_Required")
    cluster.wait_current("a", "DrainComplete")
    assert cluster.pods("a") == {"plain"}
    assert cluster.annotation("a", "virtfn.io/drained-for") == ""
    assert cluster.annotation("a", "sriovnetwork.openshift.io/desired-state") == "Drain_Required"
    say("Idle")
    cluster.wait_current("a", "Idle")
    assert not cluster.is_cordoned("a")


def test_a_webhook_that_is_down_is_a_reason_like_any_other(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    hooks = Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "", namespaced=False)
    cluster.kube.patch(NAMESPACES, name=cluster.namespace, body={"metadata": {"labels": {"hooked": cluster.namespace}}})
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/eviction"], "operations": ["CREATE"]}
    hook = {
        "name": "down.example.org",
        "rules": [rule],
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "namespaceSelector": {"matchLabels": {"hooked": cluster.namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    for node in ("a", "b"):
        cluster.add_node(node)
    cluster.add_pod("app", "a", vfs=vfs[:1])
    start()
    cluster.kube.create(hooks, body={"metadata": {"name": cluster.namespace}, "webhooks": [hook]})
    try:
        cluster.need("a", "Drain_Required")
        cluster.wait_reason("a", "EvictionBlocked")
        assert "down.example.org" in cluster.message("a")
        assert not cluster.is_cordoned("a")
        cluster.need("b", "Drain_Required")
        cluster.wait_current("b", "DrainComplete")
    finally:
        cluster.kube.delete(hooks, name=cluster.namespace)


def test_a_namespace_that_is_being_deleted_takes_its_pods_along(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    other = f"{cluster.namespace}-other"
    cluster.kube.create(NAMESPACES, body={"metadata": {"name": other}})
    cluster.add_node("a")
    cluster.add_pod("app", "a", vfs=vfs[:1], namespace=other)
    cluster.kube.delete(NAMESPACES, name=other)
    start()
    cluster.need("a", "Drain_Required")
    cluster.wait(lambda: "its namespace is being deleted" in cluster.message("a"), why="people are told")
    assert cluster.current("a") == "Draining"
    cluster.end_pod("app", namespace=other)
    cluster.wait_current("a", "DrainComplete")


def test_a_lesser_plan_after_a_reboot_keeps_the_node_drained(
    cluster: Any, start: Callable[..., Any], vfs: tuple[str, ...]
) -> None:
    """What is left to do after a reboot is another plan; the node must not be let go, or begun anew, for it."""
    cluster.add_node("a")
    cluster.add_node("b")
    running = start()
    cluster.need("a", "Reboot_Required", affects=vfs)
    cluster.wait_current("a", "DrainComplete")
    cluster.need("a", "Reboot_Required", affects=(), digest="d2")
    cluster.wait(lambda: cluster.annotation("a", "virtfn.io/drained-for") == "d2", why="drained for the new plan")
    assert cluster.current("a") == "DrainComplete"
    assert running.tally.counted("drains_begun") == 1
