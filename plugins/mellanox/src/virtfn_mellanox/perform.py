"""Setting a card's firmware: only what is not set already, and read back afterwards.

To set is not to have: nothing changes before the next reset, which is another's business (the daemon reboots a node
once it is drained; a power cycle is a person's).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Final

from virtfn.errors import CommandFailed, ContractViolation, KernelRefused, LockdownActive, NotEffective
from virtfn.host.api import CommandResult, Host, ParamMode
from virtfn.model import Adapter, Disruption, OutcomeStatus, PciAddress, Step, StepOutcome
from virtfn_mellanox.changes import AWAIT_POWER_CYCLE, AWAIT_REBOOT, DEVLINK, RESET_CARD, SET_NVCONFIG, SETTINGS
from virtfn_mellanox.facts import ENABLE_SRIOV, NUM_OF_VFS, SRIOV, TOTAL_VFS, Known, permanent, refuse_under_lockdown
from virtfn_mellanox.known_bad import refusal
from virtfn_mellanox.mstconfig import SECONDS, TOOL, read_settings, read_version, write_settings
from virtfn_mellanox.reset import try_reset
from virtfn_mellanox.settings import Setting, Value, same, told

_SETTINGS: Final = {ENABLE_SRIOV: SRIOV, TOTAL_VFS: NUM_OF_VFS}
"""What the devlink parameters are in the tool's words."""


def perform_step(step: Step, adapter: Adapter, host: Host) -> StepOutcome | None:
    """Do a step of the plugin's own; None: it is not one."""
    if step.op == SET_NVCONFIG:
        settings, devlink = step.args.get(SETTINGS) or {}, step.args.get(DEVLINK) or {}
        if not settings and not devlink:
            raise ContractViolation(f"{step.target}: {step.op} lacks {SETTINGS}", plugin="mellanox")
        function, reboot = PciAddress.parse(step.target), step.disruption is Disruption.REBOOT
        said = []
        if devlink:
            said.append(_set_by_devlink(function, devlink, adapter, host, reboot=reboot))
        if settings:
            said.append(_set(function, settings, adapter, host, reboot=reboot))
        return StepOutcome(step, OutcomeStatus.DONE, detail="; ".join(said))
    if step.op == AWAIT_POWER_CYCLE:
        detail = f"{step.target}: what is set comes into force when the node is switched off and on, by a person"
        return StepOutcome(step, OutcomeStatus.SKIPPED, detail=detail)
    if step.op == AWAIT_REBOOT:
        return StepOutcome(step, OutcomeStatus.SKIPPED, detail=f"{step.target}: the kernel reads it at the next boot")
    if step.op == RESET_CARD:
        settings, devlink = step.args.get(SETTINGS) or {}, step.args.get(DEVLINK) or {}
        totals = {address: values[TOTAL_VFS] for address, values in devlink.items() if TOTAL_VFS in values}
        if (number := settings.get(NUM_OF_VFS)) is not None:
            totals |= {str(pf.address): number for pf in adapter.pfs}
        return try_reset(step, adapter, host, settings=settings, totals=totals)
    return None


def _set_by_devlink(
    function: PciAddress, wanted: Mapping[str, Value], adapter: Adapter, host: Host, *, reboot: bool
) -> str:
    """What is then to be told to people.

    By devlink mlx5 sets a port's own number only (mlx5/core/lib/nv_param.c): the card goes over from one number for all
    ports to one for each, and what the others had is as if it had never been set. So that is put back. Cards that know
    one number only can be read by devlink, and take the tool to be set.
    """
    pfs = [function, *(pf.address for pf in adapter.pfs if pf.address != function)]
    values = {pf: {name: permanent(host, pf, name) for name in _SETTINGS} for pf in pfs}
    values[function] |= wanted
    try:
        for pf in pfs:
            # Twice, as what was as wanted may have been the card's number, and the port's own one is another.
            for name, value in [*values[pf].items()] * 2:
                if value is not None:
                    host.set_devlink_param(pf, name, value, mode=ParamMode.PERMANENT)
    except KernelRefused as refused:
        if refused.errno != errno.EOPNOTSUPP:
            raise
        settings = {_SETTINGS[name]: value for name, value in wanted.items()}
        try:
            return _set(function, settings, adapter, host, reboot=reboot)
        except CommandFailed as error:
            raise CommandFailed(f"{refused}, and {error}", device=str(function)) from error
    if reboot:
        try:  # the kernel only writes: the tool, if there is one, asks the firmware to reset itself at the reboot
            return _set(function, {SRIOV: True}, adapter, host, reboot=True)
        except (CommandFailed, LockdownActive) as error:
            return f"in force after the next reset (the firmware is not prepared for the reboot: {error})"
    return "in force after the next reset"


def _set(function: PciAddress, wanted: Mapping[str, Value], adapter: Adapter, host: Host, *, reboot: bool) -> str:
    """What is then to be told to people.

    :param reboot: a reboot is to bring it into force. The tool prepares the firmware for it, so it sets anew what is
        set already.
    :raises LockdownActive: nothing can be written.
    :raises NotEffective: the tool says that it did, and the firmware has it not; or no reboot helps.
    :raises CommandFailed: the tool or the firmware refuses.
    """
    device = str(function)
    refuse_under_lockdown(host, device)

    def ask(argv: Sequence[str], _device: str) -> CommandResult:
        return host.run(argv, timeout=SECONDS, device=device)

    version, functions = read_version(ask), [pf.address for pf in adapter.pfs]
    before = read_settings(ask, functions, version)
    if unknown := sorted(name for name in wanted if name not in before):
        raise CommandFailed(f"{device}: the card's firmware has no setting {', '.join(unknown)}", device=device)
    values = {name: _more(before[name].next, value) for name, value in wanted.items()}
    lacking = {name: value for name, value in values.items() if not same(before[name].next, value)}
    if not lacking and not reboot:
        return "was set already"
    said = write_settings(ask, function, lacking or values)
    after = read_settings(ask, functions, version) if lacking else {}
    for name, value in lacking.items():
        seen = after.get(name, Setting()).next
        if not same(seen, value):
            raise NotEffective(
                f"{device}: cannot set {name} to {told(value)} ({TOOL} says that it did, and it reads {told(seen)}"
                " for the next boot)",
                device=device,
            )
    known = Known.of(adapter)
    if reboot and known.no_reset != "" and (bad := refusal(version, known.firmware, said)) is not None:
        raise NotEffective(f"{device}: the node is not rebooted, as {bad[0]}: {bad[1]}", device=device)
    return said


def _more(seen: Value | None, wanted: Value) -> Value:
    """A number that has become larger since it was planned is left as it is: another port may want it."""
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not isinstance(seen, int):
        return wanted
    return max(seen, wanted)
