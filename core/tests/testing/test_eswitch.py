"""devlink: who has an instance, each driver's preconditions for a mode, and what a mode does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtfn.model import EswitchMode
from virtfn.testing import FakeHost

LEGACY, SWITCHDEV = EswitchMode.LEGACY, EswitchMode.SWITCHDEV
DPU = {
    "INTERNAL_CPU_PAGE_SUPPLIER": "ECPF",
    "INTERNAL_CPU_ESWITCH_MANAGER": "ECPF",
    "INTERNAL_CPU_IB_VPORT0": "ECPF",
    "INTERNAL_CPU_OFFLOAD_ENGINE": "ENABLED",
}


def mode(shell) -> EswitchMode | None:
    return shell.host.kernel.devlink.eswitch_mode(("pci", shell.pf))


def set_mode(shell, wanted: EswitchMode) -> None:
    shell.host.kernel.devlink.set_eswitch_mode(("pci", shell.pf), wanted)


def names(shell) -> dict[str, str | None]:
    """Netdevs in the PF's folder with their port names."""
    links = shell.host.kernel.links.links()
    return {name: links[name].phys_port_name for name in shell.host.kernel.files.listdir(shell.path("net"))}


@pytest.mark.parametrize(
    ("profile", "options", "instance", "now", "result"),
    [
        ("connectx-5", {}, True, LEGACY, None),
        ("bluefield-2", {}, True, LEGACY, None),
        ("bluefield-2", {"firmware": DPU}, True, None, "EOPNOTSUPP"),
        ("connectx-6-ib", {}, True, None, "EOPNOTSUPP"),
        ("e810", {}, True, LEGACY, None),
        ("bnxt", {}, True, LEGACY, None),
        ("x710", {}, True, None, "EOPNOTSUPP"),
        ("82599", {}, False, None, "ENODEV"),
        ("82576", {}, False, None, "ENODEV"),
        ("ena", {}, False, None, "ENODEV"),
        ("virtio", {}, False, None, "ENODEV"),
        ("unlisted", {}, False, None, "ENODEV"),
    ],
)
def test_who_can(
    plug,
    errno_of: Callable,
    profile: str,
    options: dict,
    instance: bool,
    now: EswitchMode | None,
    result: str | None,
) -> None:
    shell = plug(profile, **options)
    devlink = shell.host.kernel.devlink
    assert (("pci", shell.pf) in devlink.handles()) is instance
    assert (devlink.info(("pci", shell.pf)) is not None) is instance
    assert mode(shell) is now
    assert errno_of(set_mode, shell, SWITCHDEV) == result
    assert mode(shell) is (now if result else SWITCHDEV)


def test_mlx5_refuses_while_a_driver_has_a_vf(plug) -> None:
    shell = plug("connectx-5")
    shell.numvfs(2)
    with pytest.raises(OSError, match="mlx5_core: Failed setting eswitch to offloads") as caught:
        set_mode(shell, SWITCHDEV)
    assert caught.value.errno == 22
    assert mode(shell) is LEGACY
    for vf in shell.vfs():
        shell.driver_file("mlx5_core", "unbind", vf)
    set_mode(shell, SWITCHDEV)
    for vf in shell.vfs():
        shell.driver_file("mlx5_core", "bind", vf)
    assert mode(shell) is SWITCHDEV


def test_mlx5_goes_back_with_vfs_in_use(plug) -> None:
    shell = plug("connectx-5", address="0000:08:00")
    set_mode(shell, SWITCHDEV)
    shell.numvfs(2)
    set_mode(shell, LEGACY)
    assert names(shell) == {"enp8s0f0np0": "p0"}


def test_ice_wants_no_vfs(plug) -> None:
    shell = plug("e810")
    shell.numvfs(1)
    set_mode(shell, LEGACY)  # the mode it has: nothing to refuse
    with pytest.raises(
        OSError, match="ice: Changing eswitch mode is allowed only if there is no VFs created"
    ) as caught:
        set_mode(shell, SWITCHDEV)
    assert caught.value.errno == 95
    shell.driver_file("iavf", "unbind", shell.vf(0))
    with pytest.raises(OSError, match="no VFs created"):
        set_mode(shell, SWITCHDEV)
    shell.numvfs(0)
    set_mode(shell, SWITCHDEV)
    shell.numvfs(1)
    assert len(names(shell)) == 2


def test_bnxt_refuses_the_mode_it_has(plug, errno_of: Callable) -> None:
    shell = plug("bnxt", up=True)
    assert errno_of(set_mode, shell, LEGACY) == "EINVAL"
    set_mode(shell, SWITCHDEV)
    assert errno_of(set_mode, shell, SWITCHDEV) == "EINVAL"


def test_mlx5_takes_the_mode_it_has(plug) -> None:
    shell = plug("connectx-5")
    shell.numvfs(1)
    set_mode(shell, LEGACY)
    assert mode(shell) is LEGACY


@pytest.mark.parametrize("profile", ["connectx-5", "e810", "bnxt"])
def test_representors_come_and_go_with_the_vfs(plug, profile: str) -> None:
    shell = plug(profile, address="0000:08:00", up=True)
    uplink = shell.link()
    set_mode(shell, SWITCHDEV)
    assert names(shell) == {"enp8s0f0np0": "p0"}
    shell.numvfs(2)
    expected = {"enp8s0f0np0": "p0", "enp8s0f0npf0vf0": "pf0vf0", "enp8s0f0npf0vf1": "pf0vf1"}
    assert names(shell) == expected
    links = shell.host.kernel.links.links()
    assert {links[name].phys_switch_id for name in expected} == {uplink.phys_switch_id}
    shell.numvfs(0)
    assert names(shell) == {"enp8s0f0np0": "p0"}
    assert mode(shell) is SWITCHDEV
    assert shell.link().ifindex == uplink.ifindex
    shell.numvfs(1)
    assert len(names(shell)) == 2


def test_representors_of_the_second_port(plug) -> None:
    shell = plug("connectx-5", address="0000:08:00")
    shell.port = 1
    set_mode(shell, SWITCHDEV)
    shell.numvfs(1)
    assert names(shell) == {"enp8s0f1np1": "p1", "enp8s0f1npf1vf0": "pf1vf0"}


def test_a_name_that_is_too_long_stays_the_kernels(plug) -> None:
    shell = plug("connectx-5", address="0000:3b:00")
    set_mode(shell, SWITCHDEV)
    shell.numvfs(2)
    assert names(shell) == {"enp59s0f0np0": "p0", "eth0": "pf0vf0", "eth1": "pf0vf1"}


@pytest.mark.parametrize(
    ("profile", "wanted", "result"),
    [
        ("connectx-5", {"trust": True}, "EOPNOTSUPP"),
        ("connectx-5", {"spoof_check": True}, "EOPNOTSUPP"),
        ("connectx-5", {"link_state": "enable"}, "EOPNOTSUPP"),
        ("connectx-5", {"vlan": 7}, "EOPNOTSUPP"),
        ("connectx-5", {"vlan": 0}, None),
        ("connectx-5", {"mac": "02:00:00:00:00:01"}, None),
        ("connectx-5", {"max_tx_rate": 100}, None),
        ("e810", {"trust": True}, "EOPNOTSUPP"),
        ("e810", {"mac": "02:00:00:00:00:01"}, None),
    ],
)
def test_vf_settings_in_switchdev(plug, errno_of: Callable, profile: str, wanted: dict, result: str | None) -> None:
    shell = plug(profile, up=True)
    set_mode(shell, SWITCHDEV)
    shell.numvfs(1)
    assert errno_of(shell.set_vf, 0, **wanted) == result


@pytest.mark.parametrize(
    ("wanted", "result"),
    [
        ({"trust": True}, "EPERM"),
        ({"spoof_check": True}, "EPERM"),
        ({"link_state": "enable"}, "EPERM"),
        ({"vlan": 7}, "EPERM"),
        ({"max_tx_rate": 7}, "EPERM"),
        ({"vlan": 0}, None),
    ],
)
def test_vf_settings_on_the_host_of_a_dpu(plug, errno_of: Callable, wanted: dict, result: str | None) -> None:
    shell = plug("bluefield-2", firmware=DPU)
    shell.numvfs(1)
    assert shell.link().phys_switch_id is None
    assert errno_of(shell.set_vf, 0, **wanted) == result


def test_vfs_of_mlx5_have_instances_without_an_eswitch(plug) -> None:
    shell = plug("connectx-5")
    shell.numvfs(1)
    handle = ("pci", shell.vf(0))
    devlink = shell.host.kernel.devlink
    assert handle in devlink.handles()
    assert devlink.eswitch_mode(handle) is None
    info = devlink.info(handle)
    assert info is not None
    assert (info.driver, info.running) == ("mlx5_core", {})


def test_the_mode_ends_with_the_pfs_driver(plug) -> None:
    shell = plug("connectx-5")
    set_mode(shell, SWITCHDEV)
    shell.driver_file("mlx5_core", "unbind", shell.pf)
    assert shell.host.kernel.devlink.handles() == {("pci", shell.card.pf(1))}
    assert mode(shell) is None
    shell.driver_file("mlx5_core", "bind", shell.pf)
    assert mode(shell) is LEGACY


def test_devlink_info(host: FakeHost) -> None:
    card = host.add_card("e810")
    info = host.kernel.devlink.info(("pci", card.pf()))
    assert info is not None
    assert info.driver == "ice"
    assert info.running["fw.app.name"] == "ICE OS Default Package"
    assert host.kernel.devlink.info(("auxiliary", card.pf())) is None
    assert host.kernel.devlink.info(("pci", "0000:ff:00.0")) is None
