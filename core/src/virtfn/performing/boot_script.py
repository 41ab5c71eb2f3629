"""A plan as a script for the next boot, and the unit that has systemd run it before the network starts.

The script needs nothing but sh, coreutils, ip and devlink, and does nothing to a PF that is not as a boot leaves it:
one that is gone, another card, one that has VFs already, or one that was given back. Each PF is by itself: what fails
on one does not keep the others, and what is left undone is the daemon's to finish.
"""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from virtfn.model import Inventory, Pf, Plan, steps
from virtfn.model.owned_files import BOOT_SCRIPT, MARK
from virtfn.performing.script import helpers, shell_lines

_HEAD = f"""\
#!/bin/sh
# {MARK}: makes the functions of these PFs again after a boot. Changes are overwritten.
set -u
"""

_READY = """\
# whether a PF is as a boot leaves it, and still wanted: ready PF VENDOR DEVICE RECORD
ready() {
    [ -e "$4" ] || { echo "$1: was given back" >&2; return 1; }
    tries=0
    until [ -e "$pci/$1/driver" ]; do
        tries=$((tries + 1)); [ "$tries" -le 300 ] || { echo "$1: no driver has taken it" >&2; return 1; }
        sleep 0.1
    done
    [ "$(cat "$pci/$1/vendor") $(cat "$pci/$1/device")" = "$2 $3" ] || { echo "$1: is another card" >&2; return 1; }
    [ "$(cat "$pci/$1/sriov_numvfs")" = 0 ] || { echo "$1: has VFs already" >&2; return 1; }
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
ExecStart=/bin/sh {BOOT_SCRIPT}
TimeoutStartSec=180
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
    lines = [_HEAD + helpers() + _READY]
    for step in plan.steps:
        if step.target == steps.NODE:
            lines += [f"{line} || true" for line in shell_lines(step, None)]
    found = [pf for pf in inventory.pfs() if any(step.target == str(pf.address) for step in plan.steps)]
    for pf in found:
        lines += _pf(pf, plan, journal)
    return "\n".join([*lines, 'exit "$failed"', ""]) if found else ""


def _pf(pf: Pf, plan: Plan, journal: str) -> list[str]:
    record = shlex.quote(f"{journal}/{pf.address}.json")
    lines = [f"\n# {pf.address}", f"if ready {pf.address} 0x{pf.id.vendor} 0x{pf.id.device} {record}; then", "( set -e"]
    for step in plan.steps:
        if step.target == str(pf.address):
            # the interface's name is asked for then: udev may not have given it yet
            lines += shell_lines(step, None)
    # sh forgets `set -e` in a subshell whose status is looked at, but not in one that is waited for
    return [
        *lines,
        ") &",
        f'wait "$!" || {{ echo "{pf.address}: not restored, the daemon goes on" >&2; failed=1; }}',
        "fi",
    ]
