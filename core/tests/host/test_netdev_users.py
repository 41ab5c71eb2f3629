from __future__ import annotations

from pathlib import Path

import pytest

from virtfn.host.files import HostFiles
from virtfn.host.netdev_users import users_of

ROUTES = """Iface\tDestination\tGateway \tFlags
ens1f0\t00000000\t0100000A\t0003
"""
ADDRESSES = """fe800000000000000000000000000001 02 40 20 80   ens1f0
fd000000000000000000000000000001 03 40 00 80   ens1f1
torn line
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(ROUTES)
    (tmp_path / "proc/net/if_inet6").write_text(ADDRESSES)
    for name in ("upper_bond0", "upper_vlan7", "queues"):
        (tmp_path / "sys/class/net/ens1f0" / name).mkdir(parents=True)
    (tmp_path / "sys/class/net/ens1f1").mkdir()
    return tmp_path


def test_what_stands_on_a_netdev_and_goes_through_it(root: Path) -> None:
    files = HostFiles(root)
    assert users_of(files, ["ens1f0"]) == ("bond0 on ens1f0", "vlan7 on ens1f0", "an IPv4 route on ens1f0")
    assert users_of(files, ["ens1f1"]) == ("an IPv6 address on ens1f1",)
    assert users_of(files, ["ens1f2"]) == users_of(files, []) == ()


def test_a_kernel_without_ipv6(root: Path) -> None:
    (root / "proc/net/if_inet6").unlink()
    assert users_of(HostFiles(root), ["ens1f1"]) == ()
