"""Plans: ordered steps with their disruption and reason, the problems found on the way, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from virtfn.model.pci import PciAddress


class Disruption(IntEnum):
    """What a step takes away while it runs; ordered, so that the disruption of a plan is the largest of its steps."""

    NONE = 0
    """Nothing in use is taken away."""
    REFRESH = 1
    """The device plugin has to read the devices again."""
    VFS = 2
    """The VFs named in `affects` lose traffic."""
    PF = 3
    """Every VF of the PF is destroyed or unbound."""
    RESET = 4
    """The card is reset with all its ports, to bring into force what other steps set: a try that may spare the node the
    reboot or power cycle that those take. It is made only when the node is drained as for a reboot."""
    REBOOT = 5
    """The node has to be rebooted."""
    POWER_CYCLE = 6
    """The node has to be switched off and on."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """On the wire a disruption is its name."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.__members__[value],
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.name),
        )


class NeedKind(StrEnum):
    """What a step may need of the node."""

    IOMMU = "iommu"
    """IOMMU groups; no value."""
    MODULE = "module"
    """A kernel module, named as `modprobe` takes it."""


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """Something a step needs of the node; core turns all needs into node-level steps ahead of the adapters'."""

    kind: NeedKind
    value: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. A value: it can be printed, stored and sent.

    `op` is a standard operation (`sriov.set_numvfs`) or a plugin's own (`mellanox.set_nvconfig`: the word before the
    dot is the plugin's name). `target` is a PCI address (always the PF's, a VF is named by `args["vf"]`, its index) or
    `node`. `args` holds JSON values only.
    """

    op: str
    target: str
    why: str
    args: Mapping[str, Any] = field(default_factory=dict)
    disruption: Disruption = Disruption.NONE
    affects: tuple[PciAddress, ...] = ()
    """VFs that exist now and lose traffic."""
    needs: tuple[Need, ...] = ()
    optional: bool = False
    """If the driver cannot do it (EOPNOTSUPP), or has nobody to do it with, the step is skipped, not failed."""

    @property
    def card(self) -> str:
        """`domain:bus:device` of the card that it is about; `node` stays what it is."""
        return self.target.partition(".")[0]


class Severity(StrEnum):
    """An error stops the PF it names from being planned; a warning is only told."""

    ERROR = "error"
    WARNING = "warning"


IN_FIRMWARE = "InFirmware"
"""Reason of a warning by which a plugin says of a PF's field: as it is now that cannot be had, and `plan_firmware` has
the steps that change it. What core or generic has against the same field is then put aside, and the PF gets no other
steps until it is there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a request or a device: what, where, and what to do."""

    object: str
    """What it is about: a PCI address with name, or a policy."""
    message: str
    reason: str
    """CamelCase, from the error tree."""
    field: str = ""
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.object}: {self.field}: " if self.field else f"{self.object}: "
        return where + self.message + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered steps from what is observed to what is desired. Empty: in sync."""

    steps: tuple[Step, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def disruption(self) -> Disruption:
        """The largest of the steps'."""
        return max((step.disruption for step in self.steps), default=Disruption.NONE)

    @property
    def affects(self) -> tuple[PciAddress, ...]:
        """All VFs that lose traffic, sorted."""
        return tuple(sorted({address for step in self.steps for address in step.affects}))

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop something."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)


class OutcomeStatus(StrEnum):
    """What became of a step."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What became of one step."""

    step: Step
    status: OutcomeStatus
    detail: str = ""
    seconds: float = 0.0
    reason: str = ""
    """Reason of the error, when failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan: outcomes of the steps that were begun, in order. After a failure, its card's are not."""

    steps: tuple[StepOutcome, ...] = ()
    not_begun: tuple[Step, ...] = ()

    @property
    def failures(self) -> tuple[StepOutcome, ...]:
        """The steps that failed: at most one of each card."""
        return tuple(step for step in self.steps if step.status is OutcomeStatus.FAILED)

    @property
    def failed(self) -> StepOutcome | None:
        """The first step that failed, or None."""
        return next(iter(self.failures), None)
