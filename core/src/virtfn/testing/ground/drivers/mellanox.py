"""NVIDIA Mellanox: mlx5_core, for PFs and VFs, Ethernet and InfiniBand."""

# ruff: noqa: ARG002 - a driver's callbacks take what the kernel hands them
from __future__ import annotations

import errno
from dataclasses import replace

from virtfn.host.api import DevlinkParam, ParamMode, ParamValue
from virtfn.model import EswitchMode, LinkType, VfSettings
from virtfn.model.inventory import UNSET_MAC
from virtfn.testing.ground import names
from virtfn.testing.ground.blocking import Steps
from virtfn.testing.ground.card import PciFunction, PortVfs
from virtfn.testing.ground.drivers.base import VfOperation
from virtfn.testing.ground.drivers.eswitch import SwitchdevDriver
from virtfn.testing.ground.nvconfig import MOST_VFS, NUM_OF_VFS
from virtfn.testing.ground.tree import oserror

ENABLE_SRIOV = "enable_sriov"
_IN_FIRMWARE = {ENABLE_SRIOV: "SRIOV_EN", "total_vfs": NUM_OF_VFS}
"""Settings behind the permanent parameters of newer kernels (mlx5/core/lib/nv_param.c, from 6.18 on)."""
_PER_PORT = "PF_NUM_OF_VF_VALID"

_AT_START = ParamMode.DRIVERINIT
_RELOAD_SECONDS = 2.0

_UNSET_GUID = ":".join(["00"] * 8)


class Mlx5Core(SwitchdevDriver):
    """The mode can change with VFs there, as long as no driver has them; PFs and VFs have devlink instances."""

    rdma_module = "mlx5_ib"
    offloads_in_switchdev = True
    infiniband_operations = frozenset({VfOperation.LINK_STATE, VfOperation.NODE_GUID, VfOperation.PORT_GUID})

    def operations(self, pf: PciFunction) -> frozenset[VfOperation]:
        """IP over InfiniBand has GUIDs where Ethernet has the rest."""
        return self.infiniband_operations if self._infiniband(pf) else self.vf_operations

    def reset_settings(self, pf: PciFunction, count: int) -> None:
        """On InfiniBand the driver gives zeros for what it does not know, and the beginning of the PF's own address."""
        super().reset_settings(pf, count)
        if self._infiniband(pf) and pf.sriov is not None and pf.netdev is not None:
            plain = VfSettings(
                mac=pf.netdev.mac[: len(UNSET_MAC)],
                vlan=0,
                qos=0,
                trust=False,
                spoof_check=False,
                link_state="disable",
                min_tx_rate=0,
                max_tx_rate=0,
                node_guid=_UNSET_GUID,
                port_guid=_UNSET_GUID,
            )
            pf.sriov.admin = [plain] * count

    def vf_mac(self, vf: PciFunction) -> tuple[str, bool]:
        """On InfiniBand the PF has no say in a VF's address but for the GUIDs."""
        return (self.machine.net.random_mac(), True) if self._infiniband(vf) else super().vf_mac(vf)

    def switch_id(self, pf: PciFunction) -> str | None:
        """Shown in legacy mode too, by the eswitch manager only."""
        return names.switch_id(pf.card) if pf.card.host_manages_eswitch else None

    @staticmethod
    def _infiniband(pf: PciFunction) -> bool:
        return pf.card.link_type(pf.port) is LinkType.IB

    # --- vDPA ---------------------------------------------------------------------------------------------------------

    def makes_vdpa(self, function: PciFunction) -> bool:
        """VFs, once mlx5_vdpa is loaded. That firmware does it in switchdev mode only is assumed."""
        pf, facts = function.physfn, function.card.profile.sriov
        return (
            pf is not None
            and facts is not None
            and facts.vdpa
            and pf.eswitch_mode is EswitchMode.SWITCHDEV
            and "mlx5_vdpa" in self.machine.modules.loaded
        )

    def remove(self, function: PciFunction) -> Steps[None]:
        """vDPA devices go before the function."""
        yield from self.machine.vdpa.leave(function)
        yield from super().remove(function)

    # --- VF settings --------------------------------------------------------------------------------------------------

    def check_vlan(self, pf: PciFunction, vlan: int, qos: int, proto: str) -> None:
        """VLAN 0 is taken everywhere."""
        super().check_vlan(pf, vlan, qos, proto)
        if vlan or qos:
            self._legacy_only(pf)

    def check_flag(self, pf: PciFunction, operation: VfOperation) -> None:
        """Legacy mode only (of InfiniBand's operations this is the link state, which is always there)."""
        if not self._infiniband(pf):
            self._legacy_only(pf)

    def check_rate(self, pf: PciFunction, lowest: int, highest: int) -> None:
        """In both modes."""
        if not pf.card.host_manages_eswitch:
            raise oserror(errno.EPERM)

    @staticmethod
    def _legacy_only(pf: PciFunction) -> None:
        if not pf.card.host_manages_eswitch:
            raise oserror(errno.EPERM)
        if pf.eswitch_mode is EswitchMode.SWITCHDEV:
            raise oserror(errno.EOPNOTSUPP)

    # --- devlink ------------------------------------------------------------------------------------------------------

    def has_devlink(self, function: PciFunction) -> bool:
        """VFs too."""
        return True

    def eswitch_mode(self, function: PciFunction) -> EswitchMode | None:
        """Only where the function is an Ethernet port and the eswitch manager."""
        self._require_eswitch(function)
        return function.eswitch_mode

    def set_eswitch_mode(self, function: PciFunction, mode: EswitchMode) -> None:
        """Firmware refuses switchdev while VFs are in use. Only VFs without any driver are known to be no obstacle."""
        self._require_eswitch(function)
        if function.eswitch_mode is mode:
            return
        if mode is EswitchMode.SWITCHDEV and any(vf.driver is not None for vf in function.vfs):
            self.machine.log(f"mlx5_core {function.name}: E-Switch: Failed to create slow path FDB Table err -22")
            raise oserror(errno.EINVAL, "mlx5_core: Failed setting eswitch to offloads")
        self.change_mode(function, mode)

    def inline_mode(self, function: PciFunction) -> str | None:
        """As the profile says, or as it was set."""
        self._require_eswitch(function)
        return function.inline_mode or function.card.profile.devlink.inline_mode or None

    def set_inline_mode(self, function: PciFunction, mode: str) -> None:
        """Cards that need none take only that."""
        self._require_eswitch(function)
        if (mode == "none") is not (function.card.profile.devlink.inline_mode == "none"):
            raise oserror(errno.EOPNOTSUPP, "mlx5_core: Inline mode can't be set")
        function.inline_mode = mode

    def devlink_param(self, function: PciFunction, name: str) -> DevlinkParam | None:
        """Permanent ones are in firmware, and read what is set for the next reset: for the card, or for this port."""
        param = super().devlink_param(function, name)
        if param is None or name not in _IN_FIRMWARE:
            return param
        firmware = function.card.firmware
        value = firmware.next[_IN_FIRMWARE[name]]
        if firmware.next.get(_PER_PORT) is True:
            own = firmware.ports_next.get(function.port, PortVfs())
            value = bool(value and own.enabled) if name == ENABLE_SRIOV else own.total
        return DevlinkParam(name, param.kind, {ParamMode.PERMANENT: value})

    def set_devlink_param(self, function: PciFunction, name: str, value: ParamValue, mode: ParamMode) -> None:
        """A permanent one makes the card keep numbers for each port, and sets this port's."""
        super().set_devlink_param(function, name, value, mode)
        if name not in _IN_FIRMWARE:
            return
        firmware = function.card.firmware
        own = firmware.ports_next.get(function.port, PortVfs())
        firmware.next[_PER_PORT] = True
        if name == ENABLE_SRIOV:
            firmware.next["SRIOV_EN"] = True
            firmware.ports_next[function.port] = replace(own, enabled=bool(value))
        else:
            firmware.ports_next[function.port] = replace(own, total=int(value))

    def reload(self, function: PciFunction) -> None:
        """The netdev is a new one, down, and the eswitch in legacy mode; flow steering and inline mode stay."""
        if self._in_lag(function):
            raise oserror(errno.EOPNOTSUPP, "mlx5_core: reload is unsupported in Lag mode")
        if function.vfs:
            self.machine.log(f"mlx5_core {function.name}: reload while VFs are present is unfavorable")
        self.machine.rdma.detach(function)
        function.eswitch_mode = EswitchMode.LEGACY
        for netdev in list(function.netdevs):
            self.machine.net.remove(netdev)
        function.initial |= {name: value for (name, mode), value in function.params.items() if mode is _AT_START}
        self.machine.clock.sleep(_RELOAD_SECONDS)
        self.machine.rdma.attach(function)

        def late() -> None:
            if function.driver is self and function.netdev is None and not function.gone:
                self.add_netdev(function)
                for netdev in function.netdevs:
                    self.machine.net.set_up(netdev, False)

        self.machine.clock.after(function.card.quirks.netdev_delay, late)

    def _in_lag(self, function: PciFunction) -> bool:
        """Whether other ports of the card are in one bond with this one."""
        tree = self.machine.tree

        def bond(pf: PciFunction) -> str | None:
            master = tree.readlink(f"sys/class/net/{pf.netdev.name}/master") if pf.netdev is not None else None
            return master if master is not None and tree.exists(f"sys/class/net/{master}/bonding") else None

        own = bond(function)
        return own is not None and sum(bond(pf) == own for pf in function.card.functions) > 1

    def check_param(self, function: PciFunction, name: str, value: ParamValue) -> None:
        """Flow steering cannot change in switchdev mode, and not every card can do it in software."""
        if name in _IN_FIRMWARE and not function.card.firmware.per_port:
            raise oserror(errno.EOPNOTSUPP, "mlx5_core: SRIOV is not per PF on this device")
        if name == "total_vfs" and int(value) > MOST_VFS:
            raise oserror(errno.EINVAL, f"mlx5_core: Max allowed by device is {MOST_VFS}")
        if name != "flow_steering_mode":
            super().check_param(function, name, value)
            if name == "enable_roce":
                self._check_roce(function, bool(value))
            return
        if value not in ("dmfs", "smfs"):
            raise oserror(errno.EINVAL, 'mlx5_core: Bad parameter: supported values are ["dmfs", "smfs"]')
        if value == "smfs" and function.eswitch_mode is EswitchMode.SWITCHDEV:
            text = "mlx5_core: Software managed steering is not supported when eswitch offloads enabled."
            raise oserror(errno.EOPNOTSUPP, text)
        if value not in function.card.profile.devlink.params[name].choices:
            text = "mlx5_core: Software managed steering is not supported by current device"
            raise oserror(errno.EOPNOTSUPP, text)

    def _check_roce(self, function: PciFunction, wanted: bool) -> None:
        if wanted and function.card.firmware.current.get("ROCE_CONTROL") == "ROCE_DISABLE":
            raise oserror(errno.EOPNOTSUPP, "mlx5_core: Device doesn't support RoCE")
        if self._in_lag(function):
            raise oserror(errno.EOPNOTSUPP, "mlx5_core: Multi port slave/Lag device can't configure RoCE")

    def _require_eswitch(self, function: PciFunction) -> None:
        if function.physfn is not None or self._infiniband(function) or not function.card.host_manages_eswitch:
            raise oserror(errno.EOPNOTSUPP)
