"""What of this host would go down with a netdev: netdevs that stand on it, addresses and routes.

A netdev in another network namespace that stands on one of this (the macvlan of a pod) is not seen from here: the
kernel shows no link to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtfn.host.kernel import Files

_UPPER = "upper_"
"""What links to the netdevs above one begin with: bonds, bridges, Open vSwitch, VLANs, macvlans (net/core/dev.c)."""
_OF_LINK = 0x20
"""An IPv6 address that every interface has that is up (`IPV6_ADDR_LINKLOCAL`, include/net/ipv6.h)."""


def users_of(files: Files, names: Sequence[str]) -> tuple[str, ...]:
    """For people, what uses the netdevs of these names: `bond0 on ens1f0`; empty: nothing that is seen here."""
    routes = {row[0] for row in _rows(files, "proc/net/route") if row}
    addresses = {row[5] for row in _rows(files, "proc/net/if_inet6") if len(row) > 5 and _scope(row[3]) != _OF_LINK}
    found: list[str] = []
    for name in names:
        above = (each for each in files.listdir(f"sys/class/net/{name}") if each.startswith(_UPPER))
        found += [f"{each.removeprefix(_UPPER)} on {name}" for each in above]
        found += [f"an IPv4 route on {name}"] if name in routes else []
        found += [f"an IPv6 address on {name}"] if name in addresses else []
    return tuple(found)


def _rows(files: Files, path: str) -> list[list[str]]:
    """Words of each line; none where the kernel has no such file."""
    try:
        return [line.split() for line in files.read(path).splitlines()]
    except OSError:
        return []


def _scope(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None
