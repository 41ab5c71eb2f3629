"""What is told when somebody asks why a node's VFs are as they are. Values only: `virtfn.policy.explain` makes them."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, Literal

from virtfn.model import Problem, VfRange
from virtfn.model.crd import NodeStateSpec
from virtfn.policy.selection import Mismatch

SettingField = Literal["numVfs", "mtu", "linkType", "eSwitchMode", "externallyManaged", "driftMode"]


class Part(StrEnum):
    """What a policy's part in a node is."""

    WINS = "wins"
    """It has VFs, or it is the last to say what a PF is like."""
    REPLACED = "replaced"
    """It selects NICs, and later policies took all of its VFs."""
    NO_VFS = "no-vfs"
    """It selects NICs and wants 0 VFs."""
    NO_NIC = "no-nic"
    """It selects the node and none of its NICs."""
    OTHER_NODE = "other-node"
    """It does not select the node."""
    REFUSED = "refused"
    """It is malformed, or asks for what cannot be, and is passed over."""


class WonBy(StrEnum):
    """Why one policy goes before another where both want the same VFs."""

    PRIORITY = "priority"
    """Its number is lower."""
    NAME = "name"
    """The priorities are equal, and its name comes later."""


@dataclass(frozen=True, slots=True)
class VfsOf:
    """VFs of a PF that are one policy's."""

    policy: str
    resource: str
    vf_range: VfRange


@dataclass(frozen=True, slots=True)
class Loss:
    """A VF group that a later policy took away whole, because their ranges meet."""

    group: VfsOf
    by: str
    won_by: WonBy

    def __str__(self) -> str:
        why = "a lower priority number" if self.won_by is WonBy.PRIORITY else "equal priority and a later name"
        return f"VFs {self.group.vf_range} of policy {self.group.policy} gave way to policy {self.by} ({why})"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a PF, and the policy it comes from."""

    field: SettingField
    value: int | str | bool | None
    """None: not set."""
    policy: str
    instead_of: int | str | bool | None = None
    """What an earlier policy had set, and this one does not want or says nothing of."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One policy applied to one PF, as the PF was left by it."""

    policy: str
    priority: int
    vf_range: VfRange
    kept: tuple[VfsOf, ...] = ()
    """Earlier policies' VFs that it left alone."""
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class PfExplained:
    """One PF that some policy makes VFs on."""

    pci_address: str
    name: str
    num_vfs: int
    groups: tuple[VfsOf, ...]
    """Who has which VFs in the end, in the node state's order: the latest policy first."""
    in_no_group: tuple[VfRange, ...]
    """VFs that are made and belong to nobody: they keep the driver the kernel gave them and are offered to no pod."""
    settings: tuple[Setting, ...]
    """Those that are set, or were until a later policy said otherwise."""
    applied: tuple[Applied, ...]
    """In the order they were applied; a later one goes before an earlier one."""

    @property
    def losses(self) -> tuple[Loss, ...]:
        """All VF groups that were taken away on the way."""
        return tuple(loss for applied in self.applied for loss in applied.losses)

    @property
    def label(self) -> str:
        """`0000:3b:00.0 (ens1f0)`, for messages."""
        return f"{self.pci_address} ({self.name})" if self.name else self.pci_address

    def winner(self, index: int) -> VfsOf | None:
        """Whose a VF is; None: nobody's."""
        return next((group for group in self.groups if index in group.vf_range), None)


@dataclass(frozen=True, slots=True)
class NicExplained:
    """One NIC as a policy sees it."""

    pci_address: str
    name: str
    mismatch: Mismatch | None = None
    """The first part of the NIC selector that does not hold; None: it is selected."""
    has: VfRange | None = None
    """The VFs it has there in the end."""
    lost: Loss | None = None
    """How it lost the VFs it wanted there."""

    @property
    def label(self) -> str:
        """`0000:3b:00.0 (ens1f0)`, for messages."""
        return f"{self.pci_address} ({self.name})" if self.name else self.pci_address


@dataclass(frozen=True, slots=True)
class PolicyExplained:
    """One policy's part in one node."""

    name: str
    part: Part
    priority: int | None = None
    """None: it is malformed."""
    node_mismatch: Mismatch | None = None
    """The first label of the node selector that does not hold."""
    nics: tuple[NicExplained, ...] = ()
    faults: tuple[str, ...] = ()
    """Why it is refused."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One node, as its policies make it."""

    node: str
    policies: tuple[PolicyExplained, ...]
    """In the order they apply, the refused ones last."""
    pfs: tuple[PfExplained, ...]
    spec: NodeStateSpec
    """What was rendered in the same run."""
    problems: tuple[Problem, ...] = ()

    def policy(self, name: str) -> PolicyExplained | None:
        """That policy's part here; None: there is no such policy."""
        return next((policy for policy in self.policies if policy.name == name), None)

    def pf(self, name_or_address: str) -> PfExplained | None:
        """The PF with this netdev name or PCI address, if a policy makes VFs on it."""
        return next((pf for pf in self.pfs if name_or_address in (pf.name, pf.pci_address)), None)

    def to_wire(self) -> dict[str, Any]:
        """Plain JSON data, names as the API's are written; what is empty or not known is left out."""
        data: dict[str, Any] = _wire(self)
        return data


def _wire(value: Any) -> Any:
    if isinstance(value, NodeStateSpec):
        return value.to_wire()
    if isinstance(value, VfRange):
        return str(value)
    if is_dataclass(value):
        data = {_camel_case(field.name): _wire(getattr(value, field.name)) for field in fields(value)}
        return {name: item for name, item in data.items() if item not in (None, "", [], {})}
    if isinstance(value, tuple):
        return [_wire(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
