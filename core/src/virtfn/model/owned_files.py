"""Files that virtfn keeps on a host: what their first line says, and where those are that belong to one PF."""

from __future__ import annotations

import hashlib

from virtfn.model.pci import PciAddress

MARK = "Written by virtfn"
"""In the first or second line of each; a file without it is never touched."""

FOREIGN = ""
"""In place of a digest: there is such a file, and it is not virtfn's."""

UDEV_RULES = "/etc/udev/rules.d"
NETWORKD = "/etc/systemd/network"
MODPROBE = "/etc/modprobe.d"


def digest_of(text: str) -> str:
    """What tells one text from another in an inventory, which does not carry whole files."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rules_path(pf: PciAddress) -> str:
    """udev's rules about one PF. 10: before systemd names interfaces (80-net-setup-link.rules)."""
    return f"{UDEV_RULES}/10-virtfn-{pf}.rules"


def network_path(pf: PciAddress) -> str:
    """systemd-networkd's file about one PF's VFs and representors."""
    return f"{NETWORKD}/10-virtfn-{pf}.network"


BOOT_SCRIPT = "/var/lib/virtfn/boot/restore.sh"
"""Makes again, after a boot, what was there before it."""
BOOT_UNIT = "/etc/systemd/system/virtfn-restore.service"
"""Has systemd run it before the network starts."""
BOOT_WANTS = "/etc/systemd/system/multi-user.target.d/10-virtfn.conf"
"""Has systemd want the unit: a drop-in needs no link and no `systemctl enable`."""
