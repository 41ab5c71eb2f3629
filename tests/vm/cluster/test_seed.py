"""kube-ovn's case, from `kubectl apply` to a representor in Open vSwitch: both ports of a card in switchdev mode.

The overlay for kube-ovn is deployed; Open vSwitch runs in the guest as kube-ovn's container has it. What kube-ovn does
with a representor is done here by hand. The tests go on from each other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed.sight import IGB, PhysicalFunction
from cluster.conftest import started
from cluster.ground import NODE, Cluster, Site

GENERIC_ALONE = Path(__file__).resolve().parents[1] / "generic_alone.py"
LABEL = "feature.node.kubernetes.io/network-sriov.capable"
SITE = Site(
    overlay="kube-ovn",
    namespace="kube-system",
    prefix="mellanox.com",
    modules=("eswshim", "igb", "igbvf", "virtio_net", "openvswitch"),
    labels={LABEL: "true"},
    daemon=(sys.executable, GENERIC_ALONE),
)
PORTS = IGB[2:4]
VFS = 3
STATE = f"sriovnetworknodestates/{NODE}"
POLICY = "sriovnetworknodepolicies/policy"
OVS_RUN = "/run/openvswitch"
OVS_GROUP = "/sys/fs/cgroup/kubepods/pod7e1c/ovs"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
REPRESENTOR = "0123456789ab_h"
QUIET = 4.0


@pytest.fixture(scope="module")
def empty_cluster() -> Iterator[Cluster]:
    yield from started(SITE)


def run(cluster: Cluster, *words: str) -> str:
    """A program in the guest, which has to end well; its output."""
    status, out, errors = cluster.guest.run(*words)
    assert status == 0, f"{words}: {errors}"
    return out.strip()


@pytest.fixture(scope="module")
def open_vswitch(empty_cluster: Cluster, untouched: dict[str, PhysicalFunction]) -> None:
    """kube-ovn's: with its bridge, in a control group of the kubelet's."""
    steps = (
        f"mkdir -p {OVS_RUN} {OVS_GROUP}",
        f"echo $$ > {OVS_GROUP}/cgroup.procs",
        f"ovsdb-tool create {OVS_RUN}/conf.db {SCHEMA}",
        f"ovsdb-server --pidfile --detach --no-chdir --remote=punix:{OVS_RUN}/db.sock {OVS_RUN}/conf.db",
        "ovs-vsctl --timeout=30 --no-wait init",
        f"ovs-vswitchd --pidfile --detach --no-chdir --log-file={OVS_RUN}/switch.log",
        "ovs-vsctl --timeout=30 add-br br-int -- set Open_vSwitch . other_config:hw-offload=true",
    )
    run(empty_cluster, "sh", "-c", " && ".join(steps))


def settings(cluster: Cluster) -> str:
    """All that Open vSwitch was told, without what it tells itself."""
    columns = "other_config,external_ids,bridges"
    return run(cluster, "ovs-vsctl", "--timeout=30", f"--columns={columns}", "list", "Open_vSwitch") + run(
        cluster, "ovs-vsctl", "--timeout=30", "list-ports", "br-int"
    )


def mode_of(cluster: Cluster, address: str) -> str:
    shown = json.loads(run(cluster, "devlink", "-j", "dev", "eswitch", "show", f"pci/{address}"))
    return str(shown["dev"][f"pci/{address}"]["mode"])


def ports(cluster: Cluster) -> list[PhysicalFunction]:
    return [cluster.guest.look(address) for address in PORTS]


def names(pfs: list[PhysicalFunction]) -> list[str]:
    return [pf.interface.name for pf in pfs if pf.interface is not None]


def seed(cluster: Cluster) -> str:
    """kube-ovn's example, with this card's names."""
    spec = {
        "nodeSelector": {LABEL: "true"},
        "eSwitchMode": "switchdev",
        "numVfs": VFS,
        "nicSelector": {"pfNames": names(ports(cluster))},
        "resourceName": "cx_sriov_switchdev",
    }
    return json.dumps(
        {
            "apiVersion": "sriovnetwork.openshift.io/v1",
            "kind": "SriovNetworkNodePolicy",
            "metadata": {"name": "policy", "namespace": "kube-system"},
            "spec": spec,
        }
    )


def test_the_policy_puts_both_ports_into_switchdev_mode(
    open_vswitch: None, cluster: Cluster, untouched: dict[str, PhysicalFunction]
) -> None:
    told = settings(cluster)
    cluster.kubectl("apply", "-f", "-", stdin=seed(cluster))
    cluster.kubectl("wait", "-n", "kube-system", POLICY, "--for=condition=Ready", "--timeout=90s", limit=100.0)
    state = cluster.until_in_sync()

    assert [mode_of(cluster, address) for address in PORTS] == ["switchdev"] * 2
    said = {each["pciAddress"]: each for each in state["status"]["interfaces"]}
    for pf in ports(cluster):
        was = untouched[pf.address].interface
        assert was is not None
        assert pf.interface is not None
        assert (pf.interface.name, pf.interface.mtu, pf.interface.up) == (was.name, was.mtu, True)
        assert pf.drivers() == ["igbvf"] * VFS
        assert list(pf.representors) == [(index, f"{was.name}_{index}") for index in range(VFS)]
        assert said[pf.address]["eSwitchMode"] == "switchdev"
        assert [(vf["vfID"], vf["representorName"]) for vf in said[pf.address]["Vfs"]] == list(pf.representors)
    assert [address for address, pf in cluster.guest.look_at_all().items() if pf != untouched[address]] == list(PORTS)
    assert settings(cluster) == told, "it is kube-ovn's"

    offered = json.loads(cluster.guest.read("/run/virtfn/device-plugin/config.json"))["resourceList"]
    assert [each["resourceName"] for each in offered] == ["cx_sriov_switchdev"]
    assert state["status"]["devicePlugin"]["resources"] == ["cx_sriov_switchdev"]


def test_kube_ovn_takes_a_representor_and_nobody_minds(open_vswitch: None, cluster: Cluster) -> None:
    pf = ports(cluster)[0]
    representor, vf = pf.representors[1][1], pf.vfs[1]
    assert vf.interface is not None
    cluster.create_pod("offloaded", vfs=[vf.address])
    run(cluster, "ip", "netns", "add", "pod")
    run(cluster, "ip", "link", "set", "dev", vf.interface.name, "netns", "pod")
    run(cluster, "ip", "link", "set", "dev", representor, "name", REPRESENTOR, "mtu", "1400", "up")
    run(cluster, "ovs-vsctl", "--timeout=30", "add-port", "br-int", REPRESENTOR)
    assert int(run(cluster, "ovs-vsctl", "--timeout=30", "get", "interface", REPRESENTOR, "ofport")) > 0
    told, seen = settings(cluster), ports(cluster)

    cluster.stop_daemon()
    cluster.start_daemon()
    cluster.until("the daemon is ready", lambda: cluster.daemon_page("/readyz"))
    said = cluster.until("the name is reported", lambda: REPRESENTOR in json.dumps(cluster.node_state()))
    assert said
    before = cluster.node_state()
    cluster.quiet(QUIET)
    assert cluster.node_state() == before
    state = cluster.until_in_sync()
    assert "plan" not in state["status"]
    assert (settings(cluster), ports(cluster)) == (told, seen)
    assert "offloaded" in cluster.pods()


def test_without_the_policy_the_card_is_as_it_was(
    open_vswitch: None, cluster: Cluster, untouched: dict[str, PhysicalFunction]
) -> None:
    cluster.create_pod("bystander")
    bridges = run(cluster, "ovs-vsctl", "--timeout=30", "list-br")
    cluster.kubectl("delete", "-n", "kube-system", POLICY)
    cluster.until("the pod is evicted", lambda: "offloaded" not in cluster.pods())
    cluster.until("the ports are back", lambda: [mode_of(cluster, each) for each in PORTS] == ["legacy"] * 2)
    state = cluster.until_in_sync()
    assert cluster.guest.look_at_all() == untouched
    assert {each["eSwitchMode"] for each in state["status"]["interfaces"] if each["pciAddress"] in PORTS} == {"legacy"}
    assert list(cluster.pods()) == ["bystander"]
    assert run(cluster, "ovs-vsctl", "--timeout=30", "list-br") == bridges
    cluster.until("the node takes pods", lambda: "unschedulable" not in cluster.node()["spec"])
    cluster.stop_daemon()
