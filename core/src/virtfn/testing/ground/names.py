"""Names and ids that a running system gives: interface names by place, switch ids, hardware addresses."""

from __future__ import annotations

from virtfn.model import LinkType
from virtfn.testing.ground.card import Card, PciFunction
from virtfn.testing.profiles import SwitchId

_NAME_MAX = 15


def port_name(card: Card, port: int) -> str | None:
    """`phys_port_name` of a PF's netdev; None where the driver has none."""
    return f"p{port}" if card.profile.ports.phys_port_name and card.link_type(port) is LinkType.ETH else None


def pf_name(card: Card, port: int) -> str:
    """Name of a PF's netdev: the one asked for, or systemd's by path (`enp59s0f0np0`, `ibp75s0`)."""
    return card.names[port] if port < len(card.names) else _full_path_name(card, port)


def pf_alt_names(card: Card, port: int) -> tuple[str, ...]:
    """The name by path of a PF's netdev that got another one."""
    name = _full_path_name(card, port)
    return () if name == pf_name(card, port) else (name,)


def _full_path_name(card: Card, port: int) -> str:
    return path_name(card, port) + (f"n{name}" if (name := port_name(card, port)) else "")


def path_name(card: Card, port: int) -> str:
    """systemd's name by path without the port: `enp59s0f0`; the function only where the device has several."""
    address = card.pf_address(port)
    kind = "ib" if card.link_type(port) is LinkType.IB else "en"
    domain = f"P{address.domain}" if address.domain else ""
    function = f"f{address.function}" if card.ports > 1 or address.function else ""
    return f"{kind}{domain}p{address.bus}s{address.device}{function}"


def vf_name(vf: PciFunction) -> str | None:
    """Name of a VF's netdev: its PF's with `v<index>`. None: too long, so that it keeps the kernel's (`eth0`)."""
    return _fits(f"{pf_name(vf.card, vf.port)}v{vf.vf_index}")


def vdpa_netdev_name(vf: PciFunction) -> str | None:
    """Name of the netdev of a vDPA device on a VF. Assumed: systemd names what is on a bus that it knows, and leaves
    others the kernel's name, which would then be taken from whatever had it before.
    """
    return _fits(f"{pf_name(vf.card, vf.port)}d{vf.vf_index}")


def representor_name(pf: PciFunction, index: int) -> str | None:
    """Name of a VF representor: the PF's path with its port name (`enp8s0f0npf0vf0`). None: too long, as above."""
    own = pf_name(pf.card, pf.port)
    path = own.removesuffix(f"n{port_name(pf.card, pf.port)}")
    return _fits(f"{path}n{representor_port(pf, index)}")


def representor_port(pf: PciFunction, index: int) -> str:
    """`phys_port_name` of a VF representor."""
    return f"pf{pf.port}vf{index}"


def _fits(name: str) -> str | None:
    return name if len(name) <= _NAME_MAX else None


def switch_id(card: Card) -> str | None:
    """`phys_switch_id`, one for all ports of a card: 8 bytes in hex."""
    first = card.mac(0).split(":")
    match card.profile.ports.switch_id:
        case SwitchId.GUID:
            return "".join(reversed([*first[:3], "03", "00", *first[3:]]))
        case SwitchId.SERIAL:
            return "".join([*first[:3], "ff", "ff", *first[3:]])
    return None


def infiniband_address(mac: str) -> str:
    """The 20 bytes of IP over InfiniBand: queue pair, subnet prefix, port GUID."""
    first = mac.split(":")
    return ":".join(["00", "00", "10", "87", "fe", "80", *["00"] * 6, *first[:3], "03", "00", *first[3:]])
