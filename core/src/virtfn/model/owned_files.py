"""Files that virtfn keeps on a host: what their first line says, and where those are that belong to one PF."""

from __future__ import annotations

from virtfn.model.pci import PciAddress

MARK = "Written by virtfn"
"""In the first or second line of each; a file without it is never touched."""

UDEV_RULES = "/etc/udev/rules.d"
NETWORKD = "/etc/systemd/network"


def rules_path(pf: PciAddress) -> str:
    """udev's rules about one PF. 10: before systemd names interfaces (80-net-setup-link.rules)."""
    return f"{UDEV_RULES}/10-virtfn-{pf}.rules"


def network_path(pf: PciAddress) -> str:
    """systemd-networkd's file about one PF's VFs and representors."""
    return f"{NETWORKD}/10-virtfn-{pf}.network"
