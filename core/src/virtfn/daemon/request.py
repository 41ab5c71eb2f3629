"""What is wanted of this node, wherever it comes from, held against what the node has. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from virtfn.daemon.gate import Handshake
from virtfn.journal import Record
from virtfn.model import DesiredState, Inventory, PciAddress, Problem, Severity
from virtfn.model.crd import DriftMode, NodeStateSpec
from virtfn.planning import given_back
from virtfn.policy import desired_state


@dataclass(frozen=True, slots=True)
class Request:
    """A node state's spec, with the words that belong to it."""

    spec: NodeStateSpec | Mapping[str, Any]
    """The model, or plain data that nobody has looked at yet."""
    generation: int = 0
    uid: str = ""
    """Tells a node state from one of the same name that was deleted."""
    handshake: Handshake = field(default_factory=Handshake)
    problems: tuple[Problem, ...] = ()
    """What was wrong with that from which the spec was rendered."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A request that was understood, as far as that is possible."""

    desired: DesiredState = field(default_factory=DesiredState)
    modes: Mapping[PciAddress, DriftMode] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


Release = Callable[[Sequence[PciAddress]], DesiredState]
"""The desired state that gives PFs back."""


def read_request(
    request: Request, inventory: Inventory, records: Mapping[PciAddress, Record], *, release: Release, settle: bool
) -> Reading:
    """What is wanted: PFs that are named, and the return of those that are not and were configured before.

    While it is not known which PFs are meant, none is given back.

    :param records: the journal.
    :param settle: give nothing back yet, for the request may not be the last word.
    :raises InvalidDocument: it cannot be told at all what is wanted.
    """
    desired, problems = desired_state(request.spec, inventory)
    entries = _entries(request.spec)
    named = {want.address for want in desired.pfs} | set(desired.refused)
    if not settle and all(PciAddress.read(entry.get(_ADDRESS)) is not None for entry in entries):
        back = [address for address in sorted(records) if address not in named and inventory.pf(address) is not None]
        desired = replace(desired, pfs=(*desired.pfs, *release(back).pfs))
        desired = given_back(inventory, desired)
    return Reading(desired, _modes(entries), (*request.problems, *problems))


def is_unrendered(request: Request) -> bool:
    """Whether the node state is as it was created, so that nobody may have rendered policies into it yet.

    A controller makes an empty one, and fills it when it has seen the node's interfaces. That is not a wish to give
    everything back.
    """
    return request.generation == 1 and not _entries(request.spec)


def errors_of(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Those that stop something, each once."""
    return tuple(dict.fromkeys(problem for problem in problems if problem.severity is Severity.ERROR))


_ADDRESS: Final = "pciAddress"


def _entries(spec: NodeStateSpec | Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if isinstance(spec, NodeStateSpec):
        return [{_ADDRESS: entry.pci_address, "driftMode": entry.drift_mode} for entry in spec.interfaces]
    entries = spec.get("interfaces")
    if not isinstance(entries, list | tuple):
        return ()
    return [entry if isinstance(entry, Mapping) else {} for entry in entries]


def _modes(entries: Sequence[Mapping[str, Any]]) -> dict[PciAddress, DriftMode]:
    modes = {}
    for entry in entries:
        address, word = PciAddress.read(entry.get(_ADDRESS)), entry.get("driftMode")
        if address is not None and word in list(DriftMode):
            modes[address] = DriftMode(word)
    return modes
