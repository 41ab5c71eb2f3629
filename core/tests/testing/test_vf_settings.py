"""VF settings by rtnetlink, driver by driver: what is taken, what is refused and how, what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtfn.model import VfSettings
from virtfn.testing import FakeHost

MAC = "02:11:22:33:44:55"
ZERO = "00:00:00:00:00:00"
GUID = "00:11:22:33:44:55:66:77"

IGB = [
    ({"mac": MAC}, None),
    ({"mac": ZERO}, None),
    ({"mac": "01:00:5e:00:00:01"}, "EINVAL"),
    ({"mac": "nonsense"}, "EINVAL"),
    ({"vlan": 0}, None),
    ({"vlan": 4095}, None),
    ({"vlan": 4096}, "EINVAL"),
    ({"vlan": 100, "qos": 7}, None),
    ({"vlan": 100, "qos": 8}, "EINVAL"),
    ({"vlan": 100, "vlan_proto": "802.1ad"}, "EPROTONOSUPPORT"),
    ({"trust": True}, None),
    ({"spoof_check": False}, None),
    ({"link_state": "auto"}, "EOPNOTSUPP"),
    ({"link_state": "disable"}, "EOPNOTSUPP"),
    ({"max_tx_rate": 1000}, None),
    ({"max_tx_rate": 1001}, "EINVAL"),
    ({"min_tx_rate": 1, "max_tx_rate": 100}, "EINVAL"),
    ({"node_guid": GUID}, "EOPNOTSUPP"),
    ({"port_guid": GUID}, "EOPNOTSUPP"),
    ({"mac": None}, None),
    ({}, None),
]
IXGBE = [
    ({"link_state": "enable"}, None),
    ({"max_tx_rate": 10}, "EINVAL"),
    ({"max_tx_rate": 11}, None),
    ({"max_tx_rate": 10001}, "EINVAL"),
    ({"min_tx_rate": 11}, "EINVAL"),
    ({"vlan": 5, "vlan_proto": "802.1ad"}, "EPROTONOSUPPORT"),
    ({"trust": True, "spoof_check": False}, None),
]
I40E = [
    ({"link_state": "disable"}, None),
    ({"link_state": "sideways"}, "EINVAL"),
    ({"max_tx_rate": 10000}, None),
    ({"max_tx_rate": 10001}, "EINVAL"),
    ({"min_tx_rate": 1}, "EINVAL"),
    ({"vlan": 5, "vlan_proto": "802.1ad"}, "EPROTONOSUPPORT"),
    ({"trust": True}, None),
]
ICE = [
    ({"min_tx_rate": 100, "max_tx_rate": 200}, None),
    ({"trust": True}, None),
    ({"link_state": "enable"}, None),
]
MLX5 = [
    ({"mac": MAC}, None),
    ({"mac": "01:00:5e:00:00:01"}, "EINVAL"),
    ({"vlan": 100, "qos": 3}, None),
    ({"vlan": 100, "vlan_proto": "802.1ad"}, "EPROTONOSUPPORT"),
    ({"min_tx_rate": 10, "max_tx_rate": 20}, None),
    ({"trust": True}, None),
    ({"spoof_check": True}, None),
    ({"link_state": "disable"}, None),
    ({"node_guid": GUID}, "EOPNOTSUPP"),
]
MLX5_IB = [
    ({"mac": MAC}, "EOPNOTSUPP"),
    ({"vlan": 1}, "EOPNOTSUPP"),
    ({"trust": True}, "EOPNOTSUPP"),
    ({"spoof_check": True}, "EOPNOTSUPP"),
    ({"max_tx_rate": 5}, "EOPNOTSUPP"),
    ({"link_state": "auto"}, None),
    ({"node_guid": GUID}, None),
    ({"port_guid": GUID}, None),
    ({"port_guid": "12"}, "EINVAL"),
]
BNXT = [
    ({"mac": MAC, "vlan": 10, "trust": True, "spoof_check": True, "link_state": "enable"}, None),
    ({"max_tx_rate": 25001}, "EINVAL"),
]
NOBODY = [({"mac": MAC}, "EOPNOTSUPP"), ({"trust": False}, "EOPNOTSUPP"), ({"vlan": 0}, "EOPNOTSUPP")]


def _table() -> list:
    drivers = {
        "82576": IGB,
        "82599": IXGBE,
        "x710": I40E,
        "e810": ICE,
        "connectx-5": MLX5,
        "connectx-6-ib": MLX5_IB,
        "bnxt": BNXT,
        "unlisted": NOBODY,
    }
    return [
        pytest.param(profile, wanted, result, id=f"{profile}-{'-'.join(f'{k}={v}' for k, v in wanted.items())}")
        for profile, rows in drivers.items()
        for wanted, result in rows
    ]


@pytest.mark.parametrize(("profile", "wanted", "result"), _table())
def test_what_a_driver_takes(plug, errno_of: Callable, profile: str, wanted: dict, result: str | None) -> None:
    shell = plug(profile, up=True)
    shell.numvfs(2)
    before = shell.host.kernel.links.vf_settings(shell.link().ifindex)
    assert errno_of(shell.set_vf, 1, **wanted) == result
    after = shell.host.kernel.links.vf_settings(shell.link().ifindex)
    if result:
        assert after == before
        return
    given = {key: value for key, value in wanted.items() if value is not None}
    assert {key: getattr(after[1], key) for key in given} == given
    assert after[0] == before[0]


def test_rate_wants_a_link(plug, errno_of: Callable) -> None:
    for profile, address in (("82576", "0000:10:00"), ("82599", "0000:20:00"), ("x710", "0000:30:00")):
        shell = plug(profile, address=address)
        shell.numvfs(1)
        assert errno_of(shell.set_vf, 0, max_tx_rate=100) == "EINVAL", profile
        shell.set_vf(0, mac=MAC)  # the others do not
        shell.up()
        assert errno_of(shell.set_vf, 0, max_tx_rate=100) is None, profile


def test_ixgbe_rate_wants_a_link_of_ten_gigabit(plug, errno_of: Callable) -> None:
    shell = plug("82599", up=True)
    shell.numvfs(1)
    shell.host.function(shell.pf).netdev.speed_mbps = 1000
    assert errno_of(shell.set_vf, 0, max_tx_rate=100) == "EINVAL"


@pytest.mark.parametrize("index", [2, -1, 100])
def test_a_vf_that_does_not_exist(plug, errno_of: Callable, index: int) -> None:
    shell = plug("82576")
    shell.numvfs(2)
    assert errno_of(shell.set_vf, index, mac=MAC) == "EINVAL"


def test_settings_before_a_refused_one_are_made(plug, errno_of: Callable) -> None:
    shell = plug("82576", up=True)
    shell.numvfs(1)
    assert errno_of(shell.set_vf, 0, link_state="auto", mac=MAC, trust=True) == "EOPNOTSUPP"
    assert (shell.settings(0).mac, shell.settings(0).trust) == (MAC, False)


def test_vlan_zero_by_itself_clears_the_priority(plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    shell.set_vf(0, vlan=100, qos=3)
    shell.set_vf(0, vlan=0)
    assert (shell.settings(0).vlan, shell.settings(0).qos) == (0, 0)


def test_an_unknown_setting_is_a_fault_of_the_caller(plug) -> None:
    shell = plug("82576")
    shell.numvfs(1)
    with pytest.raises(ValueError, match="no VF setting color"):
        shell.set_vf(0, color="red")


@pytest.mark.parametrize(
    ("profile", "spoof_check"),
    [("82576", True), ("82599", True), ("x710", True), ("e810", True), ("connectx-5", False)],
)
def test_fresh_vfs(plug, profile: str, spoof_check: bool) -> None:
    shell = plug(profile)
    shell.numvfs(1)
    assert shell.settings(0) == VfSettings(
        mac=ZERO,
        vlan=0,
        qos=0,
        vlan_proto="802.1q",
        trust=False,
        spoof_check=spoof_check,
        link_state="auto",
        min_tx_rate=0,
        max_tx_rate=0,
    )


def test_fresh_vfs_on_infiniband_show_the_pfs_own_address(plug) -> None:
    shell = plug("connectx-6-ib")
    shell.numvfs(1)
    settings = shell.settings(0)
    assert settings.mac == "00:00:10:87:fe:80"
    assert shell.link().mac.startswith(settings.mac)
    assert (settings.node_guid, settings.link_state) == ("00:00:00:00:00:00:00:00", "disable")


@pytest.mark.parametrize("profile", ["unlisted", "virtio", "ena"])
def test_drivers_that_tell_nothing(plug, profile: str) -> None:
    shell = plug(profile)
    assert shell.host.kernel.links.vf_settings(shell.link().ifindex) == {}


def test_settings_vanish_when_the_vfs_are_made_anew(plug) -> None:
    shell = plug("82576")
    shell.numvfs(2)
    fresh = shell.settings(0)
    shell.set_vf(0, mac=MAC, vlan=5, trust=True)
    shell.numvfs(0)
    assert shell.host.kernel.links.vf_settings(shell.link().ifindex) == {}
    shell.numvfs(2)
    assert shell.settings(0) == fresh


@pytest.mark.parametrize("profile", ["82576", "connectx-5", "x710"])
def test_the_address_reaches_the_netdev_on_rebind(plug, profile: str) -> None:
    shell = plug(profile, up=True)
    shell.numvfs(1)
    vf, name = shell.vf(0), shell.link(shell.vf(0)).name
    random = shell.link(vf).mac
    assert int(random[:2], 16) & 3 == 2
    assert shell.host.kernel.files.read(f"sys/class/net/{name}/addr_assign_type") == "1\n"
    shell.set_vf(0, mac=MAC)
    assert shell.link(vf).mac == random
    driver = shell.driver(vf)
    shell.driver_file(driver, "unbind", vf)
    shell.driver_file(driver, "bind", vf)
    assert shell.link(vf).mac == MAC
    assert shell.host.kernel.files.read(f"sys/class/net/{name}/addr_assign_type") == "0\n"


@pytest.mark.parametrize(
    ("profile", "reaches"), [("82576", False), ("82599", False), ("x710", True), ("connectx-5", True)]
)
def test_a_vf_probed_while_its_pf_is_down(plug, profile: str, reaches: bool) -> None:
    shell = plug(profile)
    shell.write("sriov_drivers_autoprobe", "0")
    shell.numvfs(1)
    shell.set_vf(0, mac=MAC)
    shell.write("sriov_drivers_autoprobe", "1")
    shell.probe(shell.vf(0))
    assert (shell.link(shell.vf(0)).mac == MAC) is reaches
    assert any("PF still in reset state" in line for line in shell.host.dmesg) is not reaches


def test_random_addresses_are_the_same_in_every_run() -> None:
    def macs(seed: int) -> list[str]:
        with FakeHost(seed=seed) as host:
            card = host.add_card("82576")
            host.kernel.files.write_slow(f"sys/bus/pci/devices/{card.pf()}/sriov_numvfs", "3", timeout=5)
            return [link.mac for link in host.kernel.links.links().values()]

    assert macs(1) == macs(1) != macs(2)


def test_the_settings_are_the_pfs_affair(plug, errno_of: Callable) -> None:
    shell = plug("connectx-5")
    shell.numvfs(1)
    links = shell.host.kernel.links
    vf = shell.link(shell.vf(0)).ifindex
    assert links.vf_settings(vf) == {}
    assert errno_of(links.set_vf, vf, 0, {"mac": MAC}) == "EOPNOTSUPP"
    assert errno_of(links.set_vf, 999, 0, {"mac": MAC}) == "ENODEV"
    assert errno_of(links.vf_settings, 999) == "ENODEV"
