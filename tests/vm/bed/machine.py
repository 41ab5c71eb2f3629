"""The emulated machine: QEMU's command line and nothing else.

TCG unless VIRTFN_VM_ACCEL names another accelerator: a /dev/kvm that opens is no proof that it works, and QEMU does
not fall back from one that fails late.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_ACCEL = "tcg,thread=multi,tb-size=1024"
HOST_NETWORK_MAC = "52:54:00:dd:00:00"
WIRE = "virtfn.wire"
KERNEL_ARGUMENTS = (
    "console=ttyS0 panic=-1 intel_iommu=on mitigations=off nokaslr audit=0 apparmor=0 selinux=0 cryptomgr.notests "
    "tsc=reliable no_timer_check random.trust_cpu=on net.ifnames=0 8250.nr_uarts=1 loglevel=5"  # warnings and worse
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Size and devices. The order of the device fields is the order of the PCI buses, from 0000:01 on."""

    cpus: int = 1
    """Emulated processors that run at once trip now and then over code that the kernel patches, or lose a timer."""
    memory: str = "2G"
    accel: str = field(default_factory=lambda: os.environ.get("VIRTFN_VM_ACCEL", DEFAULT_ACCEL))
    iommu: bool = True
    single_port_igb: int = 2
    nvme: bool = True
    dual_port_igb: bool = True
    virtio_net: bool = True
    host_network: bool = False
    """A second virtio-net on a user network; the guest is 10.0.2.15 and reaches the host's loopback as 10.0.2.2."""
    wire: Path | None = None
    """A listening Unix socket of the host; the guest has its other end as the virtio port named `WIRE`."""


def qemu_argv(machine: Machine, *, qemu: str, vmlinux: Path, initramfs: Path, share: Path) -> list[str]:
    """QEMU's whole command line. The guest's output is QEMU's stdout, its kernel log `console.log` in the share."""
    kvm = "kvm" in machine.accel
    root_fs = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
    share_fs = f"local,id=share,path={_escape(share)},security_model=none,multidevs=remap"
    argv = [qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    argv += ["-machine", "q35,smm=off,vmport=off,hpet=off" + (",kernel-irqchip=split" if kvm else "")]
    argv += ["-accel", machine.accel, "-cpu", "host" if kvm else "max,la57=off"]
    argv += ["-smp", str(machine.cpus), "-m", machine.memory]
    argv += ["-kernel", str(vmlinux), "-initrd", str(initramfs), "-append", KERNEL_ARGUMENTS]
    argv += ["-chardev", f"file,id=serial,path={_escape(share / 'console.log')}", "-serial", "chardev:serial"]
    argv += ["-chardev", "stdio,id=out,signal=off"]
    argv += ["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=out"]
    argv += ["-fsdev", root_fs, "-device", "virtio-9p-pci,fsdev=root,mount_tag=hostroot"]
    argv += ["-fsdev", share_fs, "-device", "virtio-9p-pci,fsdev=share,mount_tag=vmshare"]
    if machine.wire is not None:
        argv += ["-chardev", f"socket,id=wire,path={_escape(machine.wire)}"]
        argv += ["-device", f"virtserialport,chardev=wire,name={WIRE}"]
    if machine.iommu:
        argv += ["-device", "intel-iommu,intremap=on,caching-mode=on"]
    slot = 0x10
    for number in range(machine.single_port_igb):
        argv += [*_root_port(slot), "-netdev", f"hubport,id=single{number},hubid=1"]
        argv += [
            "-device",
            f"igb,bus=port{slot},netdev=single{number},mac=52:54:00:aa:{number:02x}:00,rombar=0",
        ]
        slot += 1
    if machine.nvme:
        argv += [*_root_port(slot), "-device", "nvme-subsys,id=subsystem0"]
        limits = "sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=16,msix_qsize=20"
        argv += ["-device", f"nvme,bus=port{slot},subsys=subsystem0,serial=nvme0,{limits}"]
        slot += 1
    if machine.dual_port_igb:
        argv += _root_port(slot)
        argv += ["-netdev", "hubport,id=dual0,hubid=1", "-netdev", "hubport,id=dual1,hubid=1"]
        # Without the ARI next-function number the kernel never looks at function 1.
        first = "addr=0.0,multifunction=on,x-pcie-ari-nextfn-1=on,netdev=dual0,mac=52:54:00:cc:00:00"
        argv += ["-device", f"igb,bus=port{slot},{first},rombar=0"]
        argv += ["-device", f"igb,bus=port{slot},addr=0.1,netdev=dual1,mac=52:54:00:cc:01:00,rombar=0"]
        slot += 1
    if machine.virtio_net:
        argv += ["-netdev", "hubport,id=virtio,hubid=2"]
        argv += ["-device", "virtio-net-pci,netdev=virtio,mac=52:54:00:bb:00:00,rombar=0"]
    if machine.host_network:
        argv += [
            "-netdev",
            "user,id=host",
            "-device",
            f"virtio-net-pci,netdev=host,mac={HOST_NETWORK_MAC},romfile=",
        ]
    return argv


def _root_port(slot: int) -> list[str]:
    return ["-device", f"pcie-root-port,id=port{slot},chassis={slot},slot={slot},bus=pcie.0,addr=0x{slot:x}"]


def _escape(path: Path) -> str:
    return str(path).replace(",", ",,")
