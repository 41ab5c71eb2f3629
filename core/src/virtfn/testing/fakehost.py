"""The simulated machine: a real directory tree with a behaving kernel, made of device profiles.

    with FakeHost() as host:
        card = host.add_card("connectx-5", address="0000:3b:00")
        machine = Machine(host.kernel)
        machine.set_num_vfs(card.pf_address(0), 4)

Everything that stands above `virtfn.host.kernel.Kernel` runs on it unchanged. Time passes only when somebody sleeps,
random addresses are the same in each run, every call is in a record, and any call can be told to fail, hang or lie.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from virtfn.host.kernel import Kernel, Process
from virtfn.model import PciAddress
from virtfn.model.rdma import EXCLUSIVE
from virtfn.testing.ground.calls import Call, Calls, Fault, Match
from virtfn.testing.ground.card import Card, Firmware, PciFunction, Quirks, Setting
from virtfn.testing.ground.clock import VirtualClock
from virtfn.testing.ground.fwreset import TOOL as RESET_TOOL
from virtfn.testing.ground.fwreset import ResetTool, is_reset
from virtfn.testing.ground.interfaces import (
    FakeClock,
    FakeCommands,
    FakeDevlink,
    FakeEthtool,
    FakeFiles,
    FakeLinks,
    FakeProcesses,
    Program,
)
from virtfn.testing.ground.kernel_model import KernelModel
from virtfn.testing.ground.nvconfig import TOOL, NvConfigTool, is_write
from virtfn.testing.ground.ovs import FakeOvsDb, OvsModel
from virtfn.testing.ground.rdma import FakeRdma
from virtfn.testing.ground.tree import Tree
from virtfn.testing.ground.vdpa import FakeVdpa
from virtfn.testing.profiles import Profile, load_profile

RELEASE = "6.12.95"


class FakeHost:
    """A machine. Use it as a context manager, or `close` it."""

    def __init__(
        self,
        root: Path | None = None,
        *,
        iommu: bool = True,
        virtual: bool = False,
        lockdown: str | None = "none",
        modules: Iterable[str] = (),
        autoload: bool = True,
        release: str = RELEASE,
        seed: int = 1,
        udev: bool = False,
    ) -> None:
        """An empty machine.

        :param root: where its tree is made; None: a temporary folder, removed by `close`.
        :param iommu: whether it has IOMMU groups.
        :param virtual: whether it is a VM.
        :param lockdown: `none`, `integrity`, `confidentiality`; None: the kernel has no lockdown.
        :param modules: loaded at boot, besides the drivers of the cards.
        :param autoload: whether udev loads the drivers of VFs.
        :param release: `uname -r`.
        :param seed: of random addresses.
        :param udev: whether udev takes rules. That it keeps to them is not simulated.
        """
        self._temporary = temporary_folder() if root is None else None
        self.root = Path(self._temporary.name) if self._temporary else Path(root or "")
        self._tree = Tree(self.root)
        self._clock = VirtualClock()
        self._calls = Calls(self._clock)
        self.model = KernelModel(self._tree, self._clock, iommu=iommu, autoload=autoload, seed=seed)
        self.ovs = OvsModel(self._tree, lambda: frozenset(each.name for each in self.model.net.devices.values()))
        """Open vSwitch, which runs from its `start` on."""
        self.cards: list[Card] = []
        self.firmware_tool: NvConfigTool | None = None
        """The program for the settings in cards' firmware, if it is on the machine."""
        self.reset_tool: ResetTool | None = None
        """The program that resets cards, which comes with it."""
        self._programs = FakeCommands(self.model, self._calls, release=release)
        self.kernel = Kernel(
            files=FakeFiles(self.model, self._calls),
            links=FakeLinks(self.model, self._calls),
            devlink=FakeDevlink(self.model, self._calls),
            vdpa=FakeVdpa(self.model, self._calls),
            ethtool=FakeEthtool(self.model, self._calls, release),
            rdma=FakeRdma(self.model.rdma, self._calls),
            processes=FakeProcesses(self.model, self._calls),
            commands=self._programs,
            ovsdb=FakeOvsDb(self.ovs, self._calls),
            clock=FakeClock(self._clock),
        )
        """What `virtfn.host.machine.Machine` stands on."""
        self._tree.folder("sys/class/net")
        if udev:
            self._tree.folder("etc/udev/rules.d")
            self._tree.plain("run/udev/control", "")
        self._tree.file("proc/sys/kernel/osrelease", f"{release}\n")
        self._boots = 0
        self._seed = seed
        self._virtual = virtual
        self._boot()
        self._tree.file("proc/cpuinfo", f"processor\t: 0\nflags\t\t: fpu msr pae vmx{' hypervisor' * virtual}\n")
        self._tree.file("proc/cmdline", "BOOT_IMAGE=/vmlinuz ro quiet\n")
        if lockdown is not None:
            words = ("none", "integrity", "confidentiality")
            line = " ".join(f"[{word}]" if word == lockdown else word for word in words)
            self._tree.file("sys/kernel/security/lockdown", f"{line}\n")
        for module in modules:
            self._load_at_boot(module)

    # --- life ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Remove the temporary tree. What was asleep in the kernel ends."""
        self.model.operations.forget()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _boot(self) -> None:
        """Each boot has an id of its own (random(4))."""
        self._boots += 1
        boot_id = f"{self._seed:08x}-0000-4000-8000-{self._boots:012x}"
        self._tree.file("proc/sys/kernel/random/boot_id", f"{boot_id}\n")

    # --- hardware -----------------------------------------------------------------------------------------------------

    def add_card(
        self,
        profile: str | Profile,
        *,
        address: str = "0000:3b:00",
        ports: int | None = None,
        names: Sequence[str] = (),
        up: bool = False,
        bound: bool = True,
        sriov: bool = True,
        firmware: Mapping[str, Setting] | None = None,
        numa_node: int = 0,
        quirks: Quirks | None = None,
    ) -> Card:
        """Put in a card.

        :param profile: a profile, or the name of one that comes with virtfn.
        :param address: `domain:bus:device`, or with the function its first PF has.
        :param ports: PFs; None: as many as the profile says.
        :param names: of the PFs' netdevs, in order; those left out are named by path.
        :param up: whether the interfaces are brought up at boot.
        :param bound: whether the PFs' driver is loaded and takes them at boot.
        :param sriov: False: switched off in the BIOS, so there are no SR-IOV files.
        :param firmware: settings that differ from the profile's, in force already.
        """
        known = load_profile(profile) if isinstance(profile, str) else profile
        first = PciAddress.parse(address if "." in address else f"{address}.0")
        settings = Firmware.from_facts(known.firmware)
        for name, value in (firmware or {}).items():
            settings.current[name] = settings.next[name] = value
        card = Card(
            profile=known,
            address=first,
            ports=known.ports.count if ports is None else ports,
            firmware=settings,
            quirks=quirks or Quirks(),
            names=tuple(names),
            up=up,
            bound=bound,
            sriov=sriov,
            numa_node=numa_node,
        )
        for port in range(card.ports):
            if card.pf(port) in self.model.pci.functions:
                raise ValueError(f"{card.pf(port)}: there is a device at this address already")
        self.cards.append(card)
        self.model.learn(known)
        if known.firmware.tool and self.firmware_tool is None:
            self.install_firmware_tool(known.firmware.tool)
        if bound:
            self._load_at_boot(known.driver.module_name)
        self.model.power_up(card)
        return card

    def _load_at_boot(self, module: str) -> None:
        self.model.modules.load(module)
        self.model.modules.at_boot.add(module)

    def unplug(self, address: str | PciAddress) -> None:
        """Pull out a function with its VFs, or with `domain:bus:device` all that the card has. Nobody is asked."""
        text = str(address)
        if "." in text:
            gone = [self.model.function(text)]
        else:
            gone = [function for card in self.cards if card.slot == text for function in card.functions]
            if not gone:
                raise ValueError(f"{text}: there is no card at this address")
        for function in gone:
            self.model.remove(function)
            if function in function.card.functions:
                function.card.functions.remove(function)
        self.cards = [card for card in self.cards if card.functions]
        self.model.operations.wake()

    def reboot(self, *, power_cycle: bool = False) -> None:
        """Off and on again: VFs, overrides, modes and link settings are gone, pending firmware settings in force.

        :param power_cycle: with the power off for a while, which some cards want before they apply settings.
        """
        self._boot()
        self.model.operations.forget()
        self._clock.forget()
        for card in self.cards:
            for function in card.functions:
                self.model.remove(function)
            card.functions.clear()
            if power_cycle or not card.needs_power_cycle:
                card.firmware.apply()
        self.model.net.restart()
        self.model.pci.restart()
        self.model.vdpa.restart()
        self.model.rdma.restart()
        self.model.modules.restart()
        for card in self.cards:
            self.model.power_up(card)
        if self.ovs.switch_pid is not None:
            self.ovs.start_switch()

    def reset_card(self, card: Card) -> None:
        """Its functions are gone and come back as after a boot, pending firmware settings in force."""
        for function in card.functions:
            self.model.remove(function)
        card.functions.clear()
        if card.quirks.hotplug:
            card.firmware.apply()
        self.model.power_up(card)
        card.firmware.apply()
        self.model.operations.wake()

    # --- somebody else on the machine ---------------------------------------------------------------------------------

    def hold_vfio(self, address: str | PciAddress, *, pid: int = 4242, name: str = "qemu-system-x86") -> Process:
        """A process opens the vfio device of a function, which is bound to vfio-pci."""
        function = self.model.function(address)
        if function.driver is None or function.driver.name != "vfio-pci":
            raise ValueError(f"{address}: is not bound to vfio-pci, so nobody can open it")
        holder = Process(pid, name)
        function.holders.append(holder)
        return holder

    def release_vfio(self, address: str | PciAddress) -> None:
        """Whoever holds the function's vfio device closes it; what waited for that goes on."""
        self.model.function(address).holders.clear()
        self.model.operations.wake()

    def hold_vdpa(self, address: str | PciAddress, *, pid: int = 4343, name: str = "qemu-system-x86") -> Process:
        """A process opens the character device of the vDPA device on a function."""
        device = next((device for device in self.model.vdpa.on(self.model.function(address))), None)
        if device is None or device.driver != "vhost_vdpa":
            raise ValueError(f"{address}: has no vDPA device on vhost_vdpa, so nobody can open it")
        holder = Process(pid, name)
        device.holders.append(holder)
        return holder

    def release_vdpa(self, address: str | PciAddress) -> None:
        """Whoever holds the vDPA device on a function closes it; what waited for that goes on."""
        for device in self.model.vdpa.on(self.model.function(address)):
            device.holders.clear()
        self.model.operations.wake()

    def move_to_namespace(self, address: str | PciAddress) -> None:
        """The function's netdev goes to another network namespace, as for a pod."""
        netdev = self.model.function(address).netdev
        if netdev is None:
            raise ValueError(f"{address}: has no netdev")
        if self.model.rdma.mode == EXCLUSIVE and netdev.function.rdma is not None:
            self.model.rdma.hide(netdev.function)
        self.model.net.hide(netdev)
        self.model.rdma.add_namespace()

    def add_namespace(self) -> int:
        """A process with a network namespace of its own begins, as for a pod. Its pid."""
        return self.model.rdma.add_namespace()

    def remove_namespaces(self) -> None:
        """No network namespace is left but the first one."""
        self.model.rdma.remove_namespaces()

    def install(
        self, name: str, program: Program, *, writes: Callable[[tuple[str, ...]], bool] = lambda _: True
    ) -> None:
        """Put a program on the machine; `writes` tells from the arguments whether a run changes something."""
        self._programs.install(name, program, writes=writes)

    def install_firmware_tool(self, version: str) -> None:
        """Put the programs on the machine that set what cards keep in their firmware, and reset them, in a version."""

        def card_of(function: str) -> Card | None:
            slot = function.rpartition(".")[0]
            return next((card for card in self.cards if slot and card.slot.endswith(slot)), None)

        self.firmware_tool = NvConfigTool(card_of, version=version)
        self.install(TOOL, self.firmware_tool, writes=is_write)
        self.reset_tool = ResetTool(card_of, self.reset_card, virtual=self._virtual, version=version)
        self.install(RESET_TOOL, self.reset_tool, writes=is_reset)

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen while virtfn waits, so many virtual seconds from now."""
        self._clock.after(seconds, event)

    # --- record and faults --------------------------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        """Every call so far, reads too."""
        return self._calls.calls

    @property
    def writes(self) -> list[Call]:
        """Every call so far that was to change something, whether it did or not."""
        return self._calls.writes

    @property
    def dmesg(self) -> list[str]:
        """What the kernel and its drivers logged."""
        return self.model.dmesg

    def fail(
        self,
        match: Match,
        *,
        error: int | OSError | None = None,
        text: str = "",
        hang: bool = False,
        lie: bool | str | object = False,
        times: int | None = None,
    ) -> Fault:
        """Let calls go wrong, in one of three ways.

        :param match: a pattern as in file names for the target (`*/sriov_numvfs`) or for kind and target
            (`write */bind`, `set_vf ens1f0`, `run modprobe`); or a function of the `Call`.
        :param error: an errno, with `text` in place of the usual words; or the error itself.
        :param hang: no answer: TimeoutError after the caller's time-out, and nothing is done.
        :param lie: True: success is told and nothing is done, a read finds nothing; anything else is given as the
            answer of a read or of a program (its output, or a `CommandResult`).
        :param times: only so often; None: until `clear` is called on the result.
        """
        if (error is not None) + hang + (lie is not False) != 1:
            raise ValueError("a call can fail, hang, or lie: say which")
        problem = OSError(error, text or os.strerror(error)) if isinstance(error, int) else error
        fault = Fault(match, error=problem, hang=hang, answer=None if lie in (True, False) else lie, left=times)
        self._calls.faults.append(fault)
        return fault

    # --- state --------------------------------------------------------------------------------------------------------

    def function(self, address: str | PciAddress) -> PciFunction:
        """A function as the kernel has it. OSError(ENODEV)."""
        return self.model.function(address)

    def snapshot(self, *, leaving_out: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
        """What a user would call the state of the machine, by PCI address and `node`, to be compared with another.

        Not in it: what differs from one creation of a VF to the next though nobody wanted it (random addresses,
        interface numbers and kernel names), and modules that only udev loaded.

        :param leaving_out: beginnings of addresses (`0000:3b:00`), with the VFs of what they name.
        """
        prefixes = tuple(leaving_out)
        modules = self.model.modules
        state: dict[str, dict[str, Any]] = {"node": {"modules": sorted(modules.loaded - modules.by_udev)}}
        state["node"]["files"] = {
            f"{folder}/{name}": self._tree.read(f"{folder}/{name}")
            for folder in ("etc/udev/rules.d", "etc/systemd/network")
            for name in self._tree.listdir(folder)
            if not any(prefix in name for prefix in prefixes)
        }
        for name, function in sorted(self.model.pci.functions.items()):
            owner = function.physfn.name if function.physfn else name
            if not owner.startswith(prefixes) or not prefixes:
                state[name] = _state(function)
                state[name]["vdpa"] = [(device.name, device.driver) for device in self.model.vdpa.on(function)]
        if self.ovs.answers:
            state["node"]["ovs"] = self.ovs.snapshot()
        return state


def temporary_folder(prefix: str = "virtfn-ground-") -> TemporaryDirectory[str]:
    """In memory where the system has such a place: making a VF is some forty small files."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK | os.X_OK)
    return TemporaryDirectory(prefix=prefix, dir=memory if usable else None)


def _state(function: PciFunction) -> dict[str, Any]:
    netdev, sriov = function.netdev, function.sriov
    state: dict[str, Any] = {
        "driver": function.driver.name if function.driver else None,
        "driver_override": function.override,
        "mtu": netdev.mtu if netdev else None,
        "up": netdev.up if netdev else None,
        "tc_offload": netdev.tc_offload if netdev else None,
    }
    if function.physfn is None:
        state["name"] = netdev.name if netdev else None
        state["eswitch_mode"] = str(function.eswitch_mode)
        state["params"] = {
            name: (function.params.get((name, facts.mode), facts.value), function.initial.get(name, facts.value))
            for name, facts in function.card.profile.devlink.params.items()
        }
        state["firmware"] = {"current": dict(function.card.firmware.current), "next": dict(function.card.firmware.next)}
    if sriov is not None:
        state["numvfs"] = len(sriov.vfs)
        state["drivers_autoprobe"] = sriov.autoprobe
        state["vf_settings"] = [asdict(settings) for settings in sriov.admin[: len(sriov.vfs)]]
    return state
