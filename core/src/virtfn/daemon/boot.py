"""Keeps the script and unit on the host that make VFs again after a boot, before the network starts.

What they hold is planned anew at every look, from what the journal says was brought about whole; files are written only
where their texts differ. A PF that is being changed or given back is not among them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from virtfn.errors import HostError
from virtfn.host.machine import Machine
from virtfn.model import DesiredPf, DesiredState
from virtfn.model.owned_files import BOOT_SCRIPT, BOOT_UNIT, BOOT_WANTS
from virtfn.node import Node, Observation
from virtfn.performing.boot_script import UNIT, WANTS, boot_script
from virtfn.planning import restored_after_boot

logger = logging.getLogger(__name__)

_SYSTEMD: Final = "/run/systemd/system"


class BootKeeper:
    """One node's.

    :param journal: folder of the journal, where the host has it too.
    """

    def __init__(self, node: Node, machine: Machine, *, journal: Path) -> None:
        self._node = node
        self._machine = machine
        self._journal = journal
        self._trouble = ""

    def keep(self, observation: Observation, desired: DesiredState) -> None:
        """Bring the files up to date; what is in the way is logged, once: the daemon makes the VFs later."""
        if not self._machine.path_exists(_SYSTEMD):
            return
        try:
            self._write(self._script(observation, self._whole(observation, desired)))
        except HostError as error:
            if str(error) != self._trouble:
                logger.warning("VFs are not made before the network starts after a boot: %s", error)
            self._trouble = str(error)
        else:
            self._trouble = ""

    @staticmethod
    def _whole(observation: Observation, desired: DesiredState) -> tuple[DesiredPf, ...]:
        records = observation.records
        return tuple(
            want
            for want in restored_after_boot(desired.pfs)
            if want.address in records and records[want.address].applied == want
        )

    def _script(self, observation: Observation, wanted: Sequence[DesiredPf]) -> str:
        if not wanted:
            return ""
        plan, inventory = self._node.after_boot(observation, wanted)
        return boot_script(plan, inventory, journal=str(self._journal.absolute()))

    def _write(self, script: str) -> None:
        texts = {BOOT_SCRIPT: script, BOOT_UNIT: UNIT, BOOT_WANTS: WANTS}
        if not script:
            for path in reversed(texts):
                if self._machine.path_exists(path):
                    self._machine.remove_file(path)
                    logger.info("%s: removed", path)
            return
        for path, text in texts.items():
            if self._machine.read_text(path) != text.strip():
                self._machine.write_file(path, text, mode=0o755 if path == BOOT_SCRIPT else 0o644)
                logger.info("%s: written", path)
