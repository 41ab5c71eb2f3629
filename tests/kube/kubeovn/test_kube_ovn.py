"""The manifests of docs/kube-ovn.md, from `kubectl apply` to representors, with kube-ovn's part played by the test."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube.bed.deploying import DEPLOY, render
from kube.bed.reconciling import eventually
from kube.bed.server import ApiServer
from kube.kubeovn.conftest import NAMESPACE, PAGE, PFS, PORTS, Site, as_kube_ovn, manifests, representors

from virtfn.cluster.kinds import ATTACHMENT_DEFINITIONS, DAEMON_SETS, NODE_STATES, OPERATOR_CONFIGS, POLICIES
from virtfn.host.api import CommandResult
from virtfn.host.machine import Machine
from virtfn.kube.conditions import holds
from virtfn.kube.resource import NODES, PODS, Json
from virtfn.model import EswitchMode, PciAddress
from virtfn.testing import FakeHost
from virtfn.testing.ground.card import Quirks

LABEL = "feature.node.kubernetes.io/network-sriov.capable"
GROUP = {"resourceName": "cx_sriov_switchdev", "deviceType": "netdevice", "vfRange": "0-2", "policyName": "policy"}
WORKER = "node-role.kubernetes.io/worker"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
DISRUPTIVE = ("sriov_numvfs", "/bind", "/unbind", "drivers_probe", "eswitch")
POD = "Pod/offloaded"


def vfs_of(host: FakeHost, pf: str) -> list[str]:
    return [vf.name for vf in host.function(pf).vfs]


def told_representors(state: Json) -> dict[str, list[str]]:
    return {
        pf["pciAddress"]: [vf.get("representorName", "") for vf in pf.get("Vfs", ())]
        for pf in state["status"]["interfaces"]
    }


def label_of(site: Site, node: str) -> str:
    labels: dict[str, str] = site.kube.get(NODES, name=node)["metadata"]["labels"]
    return labels.get("sriovnetwork.openshift.io/device-plugin", "")


def assert_offloadable(host: FakeHost, state: Json, *, vfs: int, taken: str = "") -> None:
    """What kube-ovn needs, by the simulated kernel's own word, and that the node state says the same.

    :param taken: the name that kube-ovn gave the representor of VF 0 of the first port.
    """
    names = representors(host)
    for pf, port in zip(PFS, PORTS, strict=True):
        function = host.function(pf)
        assert function.netdev is not None
        assert function.netdev.tc_offload is True
        usual = [f"{port}_{index}" for index in range(vfs)]
        assert names[pf] == ([taken, *usual[1:]] if taken and pf == PFS[0] else usual)
        assert function.eswitch_mode is EswitchMode.SWITCHDEV
        assert len(function.vfs) == vfs
        for vf in function.vfs:
            assert vf.driver is not None
            assert vf.driver.name == "mlx5_core"
            assert len(vf.netdevs) == 1
    assert told_representors(state) == names
    assert [pf["eSwitchMode"] for pf in state["status"]["interfaces"]] == ["switchdev"] * 2


def assert_offered(site: Site, host: FakeHost, pick: Any, function: Any) -> None:
    """Every VF, and nothing else, is found by the device plugin as it is released."""
    vfs = {
        vf.name: function(
            address=vf.name, vendor="15b3", driver="mlx5_core", root=pf, pf_name=name, index=index,
            encapsulation="ether",
        )
        for pf, name in zip(PFS, PORTS, strict=True)
        for index, vf in enumerate(host.function(pf).vfs)
    }  # fmt: skip
    ports = [function(address=pf, vendor="15b3", driver="mlx5_core", encapsulation="ether") for pf in PFS]
    others = [function(address="0000:01:00.0", vendor="15b3", driver="mlx5_core", encapsulation="ether")]
    found = pick(site.offer("worker-1"), [*vfs.values(), *ports, *others])
    assert {address for address, resource in found.items() if resource == "cx_sriov_switchdev"} == set(vfs)
    assert {found[address] for address in found if address not in vfs} == {None}
    eventually(lambda: label_of(site, "worker-1") == "Enabled")
    labels = site.kube.get(NODES, name="worker-1")["metadata"]["labels"]
    plugin = site.kube.get(DAEMON_SETS, name="sriov-device-plugin", namespace=NAMESPACE)["spec"]["template"]["spec"]
    assert plugin["nodeSelector"].items() <= labels.items()
    assert "--resource-prefix=mellanox.com" in plugin["containers"][0]["args"]


def test_from_the_pages_policy_to_representors_and_back(
    site: Site, stock_plugin: Any, virtfn: Callable[..., str]
) -> None:
    host = site.host(udev=True)
    (host.root / "run" / "systemd" / "system").mkdir(parents=True)
    host.ovs.start(service=False)
    host.ovs.add_bridge("br-int")
    site.kube.create(
        NODES, body={"metadata": {"name": "worker-2", "labels": {WORKER: "", "kubernetes.io/os": "linux"}}}
    )
    site.controller()
    site.start(site.node("worker-1", host))
    eventually(lambda: len(site.state("worker-1").get("status", {}).get("interfaces", ())) == 2)
    eventually(lambda: label_of(site, "worker-1") == "Disabled")
    written = versions_of_daemon_sets(site)

    site.apply(manifests()["SriovNetworkNodePolicy/policy"])
    state = site.until_synced("worker-1", vfs=3)
    assert state["spec"] == {
        "interfaces": [
            {"pciAddress": pf, "name": name, "numVfs": 3, "eSwitchMode": "switchdev", "vfGroups": [GROUP]}
            for pf, name in zip(PFS, PORTS, strict=True)
        ]
    }
    assert_offloadable(host, state, vfs=3)
    assert_offered(site, host, stock_plugin._pick, stock_plugin.Function)
    assert state["status"]["devicePlugin"]["resources"] == ["cx_sriov_switchdev"]
    run_the_pages_commands(site, virtfn)
    for pf, port in zip(PFS, PORTS, strict=True):
        rules = host.root / "etc" / "udev" / "rules.d" / f"10-virtfn-{pf}.rules"
        assert [word for word in (f'NAME="{port}_2"', "NM_UNMANAGED", "_h") if word not in rules.read_text()] == []
    eventually(lambda: all(pf in boot_script(host) for pf in PFS))
    assert site.state("worker-2") == {}, "no daemon runs there"
    assert list(site.kube.list(OPERATOR_CONFIGS)) == []

    # kube-ovn gives a pod a VF, under a name of its own.
    vf = vfs_of(host, PFS[0])[0]
    site.pod(manifests()[POD], "worker-1", vf=vf, host=host)
    name = as_kube_ovn(host, PFS[0], index=0, container="0123456789abcdef")
    eventually(lambda: told_representors(site.state("worker-1"))[PFS[0]][0] == name)
    writes = len(host.writes)
    bridges = host.ovs.snapshot()
    looks = len(host.calls)
    eventually(lambda: len(host.calls) > looks + 50)
    assert host.writes[writes:] == [], "what kube-ovn did is no drift"
    assert site.until_synced("worker-1", vfs=3)

    # Fewer VFs: the pod has to go, as it asks for the resource; nothing else tells that it has one of them.
    site.kube.patch(POLICIES, name="policy", namespace=NAMESPACE, body={"spec": {"numVfs": 2}})
    state = site.until_synced("worker-1", vfs=2)
    assert site.kube.find(PODS, name="offloaded", namespace="default") is None
    assert "unschedulable" not in site.kube.get(NODES, name="worker-1")["spec"]
    assert_offloadable(host, state, vfs=2)
    assert_offered(site, host, stock_plugin._pick, stock_plugin.Function)
    assert host.ovs.snapshot() == bridges, "Open vSwitch is kube-ovn's"

    site.kube.delete(POLICIES, name="policy", namespace=NAMESPACE)
    state = site.until_synced("worker-1", vfs=0)
    assert [host.function(pf).eswitch_mode for pf in PFS] == [EswitchMode.LEGACY] * 2
    assert representors(host) == {pf: [] for pf in PFS}
    assert [pf["eSwitchMode"] for pf in state["status"]["interfaces"]] == ["legacy"] * 2
    assert site.offer("worker-1") == ""
    eventually(lambda: label_of(site, "worker-1") == "Disabled")
    assert list((host.root / "etc" / "udev" / "rules.d").iterdir()) == []
    eventually(lambda: not boot_script(host))
    assert versions_of_daemon_sets(site) == written, "they come with the manifests"


def test_after_a_boot_all_is_there_again_under_the_same_names(site: Site, stock_plugin: Any) -> None:
    host = site.host()
    site.controller()
    site.apply(manifests()["SriovNetworkNodePolicy/policy"])
    with site.node("worker-1", host):
        before = site.until_synced("worker-1", vfs=3)
        offer = site.offer("worker-1")
    host.reboot()
    shutil.rmtree(site.folder / "worker-1" / "run")
    assert representors(host) == {pf: [] for pf in PFS}
    calls = len(host.calls)
    with site.node("worker-1", host):
        eventually(lambda: site.offer("worker-1") == offer)
        eventually(lambda: len(host.calls) > calls and told_representors(site.state("worker-1")) == representors(host))
        after = site.until_synced("worker-1", vfs=3)
        assert_offloadable(host, after, vfs=3)
        assert_offered(site, host, stock_plugin._pick, stock_plugin.Function)
    assert told_representors(after) == told_representors(before)
    assert "unschedulable" not in site.kube.get(NODES, name="worker-1")["spec"]


@pytest.mark.parametrize("hotplug", [True, False])
def test_firmware_that_allows_no_vfs_is_set_by_a_reset_or_by_one_reboot(site: Site, hotplug: bool) -> None:
    """The controller drains for the settings, and again if the kernel has to read the card at a boot."""
    host = site.host(card={"firmware": {"NUM_OF_VFS": 1}, "quirks": Quirks(hotplug=hotplug)})
    asked = threading.Event()
    site.kube.create(NODES, body={"metadata": {"name": "another"}})
    host.install("systemd-run", lambda argv: CommandResult(argv, int(asked.set() or 0), "", ""))
    site.controller()
    site.apply(manifests()["SriovNetworkNodePolicy/policy"])
    with site.node("worker-1", host, firmware_reset=True):
        if hotplug:
            site.until_synced("worker-1", vfs=3)
        else:
            assert asked.wait(60)
            assert site.kube.get(NODES, name="worker-1")["spec"]["unschedulable"] is True
    if not hotplug:
        host.reboot()
        with site.node("worker-1", host, firmware_reset=True):
            site.until_synced("worker-1", vfs=3)
    runs = [call.value for call in host.calls if call.kind == "run"]
    assert sum(argv[0] == "mstfwreset" and argv[-1] == "reset" for argv in runs) == 1
    assert sum(argv[0] == "systemd-run" for argv in runs) == (not hotplug)
    eventually(lambda: "unschedulable" not in site.kube.get(NODES, name="worker-1")["spec"])


def boot_script(host: FakeHost) -> str:
    """What makes VFs again before the network starts; empty: there is none."""
    file = host.root / "var" / "lib" / "virtfn" / "boot" / "restore.sh"
    return file.read_text(encoding="utf-8") if file.exists() else ""


def versions_of_daemon_sets(site: Site) -> dict[str, str]:
    found = site.kube.list(DAEMON_SETS, namespace=NAMESPACE)
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in found}


def run_the_pages_commands(site: Site, virtfn: Callable[..., str]) -> None:
    """Those that ask for what is here: kube-ovn's own objects and the kubelet's numbers are not."""
    ours = ("sriovnetwork", "sriov-", "nodes", "device-plugin")
    lines = [line for line in commands() if line.startswith(("kubectl", "virtfn get"))]
    asking = [line for line in lines if " get " in line or " wait " in line]
    ran = 0
    for line in asking:
        words = shlex.split(line.partition(">")[0].replace("NODE", "worker-1"))
        if words[0] == "virtfn":
            said = virtfn(*words[1:])
            assert "worker-1" in said
            assert "in sync" in said
            ran += 1
        elif any(word in line for word in ours) and "logs" not in words:
            said = site.kubectl(*words[1:])
            assert said.strip() or "pods" in words, line
            if "device-plugin}" in line:
                assert said == "Enabled"
            ran += 1
    assert ran >= 8


def commands() -> list[str]:
    return [line for language, block in BLOCKS if not language for line in block.splitlines()]


def test_what_kube_ovns_fork_has_left_is_taken_as_it_is(site: Site) -> None:
    host = site.host()
    host.ovs.start(service=False)
    host.ovs.add_bridge("br-int")
    as_the_fork_does(host)
    assert disruptive(host, since=0), "it can be seen"
    host.move_to_namespace(vfs_of(host, PFS[0])[0])
    name = as_kube_ovn(host, PFS[0], index=0, container="fedcba9876543210")
    uid, found = put_forks_objects(site), representors(host)
    site.apply(manifests()["SriovNetworkNodePolicy/policy"])
    begun = len(host.writes)
    site.controller()
    site.start(site.node("worker-1", host))
    eventually(lambda: set(site.state("worker-1")["spec"]) == {"interfaces"})  # dpConfigVersion is gone
    state = site.until_synced("worker-1", vfs=3)
    assert_offloadable(host, state, vfs=3, taken=name)
    assert disruptive(host, since=begun) == []
    eventually(lambda: ready(site, POLICIES, "policy"))
    config = eventually(lambda: ready(site, OPERATOR_CONFIGS, "default"))
    assert config["spec"]["podEvictionPolicy"] == "delete", "as the fork had it"
    default = site.kube.get(POLICIES, name="default", namespace=NAMESPACE)
    assert default["metadata"]["uid"] == uid
    assert default["metadata"]["generation"] == 1
    assert not [each for each in default.get("status", {}).get("conditions", ()) if each["status"] == "False"]

    # The fork's policy goes, and the node states that it owned with it: the garbage collector's part.
    site.kube.delete(POLICIES, name="default", namespace=NAMESPACE)
    site.kube.delete(OPERATOR_CONFIGS, name="default", namespace=NAMESPACE)
    site.kube.delete(NODE_STATES, name="worker-1", namespace=NAMESPACE)
    eventually(lambda: site.state("worker-1").get("metadata", {}).get("uid", uid) != state["metadata"]["uid"])
    again = site.until_synced("worker-1", vfs=3)
    assert again["spec"] == state["spec"]
    assert "unschedulable" not in site.kube.get(NODES, name="worker-1")["spec"]

    # And with the policy, the ports are left as they were found.
    site.kube.delete(POLICIES, name="policy", namespace=NAMESPACE)
    eventually(lambda: site.offer("worker-1") == "" and is_done(site.state("worker-1")))
    assert site.state("worker-1")["spec"] == {}
    assert representors(host) == found
    assert [host.function(pf).eswitch_mode for pf in PFS] == [EswitchMode.SWITCHDEV] * 2
    assert disruptive(host, since=begun) == []


def is_done(state: Json) -> bool:
    status = state["status"]
    done: bool = status["syncStatus"] == "Succeeded" and status["observedGeneration"] == state["metadata"]["generation"]
    return done


def test_the_pages_network_and_pods_fit_the_policy_and_each_other(site: Site) -> None:
    page = manifests()
    resource = "mellanox.com/" + yaml.safe_load(page["SriovNetworkNodePolicy/policy"])["spec"]["resourceName"]
    for name in ("NetworkAttachmentDefinition/sriov", POD, "Pod/second-nic"):
        site.apply(page[name])
    network = site.kube.get(ATTACHMENT_DEFINITIONS, name="sriov", namespace="default")
    assert network["metadata"]["annotations"] == {"k8s.v1.cni.cncf.io/resourceName": resource} | {
        key: text for key, text in network["metadata"]["annotations"].items() if key.startswith("kubectl.")
    }
    provider = "sriov.default.ovn"
    assert json.loads(network["spec"]["config"])["plugins"][0]["provider"] == provider
    asked = {}
    for name in ("offloaded", "second-nic"):
        pod = site.kube.get(PODS, name=name, namespace="default")
        (container,) = pod["spec"]["containers"]
        assert container["resources"] == {"requests": {resource: "1"}, "limits": {resource: "1"}}
        asked[name] = pod["metadata"]["annotations"]
        assert asked[name][f"{provider}.kubernetes.io/logical_switch"] == "ovn-default"
    assert asked["offloaded"]["v1.multus-cni.io/default-network"] == "default/sriov"
    (second,) = json.loads(asked["second-nic"]["k8s.v1.cni.cncf.io/networks"])
    assert (second["name"], second["namespace"]) == ("sriov", "default")
    site.kube.delete(ATTACHMENT_DEFINITIONS, name="sriov", namespace="default")


def test_the_pages_kustomization_has_its_images(server: ApiServer, tmp_path: Path) -> None:
    assert server.assets.kubectl is not None
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (text,) = (block for language, block in BLOCKS if language == "yaml" and "bases:" in block)
    mine = tmp_path / "deploy" / "overlays" / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(text, encoding="utf-8")
    things = render(server.assets.kubectl, mine)
    assert Counter(thing["kind"] for thing in things) == {
        "ServiceAccount": 3, "ClusterRole": 1, "ClusterRoleBinding": 1, "Role": 3, "RoleBinding": 3,
        "NetworkPolicy": 2, "Deployment": 1, "DaemonSet": 2,
    }, "no webhook, no SriovOperatorConfig"  # fmt: skip
    assert not [thing for thing in things if "cni" in thing["metadata"]["name"]]
    assert {thing["metadata"].get("namespace", NAMESPACE) for thing in things} == {NAMESPACE}
    images = {
        container["image"]
        for thing in things
        if thing["kind"] in ("Deployment", "DaemonSet")
        for container in thing["spec"]["template"]["spec"]["containers"]
    }
    assert {image for image in images if "virtfn" in image} == {
        "registry.example.com/virtfn-controller:0.1.0",
        "registry.example.com/virtfn-daemon:0.1.0",
    }
    assert len(images) == 3


def ready(site: Site, resource: Any, name: str) -> Json:
    found = site.kube.get(resource, name=name, namespace=NAMESPACE)
    assert holds(found, name="Ready", generation=found["metadata"]["generation"]), found
    return found


def disruptive(host: FakeHost, *, since: int) -> list[str]:
    """What was written on the machine that takes a VF away, or a mode."""
    return [str(call) for call in host.writes[since:] if any(word in str(call) for word in DISRUPTIVE)]


def as_the_fork_does(host: FakeHost) -> None:
    """Its two scripts: VFs, off their driver, the mode, and back."""
    machine = Machine(host.kernel)
    for pf in map(PciAddress.parse, PFS):
        machine.set_num_vfs(pf, 3)
        vfs = [machine.vf_address(pf, index) for index in range(3)]
        for vf in vfs:
            machine.unbind_driver(vf)
        machine.set_eswitch_mode(pf, EswitchMode.SWITCHDEV)
        for vf in vfs:
            machine.bind_driver(vf, None)
        machine.set_link(pf, up=True)


def put_forks_objects(site: Site) -> str:
    """What the fork's operator makes by itself, and a node state of its; the UID of its policy."""
    api = {"apiVersion": POLICIES.api_version}
    spec = {"numVfs": 0, "nodeSelector": {}, "nicSelector": {}}
    metadata = {"name": "default", "namespace": NAMESPACE}
    policy = site.kube.create(POLICIES, body={**api, "kind": POLICIES.kind, "metadata": metadata, "spec": spec})
    config = {
        "enableInjector": False, "enableOperatorWebhook": False, "configDaemonNodeSelector": {}, "logLevel": 2,
        "disableDrain": False, "podEvictionPolicy": "delete", "podEvictionForce": True,
    }  # fmt: skip
    site.kube.create(
        OPERATOR_CONFIGS, body={**api, "kind": OPERATOR_CONFIGS.kind, "metadata": metadata, "spec": config}
    )
    uid: str = policy["metadata"]["uid"]
    owner = {
        **api,
        "kind": POLICIES.kind,
        "name": "default",
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    entries = [
        {"pciAddress": pf, "name": name, "numVfs": 3, "eSwitchMode": "switchdev", "vfGroups": [GROUP]}
        for pf, name in zip(PFS, PORTS, strict=True)
    ]
    site.kube.create(
        NODE_STATES,
        body={
            **api,
            "kind": NODE_STATES.kind,
            "metadata": {"name": "worker-1", "namespace": NAMESPACE, "ownerReferences": [owner]},
            "spec": {"interfaces": entries, "dpConfigVersion": "1234"},
        },
    )
    found = [
        {"pciAddress": pf, "name": name, "numVfs": 3, "totalvfs": 3, "vendor": "15b3", "deviceID": "1017"}
        for pf, name in zip(PFS, PORTS, strict=True)
    ]
    site.kube.patch(
        NODE_STATES, name="worker-1", namespace=NAMESPACE, subresource="status",
        body={"status": {"interfaces": found, "syncStatus": "Succeeded"}},
    )  # fmt: skip
    return uid
