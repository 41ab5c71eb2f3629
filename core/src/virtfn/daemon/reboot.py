"""Rebooting the node through the host's systemd."""

from __future__ import annotations

import logging
from typing import Final

from virtfn.errors import CommandFailed
from virtfn.host.machine import Machine

logger = logging.getLogger(__name__)

UNIT: Final = "virtfn-reboot"
_COMMAND: Final = (
    "systemd-run", "--collect", "--no-block", f"--unit={UNIT}", "--description=Reboot, asked for by virtfn",
    "systemctl", "reboot",
)  # fmt: skip
_SECONDS: Final = 60.0


def boot_id(machine: Machine) -> str:
    """Tells one boot from another (random(4)); empty where the kernel does not say."""
    return machine.read_text("/proc/sys/kernel/random/boot_id") or ""


def reboot(machine: Machine) -> None:
    """Ask for a reboot, and come back.

    A unit of its own asks systemctl: a systemctl that is started in a chroot, as programs of the host are from a
    container, takes itself for one that has no system to reboot.

    :raises CommandFailed: systemd did not take it.
    """
    logger.warning("this node is rebooted now")
    result = machine.run(_COMMAND, timeout=_SECONDS)
    if result.code != 0:
        said = (result.stderr or result.stdout).strip()
        raise CommandFailed(
            f"systemd-run: the reboot was not taken (exit {result.code}: {said})",
            argv=result.argv,
            code=result.code,
            output=said,
        )
