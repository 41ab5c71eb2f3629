"""`mstfwreset` on a simulated machine: the program that resets a card while the node runs.

What it prints is from the source of mstflint (mlxfwreset) and from a run of 4.21 in a VM; no whole transcript of a
real one was found. That it fails on a card with VFs is known (sriov-network-operator#904); the words are assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from virtfn.host.api import CommandResult
from virtfn.testing.ground.card import Card

TOOL: Final = "mstfwreset"
_FAILED: Final = 1
_STEPS: Final = ("Sending Reset Command To Fw", "Stopping Driver", "Resetting PCI", "Starting Driver", "Restarting MST")
_DRIVER: Final = frozenset({"Stopping Driver", "Starting Driver"})


class ResetTool:
    """The program.

    :param card_of: the card that a function belongs to, by the function's address; None: there is none.
    :param reset: does it.
    :param virtual: whether the machine is a VM.
    :param version: `4.21.0`.
    """

    def __init__(
        self,
        card_of: Callable[[str], Card | None],
        reset: Callable[[Card], None],
        *,
        virtual: bool,
        version: str,
    ) -> None:
        self._card_of = card_of
        self._reset = reset
        self._virtual = virtual
        self.version = version

    def __call__(self, argv: tuple[str, ...]) -> CommandResult:
        """Run it."""
        if "-v" in argv or "--version" in argv:
            return CommandResult(argv, 0, f"{TOOL}, mstflint {self.version}, Git SHA Hash: N/A\n", "")
        if self._virtual:
            return _complaint(argv, "The tool is not supported on virtual machines.")
        device = argv[argv.index("-d") + 1] if "-d" in argv else ""
        card = self._card_of(device)
        if card is None:
            return _complaint(argv, f"Failed to Identify Device: {device}, No such file or directory.")
        if "-y" not in argv:
            return _complaint(argv, "Aborted by user.")
        if any(function.vfs for function in card.functions):
            return _complaint(argv, "Firmware reset failed, retry operation or reboot machine.", done=_told(_STEPS[:1]))
        self._reset(card)
        skipped = _DRIVER if "--skip_driver" in argv else frozenset()
        said = [
            f"The reset level for device, {device} is:",
            "",
            "3: Driver restart and PCI reset",
            "Continue with reset?[y/N] y",
            *_told(_STEPS, skipped=skipped),
            "-I- FW was loaded successfully.",
        ]
        return CommandResult(argv, 0, "\n".join(said) + "\n", "")


def is_reset(argv: Sequence[str]) -> bool:
    """Whether a run changes something."""
    return "reset" in argv[1:]


def _told(steps: Sequence[str], *, skipped: frozenset[str] = frozenset()) -> list[str]:
    return [f"-I- {step:<40}-{'Skipped' if step in skipped else 'Done'}" for step in steps]


def _complaint(argv: tuple[str, ...], text: str, *, done: Sequence[str] = ()) -> CommandResult:
    return CommandResult(argv, _FAILED, "\n".join([*done, f"-E- {text}"]) + "\n", "")
