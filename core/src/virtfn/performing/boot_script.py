"""A plan as a script for the next boot, and the unit that has systemd run it before the network starts.

The script needs nothing but sh, coreutils, ip and devlink, and does nothing to a PF that is not as a boot leaves it:
one that is gone, another card, one that has VFs already, or one that was given back. Each PF is by itself, and so is
each of its VFs: what fails on one does not keep the others, and what is left undone is the daemon's to finish.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import groupby
from pathlib import PurePosixPath

from virtfn.model import Inventory, Pf, Plan, Step, steps
from virtfn.model.owned_files import BOOT_SCRIPT, MARK
from virtfn.performing.script import shell_lines
from virtfn.performing.shell import HELPERS

_HEAD = f"""\
#!/bin/sh
# {MARK}: makes the functions of these PFs again after a boot. Changes are overwritten.
set -u
"""

_READY = """\
# whether a PF is as a boot leaves it, and still wanted: ready PF VENDOR DEVICE RECORD
waited=0  # tenths of a second, for all PFs that are not there
ready() {
    [ -e "$4" ] || { echo "$1: was given back" >&2; return 1; }
    until [ -e "$pci/$1/driver" ]; do
        waited=$((waited + 1)); [ "$waited" -le 300 ] || { echo "$1: no driver has taken it" >&2; return 1; }
        sleep 0.1
    done
    look "$pci/$1/vendor"; vendor=$line; look "$pci/$1/device"
    [ "$vendor $line" = "$2 $3" ] || { echo "$1: is another card" >&2; return 1; }
    look "$pci/$1/sriov_numvfs"; [ "$line" = 0 ] || { echo "$1: has VFs already" >&2; return 1; }
}
failed=0
! command -v udevadm > /dev/null || udevadm settle --timeout=30 || true
"""

UNIT = f"""\
# {MARK}. Changes are overwritten; `systemctl mask virtfn-restore.service` keeps it from being run.
[Unit]
Description=SR-IOV functions as virtfn had made them, before the network starts
DefaultDependencies=no
RequiresMountsFor={PurePosixPath(BOOT_SCRIPT).parent}
After=systemd-udevd.service systemd-udev-trigger.service systemd-modules-load.service local-fs.target
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
ConditionPathExists={BOOT_SCRIPT}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {BOOT_SCRIPT}
TimeoutStartSec=300
"""

WANTS = f"""\
# {MARK}. Changes are overwritten.
[Unit]
Wants=virtfn-restore.service
"""


def boot_script(plan: Plan, inventory: Inventory, *, journal: str) -> str:
    """The script; empty when there is nothing to make.

    :param plan: from the node as a boot leaves it.
    :param journal: folder of the journal, as the host sees it: a PF without a record there is left alone.
    """
    lines = [_HEAD + HELPERS + _READY]
    for step in plan.steps:
        if step.target == steps.NODE:
            lines += _best_effort(step)
    found = [pf for pf in inventory.pfs() if any(step.target == str(pf.address) for step in plan.steps)]
    for pf in found:
        lines += _pf(pf, plan, journal)
    return "\n".join([*lines, 'exit "$failed"', ""]) if found else ""


def _pf(pf: Pf, plan: Plan, journal: str) -> list[str]:
    record = shlex.quote(f"{journal}/{pf.address}.json")
    lines = [f"\n# {pf.address}", f"if ready {pf.address} 0x{pf.id.vendor} 0x{pf.id.device} {record}; then"]
    lines += ["( set -e", "bad=0"]
    own = [step for step in plan.steps if step.target == str(pf.address)]
    for vf, of_vf in groupby(own, key=lambda step: step.args.get("vf")):
        commands = [line for step in of_vf for line in _commands(step)]
        lines += commands if vf is None else ["( set -e", *commands, ") &", f"{_WAIT} || bad=1  # VF {int(vf)}"]
    told = f'echo "{pf.address}: not all is restored, the daemon goes on" >&2'
    return [*lines, 'exit "$bad"', ") &", f"{_WAIT} || {{ {told}; failed=1; }}", "fi"]


def _commands(step: Step) -> list[str]:
    """Of a step of a PF; the interface's name is asked for when they run: udev may not have given it before."""
    return _best_effort(step) if step.op == steps.LOAD_MODULE else shell_lines(step, None)


def _best_effort(step: Step) -> list[str]:
    """What the daemon does again if need be, and what nothing else waits for."""
    return [f"{line} || true" for line in shell_lines(replace(step, optional=False), None)]


_WAIT = 'wait "$!"'
"""sh forgets `set -e` in a subshell whose status is looked at, but not in one that is waited for."""
