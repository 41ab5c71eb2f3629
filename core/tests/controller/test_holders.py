"""Which pods hold affected VFs, by pods as Multus and the API server show them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.controller.holders import Affected, Owner, addresses_of, everybody, holders, is_finished, requests_of

PREFIX = "example.com"
VF0, VF1, VF2, OTHER = "0000:3b:02.0", "0000:3b:02.1", "0000:3b:02.2", "0000:5e:02.0"


def status_of(*infos: dict[str, Any] | None, word: str = "k8s.v1.cni.cncf.io/network-status") -> dict[str, str]:
    """Multus' annotation for the cluster's network and one more network for each device-info."""
    entries: list[dict[str, Any]] = [
        {"name": "cbr0", "interface": "eth0", "ips": ["10.0.0.2"], "default": True, "dns": {}}
    ]
    for number, info in enumerate(infos, start=1):
        entry: dict[str, Any] = {"name": f"apps/net{number}", "interface": f"net{number}", "dns": {}}
        entries.append(entry if info is None else entry | {"device-info": info})
    return {word: json.dumps(entries, indent=4)}


def pci(address: str) -> dict[str, Any]:
    return {"type": "pci", "version": "1.1.0", "pci": {"pci-address": address}}


def pod(
    name: str,
    *,
    annotations: dict[str, str] | None = None,
    requests: dict[str, str] | None = None,
    init: dict[str, str] | None = None,
    owner: tuple[str, str] | None = ("apps/v1", "ReplicaSet"),
    phase: str = "Running",
    **spec: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "apps",
        "uid": f"uid-{name}",
        "annotations": annotations or {},
    }
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": owner[0], "kind": owner[1], "name": "o", "controller": True}]
    containers = [{"name": "c", "image": "i", "resources": {"requests": requests or {}, "limits": requests or {}}}]
    made: dict[str, Any] = {"nodeName": "n", "containers": containers, **spec}
    if init:
        made["initContainers"] = [{"name": "i", "image": "i", "resources": {"requests": init}}]
    return {"metadata": metadata, "spec": made, "status": {"phase": phase}}


def only(*vfs: str, resources: Iterable[str] | None = ()) -> Affected:
    return Affected(PREFIX, frozenset(vfs), None if resources is None else frozenset(resources))


def names(found: Any) -> list[str]:
    return [each.name for each in found]


# --- what Multus says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "addresses"),
    [
        (pci(VF0), {VF0}),
        (pci(VF0.upper()), {VF0}),
        ({"type": "pci", "version": "1.1.0", "pci": {"pci-address": VF0, "pf-pci-address": "0000:3b:00.0"}}, {VF0}),
        ({"type": "pci", "pci": {"pci-address": "10000:01:00.1"}}, {"10000:01:00.1"}),
        (
            {
                "type": "vdpa",
                "version": "1.1.0",
                "vdpa": {"parent-device": "vdpa0", "driver": "vhost", "path": "/dev/vhost-vdpa-0", "pci-address": VF1},
            },
            {VF1},
        ),
        ({"type": "vdpa", "vdpa": {"parent-device": f"pci/{VF1}", "driver": "virtio", "path": ""}}, {VF1}),
        ({"type": "vdpa", "vdpa": {"parent-device": "vdpa7", "driver": "virtio", "path": ""}}, set()),
        ({"type": "memif", "version": "1.1.0", "memif": {"role": "server", "path": "/m", "mode": "ethernet"}}, set()),
        ({"type": "vhost-user", "vhost-user": {"mode": "client", "path": "/v"}}, set()),
        ({"type": "pci", "pci": {"pci-address": "mlx5_core.sf.4"}}, set()),
        ({"type": "pci", "pci": None}, set()),
        (None, set()),
    ],
)
def test_every_form_of_device_info(info: dict[str, Any] | None, addresses: set[str]) -> None:
    assert addresses_of(pod("p", annotations=status_of(info))) == addresses


def test_the_old_spelling_counts_too() -> None:
    annotations = status_of(pci(VF0), word="k8s.v1.cni.cncf.io/networks-status")
    assert addresses_of(pod("p", annotations=annotations)) == {VF0}
    assert addresses_of(pod("p", annotations=annotations | status_of(pci(VF1)))) == {VF0, VF1}


@pytest.mark.parametrize(
    "text", ["", "{", "null", "7", '"x"', "[null, 3, [], {}]", '[{"device-info": []}]', '{"device-info": {}}']
)
def test_a_malformed_annotation_says_nothing(text: str) -> None:
    assert addresses_of(pod("p", annotations={"k8s.v1.cni.cncf.io/network-status": text})) == frozenset()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["device-info", "pci", "vdpa", "pci-address", "type"]), inner, max_size=3)
    ),
    max_leaves=15,
)


@given(JSON)
def test_no_annotation_is_an_error(value: Any) -> None:
    annotations = {"k8s.v1.cni.cncf.io/network-status": json.dumps(value)}
    assert not holders([pod("p", annotations=annotations)], only(VF0))


# --- who holds --------------------------------------------------------------------------------------------------------


def test_only_pods_with_affected_vfs() -> None:
    pods = [
        pod("two", annotations=status_of(pci(VF1), pci(OTHER))),
        pod("one", annotations=status_of(pci(VF0))),
        pod("other", annotations=status_of(pci(OTHER))),
        pod("plain"),
    ]
    found = holders(pods, only(VF0, VF1))
    assert [(each.name, each.vfs) for each in found] == [("one", (VF0,)), ("two", (VF1,))]
    assert str(found[0]) == f"apps/one ({VF0})"
    assert found[0].uid == "uid-one"


def test_device_info_stands_over_requests() -> None:
    elsewhere = pod("p", annotations=status_of(pci(OTHER)), requests={f"{PREFIX}/a": "1"})
    assert not holders([elsewhere], only(VF0, resources={"a"}))


def test_requests_count_where_nothing_is_known_of_the_device() -> None:
    pods = [
        pod("yes", requests={f"{PREFIX}/a": "1"}),
        pod("info-is-missing", requests={f"{PREFIX}/a": "1"}, annotations=status_of(None)),
        pod("other-resource", requests={f"{PREFIX}/b": "1"}),
        pod("other-prefix", requests={"example.comet/a": "1", "vendor.example/a": "1"}),
        pod("none", requests={f"{PREFIX}/a": "0", "cpu": "500m"}),
    ]
    found = holders(pods, only(VF0, resources={"a"}))
    assert names(found) == ["info-is-missing", "yes"]
    assert str(found[1]) == "apps/yes (requests example.com/a)"


def test_a_pod_of_whose_devices_one_is_known() -> None:
    """It has requested two, and Multus was told of one: the other may be any of its resource."""
    half = pod("p", requests={f"{PREFIX}/a": "2"}, annotations=status_of(pci(OTHER)))
    assert names(holders([half], only(VF0, resources={"a"}))) == ["p"]
    whole = pod("p", requests={f"{PREFIX}/a": "2"}, annotations=status_of(pci(OTHER), pci("0000:5e:02.1")))
    assert not holders([whole], only(VF0, resources={"a"}))


def test_limits_alone_and_init_containers_are_requests() -> None:
    init = pod("init", init={f"{PREFIX}/a": "1"})
    limits = pod("limits")
    limits["spec"]["containers"][0]["resources"] = {"limits": {f"{PREFIX}/a": "1"}}
    sidecar = pod("sidecar", init={f"{PREFIX}/a": "1"})
    sidecar["spec"]["initContainers"][0]["restartPolicy"] = "Always"
    assert names(holders([init, limits, sidecar], only(VF0, resources={"a"}))) == ["init", "limits", "sidecar"]


def test_ephemeral_containers_cannot_hold_and_do_not_disturb() -> None:
    debugged = pod("p", ephemeralContainers=[{"name": "debug", "image": "i"}])
    assert not holders([debugged], only(VF0, resources={"a"}))


def test_init_containers_leave_their_devices_to_the_others() -> None:
    both = pod("p", requests={f"{PREFIX}/a": "2"}, init={f"{PREFIX}/a": "1", f"{PREFIX}/b": "3"})
    assert requests_of(both, prefix=PREFIX) == {f"{PREFIX}/a": 2, f"{PREFIX}/b": 3}


def test_a_pod_that_starts_counts_by_its_request() -> None:
    assert names(holders([pod("p", phase="Pending", requests={f"{PREFIX}/a": "1"})], only(VF0, resources={"a"}))) == [
        "p"
    ]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_finished_pods_hold_nothing(phase: str) -> None:
    ended = pod("p", annotations=status_of(pci(VF0)), phase=phase)
    assert is_finished(ended)
    assert not holders([ended], only(VF0))
    assert not everybody([ended])


def test_a_pod_that_is_leaving_holds_until_it_is_gone() -> None:
    leaving = pod("p", annotations=status_of(pci(VF0)))
    leaving["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    (found,) = holders([leaving], only(VF0))
    assert found.leaving == "2030-01-01T00:00:00Z"


def test_owners() -> None:
    info = status_of(pci(VF0))
    mirror = pod("mirror", annotations=info | {"kubernetes.io/config.mirror": "x"}, owner=("v1", "Node"))
    pods = [
        mirror,
        pod("daemon", annotations=info, owner=("apps/v1", "DaemonSet")),
        pod("bare", annotations=info, owner=None),
        pod("set", annotations=info, owner=("apps/v1", "StatefulSet")),
        pod("custom", annotations=info, owner=("example.org/v1", "DaemonSet")),
    ]
    found = {each.name: each.owner for each in holders(pods, only(VF0))}
    assert found == {
        "mirror": Owner.FILE,
        "daemon": Owner.DAEMON_SET,
        "bare": Owner.NOBODY,
        "set": Owner.CONTROLLER,
        "custom": Owner.CONTROLLER,
    }


def test_an_owner_that_is_no_controller_is_none() -> None:
    owned = pod("p", annotations=status_of(pci(VF0)))
    owned["metadata"]["ownerReferences"][0]["controller"] = False
    assert holders([owned], only(VF0))[0].owner is Owner.NOBODY


def test_local_data_and_tolerations_are_told() -> None:
    info = status_of(pci(VF0))
    (found,) = holders([pod("p", annotations=info, volumes=[{"name": "v", "emptyDir": {}}])], only(VF0))
    assert found.has_local_data
    assert not found.stays_through_taints
    every = [{"operator": "Exists"}]
    some = [{"operator": "Exists", "effect": "NoExecute"}, {"key": "a", "operator": "Exists"}]
    assert holders([pod("p", annotations=info, tolerations=every)], only(VF0))[0].stays_through_taints
    assert not holders([pod("p", annotations=info, tolerations=some)], only(VF0))[0].stays_through_taints


def test_a_reboot_sends_all_away_that_the_node_does_not_keep() -> None:
    mirror = pod("mirror", annotations={"kubernetes.io/config.mirror": "x"}, owner=("v1", "Node"))
    pods = [mirror, pod("daemon", owner=("apps/v1", "DaemonSet")), pod("bare", owner=None), pod("app")]
    assert names(everybody([*pods, pod("ended", phase="Succeeded")])) == ["app", "bare"]


# --- what is affected -------------------------------------------------------------------------------------------------


def state(
    affects: list[str] | None, *, groups: dict[str, list[tuple[str, str]]], offered: list[str] | None = None
) -> dict[str, Any]:
    """A node with two PFs of four VFs; `groups` are (resource, range) by PF."""
    ports = {"0000:3b:00.0": "0000:3b:02", "0000:5e:00.0": "0000:5e:02"}
    status: dict[str, Any] = {
        "interfaces": [
            {"pciAddress": port, "Vfs": [{"pciAddress": f"{vfs}.{n}", "vfID": n} for n in range(4)]}
            for port, vfs in ports.items()
        ]
    }
    if affects is not None:
        status["plan"] = {"digest": "d", "affects": affects}
    if offered is not None:
        status["devicePlugin"] = {"revision": "1", "resources": offered}
    interfaces = [
        {"pciAddress": port, "vfGroups": [{"resourceName": name, "vfRange": text} for name, text in entries]}
        for port, entries in groups.items()
    ]
    return {"spec": {"interfaces": interfaces}, "status": status}


TWO = {"0000:3b:00.0": [("a", "0-1"), ("b", "2-3")], "0000:5e:00.0": [("c", "0-3")]}


def counted(found: Affected, *resources: str) -> list[str]:
    return [name for name in resources if found.has_resource(f"{PREFIX}/{name}")]


def test_resources_whose_groups_have_affected_vfs() -> None:
    found = Affected.by(state([VF0], groups=TWO, offered=["a", "b", "c"]), prefix=PREFIX)
    assert found.has_vf(VF0)
    assert not found.has_vf(VF1)
    assert counted(found, "a", "b", "c", "gpu") == ["a"]
    assert not found.has_resource("example.org/a")


def test_a_resource_that_the_spec_no_longer_knows_may_be_any() -> None:
    found = Affected.by(state([VF0], groups={"0000:5e:00.0": [("c", "0-3")]}, offered=["old", "c"]), prefix=PREFIX)
    assert counted(found, "old", "c", "gpu") == ["old"]


def test_without_the_device_plugins_report_unknown_names_count() -> None:
    found = Affected.by(state([VF0], groups=TWO), prefix=PREFIX)
    assert counted(found, "a", "b", "c", "old") == ["a", "old"]


def test_a_resource_on_both_pfs_counts_if_one_is_hit() -> None:
    groups = {"0000:3b:00.0": [("a", "0-3")], "0000:5e:00.0": [("a", "0-3")]}
    assert counted(Affected.by(state([OTHER], groups=groups, offered=["a"]), prefix=PREFIX), "a") == ["a"]


def test_a_vf_of_a_pf_that_is_not_reported_may_be_of_any_resource() -> None:
    found = Affected.by(state(["0000:99:00.1"], groups=TWO, offered=["a", "b", "c"]), prefix=PREFIX)
    assert counted(found, "a", "b", "c") == ["a", "b", "c"]


def test_a_range_that_cannot_be_read_counts_with_its_pf() -> None:
    groups = {"0000:3b:00.0": [("a", "some")], "0000:5e:00.0": [("b", "some")]}
    assert counted(Affected.by(state([VF0], groups=groups, offered=["a", "b"]), prefix=PREFIX), "a", "b") == ["a"]


def test_a_plan_that_takes_nothing_away_has_no_holders() -> None:
    found = Affected.by(state([], groups=TWO), prefix=PREFIX)
    assert not holders([pod("p", annotations=status_of(pci(VF0)), requests={f"{PREFIX}/a": "2"})], found)


def test_without_a_plan_every_vf_counts() -> None:
    found = Affected.by(state(None, groups=TWO), prefix=PREFIX)
    pods = [pod("a", annotations=status_of(pci(OTHER))), pod("b", requests={f"{PREFIX}/x": "1"}), pod("c")]
    assert names(holders(pods, found)) == ["a", "b"]


def test_a_state_without_status_has_no_plan() -> None:
    assert Affected.by({"metadata": {"name": "n"}}, prefix=PREFIX) == Affected(PREFIX)
