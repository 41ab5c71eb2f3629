"""Pure values: what a machine has, what is wanted of it, and the plan between the two. No I/O anywhere below here."""

from virtfn.model.desired import DesiredAdapter, DesiredPf, DesiredState, VfBaseline, VfGroup, VfRange
from virtfn.model.inventory import (
    Adapter,
    DeviceType,
    EswitchMode,
    Inventory,
    LinkType,
    Netdev,
    Pf,
    Platform,
    Vf,
    VfSettings,
)
from virtfn.model.pci import PciAddress, PciId
from virtfn.model.plan import (
    Disruption,
    Need,
    NeedKind,
    Outcome,
    OutcomeStatus,
    Plan,
    Problem,
    Severity,
    Step,
    StepOutcome,
)
from virtfn.model.support import Capability, Claim, DeviceModel, Refusal

__all__ = [
    "Adapter",
    "Capability",
    "Claim",
    "DesiredAdapter",
    "DesiredPf",
    "DesiredState",
    "DeviceModel",
    "DeviceType",
    "Disruption",
    "EswitchMode",
    "Inventory",
    "LinkType",
    "Need",
    "NeedKind",
    "Netdev",
    "Outcome",
    "OutcomeStatus",
    "PciAddress",
    "PciId",
    "Pf",
    "Plan",
    "Platform",
    "Problem",
    "Refusal",
    "Severity",
    "Step",
    "StepOutcome",
    "Vf",
    "VfBaseline",
    "VfGroup",
    "VfRange",
    "VfSettings",
]
