"""Simulated machines, and short ways to the files of a function."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from virtfn.testing import Card, FakeHost


@dataclass
class Shell:
    """What a person at the machine would type, with each file by its last words."""

    host: FakeHost
    card: Card
    port: int = 0
    timeout: float = 10.0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def pf(self) -> str:
        return self.card.pf(self.port)

    def path(self, name: str, address: str | None = None) -> str:
        return f"sys/bus/pci/devices/{address or self.pf}/{name}"

    def read(self, name: str, address: str | None = None) -> str:
        return self.host.kernel.files.read(self.path(name, address)).strip()

    def write(self, name: str, text: str, address: str | None = None) -> None:
        self.host.kernel.files.write_slow(self.path(name, address), text, timeout=self.timeout)

    def numvfs(self, count: int | str) -> None:
        self.write("sriov_numvfs", str(count))

    def exists(self, name: str, address: str | None = None) -> bool:
        return self.host.kernel.files.exists(self.path(name, address))

    def vf(self, index: int) -> str:
        target = self.host.kernel.files.readlink(self.path(f"virtfn{index}"))
        assert target is not None
        return target

    def vfs(self) -> list[str]:
        names = self.host.kernel.files.listdir(self.path("").rstrip("/"))
        return [self.vf(index) for index in range(sum(name.startswith("virtfn") for name in names))]

    def driver(self, address: str | None = None) -> str | None:
        return self.host.kernel.files.readlink(self.path("driver", address))

    def driver_file(self, driver: str, name: str, text: str) -> None:
        self.host.kernel.files.write_slow(f"sys/bus/pci/drivers/{driver}/{name}", text, timeout=self.timeout)

    def probe(self, address: str) -> None:
        self.host.kernel.files.write_slow("sys/bus/pci/drivers_probe", address, timeout=self.timeout)

    def to_vfio(self, address: str) -> None:
        assert self.host.kernel.commands.run(("modprobe", "vfio-pci"), timeout=5).code == 0
        if (driver := self.driver(address)) is not None:
            self.driver_file(driver, "unbind", address)
        self.write("driver_override", "vfio-pci", address)
        self.probe(address)
        assert self.driver(address) == "vfio-pci"

    def link(self, address: str | None = None) -> Any:
        netdev = self.host.function(address or self.pf).netdev
        assert netdev is not None
        return self.host.kernel.links.link(netdev.name)

    def up(self, up: bool = True) -> None:
        self.host.kernel.links.set_link(self.link().ifindex, up=up)

    def set_vf(self, index: int, **settings: Any) -> None:
        self.host.kernel.links.set_vf(self.link().ifindex, index, settings)

    def settings(self, index: int) -> Any:
        return self.host.kernel.links.vf_settings(self.link().ifindex)[index]


Plug = Callable[..., Shell]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as machine:
        yield machine


@pytest.fixture
def plug(host: FakeHost) -> Plug:
    """Puts a card in and gives the shell for its first PF."""

    def put(profile: str, **options: Any) -> Shell:
        return Shell(host, host.add_card(profile, **options))

    return put


@pytest.fixture
def errno_of() -> Callable[..., str | None]:
    """Name of the errno that a call ends with; None: it succeeds."""

    def run(call: Callable[..., Any], *args: Any, **options: Any) -> str | None:
        try:
            call(*args, **options)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # the same number as ENOTSUP
                return "EOPNOTSUPP"
            return errno.errorcode.get(error.errno or 0, repr(error))
        return None

    return run
