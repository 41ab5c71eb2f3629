"""The PCI core's part of SR-IOV (drivers/pci/iov.c): the `sriov_*` files, and VFs coming and going."""

from __future__ import annotations

import errno

from virtfn.model import PciAddress
from virtfn.testing.ground.blocking import Operations, Steps, WouldBlock
from virtfn.testing.ground.card import Card, PciFunction, PortVfs, Sriov
from virtfn.testing.ground.clock import VirtualClock
from virtfn.testing.ground.modules import Modules
from virtfn.testing.ground.pci import PciBus
from virtfn.testing.ground.tree import Tree, oserror
from virtfn.testing.profiles import VfLayout

_ENABLE_SECONDS = 0.1
_DISABLE_SECONDS = 1.0


def capability(card: Card, port: int) -> Sriov | None:
    """The SR-IOV capability of a PF as its firmware sets it up; None when it is switched off."""
    facts, settings = card.profile.sriov, card.firmware.current
    vf_id = card.profile.vf_id
    if facts is None or vf_id is None or not card.sriov or settings.get("SRIOV_EN", True) is False:
        return None
    total = _total(card, port, facts.total_vfs)
    if total == 0:
        return None
    before = sum(_total(card, other, facts.total_vfs) for other in range(port))
    match facts.layout:
        case VfLayout.FUNCTIONS:
            offset = card.ports + facts.hidden_functions - port + before
        case VfLayout.BLOCKS:
            offset = facts.offset - port + before
        case VfLayout.INTERLEAVED:
            offset = facts.offset
    return Sriov(hardware_total=total, total=total, offset=offset, stride=facts.stride, vf_id=vf_id)


def _total(card: Card, port: int, without_firmware: int) -> int:
    """The most VFs of a port that are in force."""
    settings = card.firmware.current
    if settings.get("PF_NUM_OF_VF_VALID") is True:
        own = card.firmware.ports.get(port, PortVfs())
        return own.total if own.enabled else 0
    return int(settings.get("NUM_OF_VFS", without_firmware))


class SriovCore:
    """Makes and unmakes VFs."""

    def __init__(
        self, tree: Tree, pci: PciBus, modules: Modules, operations: Operations, clock: VirtualClock, log: list[str]
    ) -> None:
        self._tree = tree
        self._pci = pci
        self._modules = modules
        self._operations = operations
        self._clock = clock
        self._log = log
        self._rescan_locked = False
        """One lock for all PFs of the machine, taken around every driver's configure call."""

    def publish(self, pf: PciFunction, sriov: Sriov) -> None:
        """The PF's `sriov_*` files."""
        here = pf.folder
        self._tree.attribute(f"{here}/sriov_totalvfs", read=lambda: f"{sriov.total}\n")
        self._tree.attribute(
            f"{here}/sriov_numvfs",
            read=lambda: self._read_numvfs(sriov),
            write=lambda text: self._operations.run(self._store_numvfs(pf, sriov, text)),
        )
        self._tree.attribute(
            f"{here}/sriov_drivers_autoprobe",
            read=lambda: f"{int(sriov.autoprobe)}\n",
            write=lambda text: self._store_autoprobe(pf, sriov, text),
        )
        self._tree.attribute(f"{here}/sriov_offset", read=lambda: f"{sriov.offset}\n")
        self._tree.attribute(f"{here}/sriov_stride", read=lambda: f"{sriov.stride}\n")
        self._tree.file(f"{here}/sriov_vf_device", f"{sriov.vf_id.device}\n")
        self._tree.file(f"{here}/sriov_vf_total_msix", "0\n")

    # --- files --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _read_numvfs(sriov: Sriov) -> str:
        if sriov.locked:
            raise WouldBlock
        return f"{len(sriov.vfs)}\n"

    def _store_autoprobe(self, pf: PciFunction, sriov: Sriov, text: str) -> None:
        word = text.strip().lower()
        if word in ("1", "y", "yes", "on", "t", "true"):
            sriov.autoprobe = True
        elif word in ("0", "n", "no", "off", "f", "false"):
            sriov.autoprobe = False
        else:
            raise oserror(errno.EINVAL)
        self._tree.refresh(pf.folder)

    def _store_numvfs(self, pf: PciFunction, sriov: Sriov, text: str) -> Steps[None]:
        try:
            count = int(text.strip(), 0)
        except ValueError:
            raise oserror(errno.EINVAL) from None
        if not 0 <= count <= 0xFFFF:
            raise oserror(errno.EINVAL)
        if count > sriov.total:
            raise oserror(errno.ERANGE)
        while sriov.locked:
            yield
        sriov.locked = True
        try:
            existing = len(sriov.vfs)
            if count == existing:
                return
            if pf.driver is None:
                self._log.append(f"pci {pf.name}: no driver bound to device; cannot configure SR-IOV")
                raise oserror(errno.ENOENT)
            if not pf.driver.makes_vfs:
                self._log.append(f"pci {pf.name}: driver does not support SR-IOV configuration via sysfs")
                raise oserror(errno.ENOENT)
            if count and existing:
                self._log.append(f"pci {pf.name}: {existing} VFs already enabled. Disable before enabling {count} VFs")
                raise oserror(errno.EBUSY)
            while self._rescan_locked:
                yield
            self._rescan_locked = True
            try:
                made = yield from pf.driver.configure_sriov(pf, count)
            finally:
                self._rescan_locked = False
            if made != count:
                self._log.append(f"pci {pf.name}: {count} VFs requested; only {made} enabled")
        finally:
            sriov.locked = False
            self._tree.refresh(pf.folder)

    # --- VFs ----------------------------------------------------------------------------------------------------------

    def enable(self, pf: PciFunction, count: int) -> None:
        """`pci_enable_sriov`. OSError(ENOMEM) when the BIOS left no room for them."""
        sriov = self._of(pf)
        room = pf.card.quirks.mmio_vfs
        if room is not None and count > room:
            self._log.append(f"pci {pf.name}: not enough MMIO resources for SR-IOV")
            self._clock.sleep(_DISABLE_SECONDS)
            raise oserror(errno.ENOMEM)
        self._clock.sleep(_ENABLE_SECONDS)
        for index in range(count):
            vf = PciFunction(
                address=vf_address(pf, index),
                id=sriov.vf_id,
                card=pf.card,
                port=pf.port,
                class_code=pf.class_code,
                physfn=pf,
                vf_index=index,
            )
            sriov.vfs.append(vf)
            self._pci.add(vf)
            self._tree.attribute(f"{vf.folder}/sriov_vf_msix_count", write=lambda _: None)
            self._tree.link(f"{pf.folder}/virtfn{index}", vf.folder)
            self._tree.link(f"{vf.folder}/physfn", pf.folder)
            self._modules.autoload(vf)
            self._pci.probe(vf)

    def disable(self, pf: PciFunction) -> Steps[None]:
        """`pci_disable_sriov`: one VF after the other, waiting for each that a process holds open."""
        sriov = self._of(pf)
        for index, vf in enumerate(list(sriov.vfs)):
            self._tree.remove(f"{pf.folder}/virtfn{index}")
            if not vf.gone:
                self._tree.remove(f"{vf.folder}/physfn")
                yield from self._pci.detach(vf)
            if not vf.gone:  # it can be pulled out while it is waited for
                self._pci.remove(vf)
        sriov.vfs.clear()
        sriov.admin.clear()
        self._clock.sleep(_DISABLE_SECONDS)

    @staticmethod
    def _of(pf: PciFunction) -> Sriov:
        if pf.sriov is None:
            raise oserror(errno.ENOSYS)
        return pf.sriov


def vf_address(pf: PciFunction, index: int) -> PciAddress:
    """Where the VF comes to be: the routing id of the PF plus offset and stride."""
    assert pf.sriov is not None
    own = pf.address
    routing = (own.bus << 8 | own.device << 3 | own.function) + pf.sriov.offset + pf.sriov.stride * index
    return PciAddress(own.domain, routing >> 8, routing >> 3 & 0x1F, routing & 7)
