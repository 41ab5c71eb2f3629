"""What the installed plugins say of node states: through the registry, without a machine."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from virtfn import Plugin, hookimpl
from virtfn.errors import DeviceFault
from virtfn.host.machine import Machine
from virtfn.model import Capability, DeviceModel, PciId, Severity
from virtfn.model.crd import InterfaceStatus
from virtfn.observing import observe
from virtfn.policy import status_interfaces
from virtfn.policy.validation import Cluster, validate
from virtfn.registry import Registry, load_registry
from virtfn.testing import FakeHost
from virtfn.vendor_rules import PluginRules, inventory_of


@pytest.fixture(scope="module")
def rules() -> PluginRules:
    """All plugins that are installed."""
    return PluginRules(load_registry((), load_all=True))


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.add_card("connectx-6dx", address="0000:3b:00", names=("ens1f0np0", "ens1f1np1"))
        host.add_card("82576", address="0000:01:00", names=("eth0",), ports=1)
        yield host


def policy(**spec: Any) -> dict[str, Any]:
    whole = {"resourceName": "r", "nodeSelector": {}, "nicSelector": {"pfNames": ["eth0"]}, "numVfs": 2, **spec}
    return {"kind": "SriovNetworkNodePolicy", "metadata": {"name": "p"}, "spec": whole}


def state(*nics: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "n1"}, "status": {"interfaces": list(nics)}}


def nic(vendor: str, device: str, **fields: Any) -> dict[str, Any]:
    return {"pciAddress": "0000:01:00.0", "name": "eth0", "vendor": vendor, "deviceID": device, **fields}


def told(rules: PluginRules, wanted: dict[str, Any], *nics: dict[str, Any], cloud: str = "") -> list[tuple[str, str]]:
    node = {"metadata": {"name": "n1"}, "spec": {"providerID": cloud}}
    verdict = validate(wanted, cluster=Cluster(nodes=[node], states=[state(*nics)], vendor=rules))
    return [(problem.reason, problem.field) for problem in verdict.errors]


def test_a_status_tells_what_the_machine_has(host: FakeHost, rules: PluginRules) -> None:
    seen = observe(Machine(host.kernel), load_registry((), load_all=True))
    again = inventory_of(status_interfaces(seen))
    assert [(adapter.address, [pf.label for pf in adapter.pfs]) for adapter in again.adapters] == [
        (adapter.address, [pf.label for pf in adapter.pfs]) for adapter in seen.adapters
    ]
    for pf, found in zip(seen.pfs(), again.pfs(), strict=True):
        assert (found.id, found.driver, found.total_vfs) == (pf.id, pf.driver, pf.total_vfs)
        assert found.netdev is not None
        assert pf.netdev is not None
        assert (found.netdev.mtu, found.netdev.up, found.netdev.link_type) == (
            pf.netdev.mtu,
            pf.netdev.up,
            pf.netdev.link_type,
        )


@pytest.mark.parametrize("broken", [{"pciAddress": "x"}, {"vendor": ""}, {"deviceID": "zz"}])
def test_a_nic_that_is_told_badly_is_left_out(broken: dict[str, Any]) -> None:
    assert inventory_of([InterfaceStatus.model_validate({**nic("8086", "158b"), **broken})]).adapters == ()


def test_switchdev_is_refused_by_the_plugin_whose_card_has_none(rules: PluginRules) -> None:
    wanted = policy(eSwitchMode="switchdev")
    card = nic("8086", "10c9", driver="igb", totalvfs=7)
    assert told(rules, wanted, card) == [("DeviceRefuses", "spec.eSwitchMode")]
    assert told(rules, policy(), card) == []


def test_vdpa_and_a_link_type_that_the_port_has_not_are_refused(rules: PluginRules) -> None:
    card = nic("8086", "158b", driver="i40e", totalvfs=64, linkType="ETH")
    assert told(rules, policy(linkType="ib"), card) == [("DeviceRefuses", "spec.linkType")]
    wanted = policy(vdpaType="virtio", eSwitchMode="switchdev")
    assert ("DeviceRefuses", "spec.vdpaType") in told(rules, wanted, card)


def test_vfio_is_refused_for_a_bifurcated_driver_in_a_vm_only(rules: PluginRules) -> None:
    wanted = policy(deviceType="vfio-pci", numVfs=1)
    vf = nic("15b3", "101e", driver="mlx5_core", totalvfs=1, numVfs=1, Vfs=[nic("15b3", "101e", vfID=0)])
    assert told(rules, wanted, vf, cloud="openstack:///1") == [("DeviceRefuses", "spec.deviceType")]
    assert told(rules, wanted, {**vf, "netFilter": "openstack/NetworkID:1"}) == [("DeviceRefuses", "spec.deviceType")]
    other = nic("8086", "154c", driver="iavf", totalvfs=1, numVfs=1, Vfs=[nic("8086", "154c", vfID=0)])
    assert told(rules, wanted, other, cloud="aws:///1") == []
    pf = nic("15b3", "101d", driver="mlx5_core", totalvfs=8)
    assert told(rules, wanted, pf) == []


def test_a_card_that_nobody_lists_is_no_problem(rules: PluginRules) -> None:
    assert told(rules, policy(), nic("abcd", "0001", driver="new", totalvfs=8)) == []
    assert told(rules, policy(), nic("abcd", "0001")) == [("NumVfsBeyondTotal", "spec.numVfs")]


ROW = DeviceModel(
    name="Card", pf=PciId("abcd", "0001"), vf=PciId("abcd", "0002"), driver="card", max_vfs=16,
    capabilities=frozenset({Capability.SRIOV}),
)  # fmt: skip


class Plain(Plugin):
    """Knows how many VFs there can be."""

    name = "plain"
    api_version = 1

    @hookimpl
    def device_table(self):
        return (ROW,)


class Firm(Plugin):
    """Sets that in firmware, and breaks down when asked."""

    name = "firm"
    api_version = 1

    @hookimpl
    def device_table(self):
        return (replace(ROW, vfs_in_firmware=True),)

    @hookimpl
    def validate(self, adapter, desired):
        raise DeviceFault("no luck")


@pytest.mark.parametrize(("plugin", "errors"), [(Firm, []), (Plain, [("NumVfsBeyondTotal", "spec.numVfs")])])
def test_what_firmware_can_be_set_to_is_the_limit_where_a_plugin_sets_it(
    plugin: type[Plugin], errors: list[tuple[str, str]]
) -> None:
    found = PluginRules(Registry.for_testing({"abcd": plugin}))
    assert told(found, policy(numVfs=16), nic("abcd", "0001", totalvfs=8)) == errors
    assert told(found, policy(numVfs=17), nic("abcd", "0001", totalvfs=8)) == [("NumVfsBeyondTotal", "spec.numVfs")]


def test_a_plugin_that_fails_is_a_warning() -> None:
    cluster = Cluster(
        states=[state(nic("abcd", "0001", totalvfs=8))], vendor=PluginRules(Registry.for_testing({"abcd": Firm}))
    )
    (problem,) = validate(policy(), cluster=cluster).problems
    assert (problem.reason, problem.severity) == ("DeviceRefuses", Severity.WARNING)
    assert "no luck" in problem.message
