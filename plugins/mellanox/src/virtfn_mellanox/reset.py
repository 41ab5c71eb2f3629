"""Resetting a card while the node runs, with `mstfwreset`: it brings into force what is set, and may spare a reboot.

All functions of the card lose their link, and what stands on them, for as long as it takes. The tool wants both ports
without VFs (sriov-network-operator#904), and does nothing in a VM. It is a try: whatever goes wrong is told, and the
node is rebooted as it would have been. A card that several hosts share is reset for all of them, which nothing here can
see; that is one reason why it is done only where somebody has allowed it.

The firmware is then as it was set, and the kernel may not know of it: how many VFs a PF can have is read when PCI is
enumerated, which is done anew where the slot is one for hot-plugging; elsewhere the tool puts back what PCI was set up
with (`to_restore_pci_conf` in its source). A reboot does the rest, for BlueField-2 too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from virtfn.errors import CommandFailed, DeviceBusy, HostError, NotEffective
from virtfn.host.api import CommandResult, Host
from virtfn.model import Adapter, OutcomeStatus, PciAddress, Step, StepOutcome
from virtfn_mellanox.facts import RESET_TOOL, refuse_under_lockdown, users_of
from virtfn_mellanox.mstconfig import SECONDS, TOOL, read_settings, read_version
from virtfn_mellanox.settings import Setting, Value, errors_of, same, told

RESET_SECONDS: Final = 300.0
"""For the tool, which warns that a BlueField may take several minutes."""
BACK_SECONDS: Final = 60.0
"""From the tool's end until the ports have their netdevs again."""


def try_reset(
    step: Step, adapter: Adapter, host: Host, *, settings: Mapping[str, Value], totals: Mapping[str, int]
) -> StepOutcome:
    """Done only if what is set is then in force; skipped with the reason otherwise.

    :param settings: what is to be in force, by name.
    :param totals: how many VFs the kernel is to allow, by PCI address.
    """
    function = PciAddress.parse(step.target)
    try:
        _reset(function, adapter, host)
        _look(function, adapter, host, settings)
        _look_at_kernel(function, host, totals)
    except HostError as error:
        return StepOutcome(step, OutcomeStatus.SKIPPED, detail=str(error))
    return StepOutcome(step, OutcomeStatus.DONE, detail="the card was reset")


def _reset(function: PciAddress, adapter: Adapter, host: Host) -> None:
    device = str(function)
    refuse_under_lockdown(host, device)
    if users := users_of(adapter, host):
        raise DeviceBusy(f"{device}: the card is not reset, as {users}", device=device)
    for pf in adapter.pfs:
        host.set_num_vfs(pf.address, 0)
    result = host.run(
        (RESET_TOOL, "-d", device, "--skip_driver", "-l", "3", "-y", "reset"), timeout=RESET_SECONDS, device=device
    )
    if result.code != 0 or errors_of(result.stdout):
        raise _failed(device, result)
    with_netdev = [pf.address for pf in adapter.pfs if pf.netdev is not None]
    host.wait_until(
        lambda: all(host.netdev_names(address) for address in with_netdev),
        timeout=BACK_SECONDS,
        why="the netdevs of the card that was reset",
        device=device,
    )


def _look(function: PciAddress, adapter: Adapter, host: Host, wanted: Mapping[str, Value]) -> None:
    """:raises NotEffective: a setting is not in force."""
    if not wanted:
        return

    def ask(argv: Sequence[str], device: str) -> CommandResult:
        return host.run(argv, timeout=SECONDS, device=device)

    seen = read_settings(ask, [pf.address for pf in adapter.pfs], read_version(ask))
    for name, value in wanted.items():
        now = seen.get(name, Setting()).current
        more = type(now) is type(value) is int and now > value
        if not same(now, value) and not more:
            raise NotEffective(
                f"{function}: {RESET_TOOL} says that it reset the card, and by {TOOL} {name} is {told(now)}, not"
                f" {told(value)}",
                device=str(function),
            )


def _look_at_kernel(function: PciAddress, host: Host, totals: Mapping[str, int]) -> None:
    """:raises NotEffective: the kernel has not read it anew."""
    for address, wanted in totals.items():
        seen = host.pci_attribute(PciAddress.parse(address), "sriov_totalvfs") or "0"
        if seen.isdigit() and int(seen) < wanted:
            raise NotEffective(
                f"{function}: the card was reset, and the kernel still lets {address} have {seen} VFs, not {wanted}: it"
                " reads that when the node boots, or where the slot is one for hot-plugging",
                device=str(function),
            )


def _failed(device: str, result: CommandResult) -> CommandFailed:
    said = " ".join(errors_of(result.stdout)) or result.stderr.strip().partition("\n")[0][:200] or "it said nothing"
    return CommandFailed(
        f"{device}: {RESET_TOOL} failed ({said}; exit code {result.code})",
        device=device,
        argv=result.argv,
        code=result.code,
        output=result.stdout + result.stderr,
    )
