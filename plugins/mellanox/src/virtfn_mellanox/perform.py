"""Setting a card's firmware: only what is not set already, and read back afterwards.

To set is not to have: nothing changes before the next reset, which is another's business (the daemon reboots a node
once it is drained; a power cycle is a person's).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from virtfn.errors import CommandFailed, ContractViolation, NotEffective, UnsupportedSetting
from virtfn.host.api import CommandResult, Host, ParamMode
from virtfn.model import Adapter, OutcomeStatus, PciAddress, Step, StepOutcome
from virtfn_mellanox.changes import AWAIT_POWER_CYCLE, DEVLINK, RESET_CARD, SET_NVCONFIG, SETTINGS
from virtfn_mellanox.facts import Known, refuse_under_lockdown
from virtfn_mellanox.known_bad import refusal
from virtfn_mellanox.mstconfig import SECONDS, TOOL, read_settings, read_version, write_settings
from virtfn_mellanox.reset import try_reset
from virtfn_mellanox.settings import Setting, Value, same, told


def perform_step(step: Step, adapter: Adapter, host: Host) -> StepOutcome | None:
    """Do a step of the plugin's own; None: it is not one."""
    if step.op == SET_NVCONFIG:
        settings, devlink = step.args.get(SETTINGS) or {}, step.args.get(DEVLINK) or {}
        if not settings and not devlink:
            raise ContractViolation(f"{step.target}: {step.op} lacks {SETTINGS}", plugin="mellanox")
        function = PciAddress.parse(step.target)
        for name, value in devlink.items():
            host.set_devlink_param(function, name, value, mode=ParamMode.PERMANENT)
        detail = _set(function, settings, adapter, host) if settings else "in force after the next reset"
        return StepOutcome(step, OutcomeStatus.DONE, detail=detail)
    if step.op == AWAIT_POWER_CYCLE:
        detail = f"{step.target}: what is set comes into force when the node is switched off and on, by a person"
        return StepOutcome(step, OutcomeStatus.SKIPPED, detail=detail)
    if step.op == RESET_CARD:
        return try_reset(step, adapter, host, settings=step.args.get(SETTINGS) or {})
    return None


def _set(function: PciAddress, wanted: Mapping[str, Value], adapter: Adapter, host: Host) -> str:
    """What is then to be told to people.

    :raises LockdownActive: nothing can be written.
    :raises UnsupportedSetting: by this tool nothing is.
    :raises NotEffective: the tool says that it did, and the firmware has it not.
    :raises CommandFailed: the tool or the firmware refuses.
    """
    device = str(function)
    refuse_under_lockdown(host, device)

    def ask(argv: Sequence[str], _device: str) -> CommandResult:
        return host.run(argv, timeout=SECONDS, device=device)

    version = read_version(ask)
    if (bad := refusal(version, Known.of(adapter).firmware)) is not None:
        raise UnsupportedSetting(f"{device}: the firmware is not written, as {bad[0]}", field="numVfs", hint=bad[1])
    functions = [pf.address for pf in adapter.pfs]
    before = read_settings(ask, functions, version)
    lacking = {name: value for name, value in wanted.items() if not same(before.get(name, Setting()).next, value)}
    if not lacking:
        return "was set already"
    if unknown := sorted(name for name in lacking if name not in before):
        raise CommandFailed(f"{device}: the card's firmware has no setting {', '.join(unknown)}", device=device)
    said = write_settings(ask, function, lacking)
    after = read_settings(ask, functions, version)
    for name, value in lacking.items():
        seen = after.get(name, Setting()).next
        if not same(seen, value):
            raise NotEffective(
                f"{device}: cannot set {name} to {told(value)} ({TOOL} says that it did, and it reads {told(seen)}"
                " for the next boot)",
                device=device,
            )
    return said
