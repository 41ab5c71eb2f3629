"""A tool and a firmware that do not go together: no node is rebooted for what this tool has set in this firmware.

Whatever a tool sets is loaded when the firmware is reset, so the tool asks the firmware to reset itself at the next
reboot. From mstflint 4.32 on it asks for more in the same breath (when the PCI link goes down as well: bits 6 and 3 of
`reset_trigger` in mlxcfg_generic_commander.cpp, bit 6 alone before), and older firmware, of ConnectX-6 Dx for one,
refuses the whole: then a reboot changes nothing, and nodes were rebooted for ever
(k8snetworkplumbingwg/sriov-network-operator#1082, openshift-kni/telco-reference#779, which met it with 4.34 as that
followed on 4.30). From which firmware on it is taken is written nowhere, but the tool says so each time it has set
something: `Please power cycle machine to load new configurations.` in place of `Please reboot machine ...`.
"""

from __future__ import annotations

from typing import Final

from virtfn_mellanox.mstconfig import PACKAGE, Version

ASKS_FOR_MORE_SINCE: Final = (4, 32)
_NOT_PREPARED: Final = ("power cycle", "skipped reset preparation")
"""The second from 4.34 on, for a BlueField whose processor goes on through a reboot."""
_SOURCES: Final = "sriov-network-operator#1082, telco-reference#779"


def refusal(tool: Version | None, firmware: Version | None, said: str) -> tuple[str, str] | None:
    """Why no reboot brings into force what was set, and what to do instead; None: one does.

    :param said: what the tool said has to follow.
    """
    if not any(words in said.lower() for words in _NOT_PREPARED):
        return None
    names = f"{_named(PACKAGE, tool)} and {_named('firmware', firmware)}"
    why = f"{names} do not go together: what is set does not come into force by a reboot (the tool says: {said}"
    hint = "power cycle the node, which brings it into force, or update the card's firmware"
    if tool is None or tool < ASKS_FOR_MORE_SINCE:
        return f"{why})", hint
    return f"{why}; {_SOURCES})", f"{hint}, or install {PACKAGE} before 4.32"


def _named(what: str, version: Version | None) -> str:
    return f"{what} {'.'.join(map(str, version))}" if version else f"this {what}"
