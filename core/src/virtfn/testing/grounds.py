"""What the laws are tried on: a machine that can be put back to where it was, simulated or real.

The laws know nothing of either. What a ground cannot carry it says by leaving out an ability; the laws that want it are
then reported as not tried, with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from virtfn.errors import InvalidDocument
from virtfn.host.kernel import Kernel
from virtfn.host.machine import Machine, Timeouts
from virtfn.host.reader import Reader
from virtfn.model import EswitchMode, PciAddress, Pf
from virtfn.model.inventory import USERSPACE_DRIVERS
from virtfn.testing.fakehost import FakeHost
from virtfn.testing.profiles import Profile, load_profile, parse_profile


class Ability(StrEnum):
    """What a ground can carry."""

    NEIGHBOURS = "neighbours"
    """It has a second adapter that nothing is wanted of."""
    FAULTS = "faults"
    """Writes may be made to fail."""
    CRASHES = "crashes"
    """The process may be ended at any write."""
    MANY = "many"
    """A trial costs next to nothing: all desired states that the laws can think of are tried, not just a few."""
    REBOOT = "reboot"
    """It can be rebooted."""


class Ground(Protocol):
    """A machine to try laws on."""

    @property
    def name(self) -> str:
        """For reports: the profile's name, or the machine's."""
        ...

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can carry."""
        ...

    @property
    def timeouts(self) -> Timeouts:
        """How long things may take on it."""
        ...

    @property
    def pfs(self) -> tuple[PciAddress, ...]:
        """The PFs of the adapter under test."""
        ...

    def start(self) -> Kernel:
        """The machine as it is before anybody touched it: each time the same."""
        ...

    def reboot(self, *, power_cycle: bool) -> Kernel:
        """Off and on again. Only with the ability `reboot`."""
        ...

    def state(self) -> Mapping[str, Any]:
        """What the ground knows of the machine's state beyond what virtfn's own observation shows. May be empty."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class FakeGround:
    """A simulated machine with two cards of one profile: one under test, one that nothing is wanted of."""

    abilities = frozenset(Ability)
    timeouts = Timeouts()

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._host: FakeHost | None = None
        self.pfs: tuple[PciAddress, ...] = ()
        self.start()

    @property
    def name(self) -> str:
        """The profile's."""
        return self.profile.name

    def furnish(self, host: FakeHost) -> None:
        """Called with each new machine, before it has cards; override it to install a vendor's tools."""

    def start(self) -> Kernel:
        """See `Ground`."""
        self.close()
        # a function without SR-IOV is what a VM is given: a profile of one stands for that VM
        self._host = host = FakeHost(virtual=self.profile.sriov is None, udev=self.profile.ports.switch_id is not None)
        self.furnish(host)
        card = host.add_card(self.profile, address="0000:3b:00")
        host.add_card(self.profile, address="0000:5e:00", ports=1)
        self.pfs = tuple(card.pf_address(port) for port in range(card.ports))
        return host.kernel

    def reboot(self, *, power_cycle: bool) -> Kernel:
        """See `Ground`."""
        assert self._host is not None
        self._host.reboot(power_cycle=power_cycle)
        return self._host.kernel

    def state(self) -> Mapping[str, Any]:
        """See `Ground`."""
        return self._host.snapshot() if self._host else {}

    def close(self) -> None:
        """See `Ground`."""
        if self._host is not None:
            self._host.close()
            self._host = None


class KernelGround:
    """PFs of the machine this runs on, put back before each trial to how they were when this was made.

    :param kernel: the real one.
    :param pfs: the PFs of one adapter that may be used; nothing else on the machine is wanted of.
    :param abilities: for a machine that somebody needs: leave out what it should not be put through.
    """

    def __init__(
        self,
        kernel: Callable[[], Kernel],
        *,
        pfs: Sequence[PciAddress],
        name: str = "this machine",
        abilities: frozenset[Ability] = frozenset({Ability.NEIGHBOURS, Ability.FAULTS, Ability.CRASHES}),
        timeouts: Timeouts | None = None,
    ) -> None:
        self._kernel = kernel
        self.name = name
        self.abilities = abilities - {Ability.REBOOT}
        self.timeouts = timeouts or Timeouts()
        self.pfs = tuple(pfs)
        self._was = {pf.address: pf for pf in Reader(kernel()).network_functions()}

    def start(self) -> Kernel:
        """See `Ground`."""
        kernel = self._kernel()
        machine = Machine(kernel, timeouts=self.timeouts)
        for pf in machine.network_functions():
            was = self._was.get(pf.address, pf)
            if pf != was:  # what nobody touched is not touched here either
                _put_back(machine, pf, was)
        return kernel

    def reboot(self, *, power_cycle: bool) -> Kernel:
        """Not from here."""
        raise NotImplementedError(f"{self.name} cannot be rebooted (power cycle: {power_cycle})")

    def state(self) -> Mapping[str, Any]:
        """See `Ground`."""
        return {}

    def close(self) -> None:
        """See `Ground`."""
        self.start()


def _put_back(machine: Machine, pf: Pf, was: Pf) -> None:
    """One PF as it was: number of VFs, eswitch mode, drivers of the VFs, link."""
    if was.total_vfs is None:
        if was.netdev is not None:
            machine.set_link(pf.address, mtu=was.netdev.mtu, up=was.netdev.up)
        return
    same_mode = was.eswitch_mode in (None, pf.eswitch_mode)
    if pf.num_vfs != was.num_vfs or not same_mode or any(vf.settings for vf in pf.vfs):
        machine.set_num_vfs(pf.address, 0)
    if not same_mode:
        machine.set_eswitch_mode(pf.address, was.eswitch_mode or EswitchMode.LEGACY)
    if was.netdev is not None and was.netdev.tc_offload is not None:
        machine.set_tc_offload(pf.address, was.netdev.tc_offload)
    if was.netdev is not None:
        machine.set_link(pf.address, up=True)
        machine.set_num_vfs(pf.address, was.num_vfs)
        machine.set_link(pf.address, mtu=was.netdev.mtu, up=was.netdev.up)
    else:
        machine.set_num_vfs(pf.address, was.num_vfs)
    if was.drivers_autoprobe is not None:
        machine.set_drivers_autoprobe(pf.address, was.drivers_autoprobe)
    for vf in was.vfs:
        if vf.driver is None:
            machine.unbind_driver(vf.address)
        else:
            machine.bind_driver(vf.address, vf.driver if vf.driver in USERSPACE_DRIVERS else None)


def profile_of(profile: str | Path | Profile) -> Profile:
    """A profile by name, from a `.toml` file, or as it is. Raises `InvalidDocument`."""
    if isinstance(profile, Profile):
        return profile
    if isinstance(profile, Path) or profile.endswith(".toml"):
        path = Path(profile)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidDocument(f"{path}: cannot be read ({error})", field="profile") from error
        return parse_profile(text, name=path.stem)
    return load_profile(profile)
