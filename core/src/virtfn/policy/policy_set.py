"""The policies of a cluster, made ready once and then applied to any number of nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from virtfn.errors import InvalidDocument
from virtfn.model import Problem, Severity, VfRange
from virtfn.model.crd import IGNORED_POLICY, SriovNetworkNodePolicy, VfGroupSpec
from virtfn.policy.bridges import bridge_fault
from virtfn.policy.reading import Fault, faults_of, name_of, policy_label


@dataclass(frozen=True, slots=True)
class ReadyPolicy:
    """One policy, and what of it is the same on every node."""

    policy: SriovNetworkNodePolicy
    label: str
    """How it is called in problems."""
    bridge_fault: Fault | None
    """Why the bridge that it asks for cannot be."""
    _groups: dict[VfRange, VfGroupSpec] = field(default_factory=dict, compare=False, repr=False)

    def group(self, vf_range: VfRange) -> VfGroupSpec:
        """The VF group that the policy makes of a range. Values of a model are frozen, so nodes can share it."""
        found = self._groups.get(vf_range)
        if found is None:
            found = self._groups[vf_range] = _group(self.policy, vf_range)
        return found


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policies that can be used, in the order in which they apply."""

    policies: tuple[ReadyPolicy, ...] = ()
    problems: tuple[Problem, ...] = ()
    """What is wrong with the others; the same for every node."""

    @classmethod
    def of(cls, policies: Iterable[SriovNetworkNodePolicy | Mapping[str, Any]]) -> PolicySet:
        """The set of these policies, whatever order they come in.

        :param policies: objects, or plain data as the API gives them; data that is malformed becomes a problem. The
            policy named `default` is left out.
        """
        good: list[SriovNetworkNodePolicy] = []
        problems: list[Problem] = []
        for policy in policies:
            if isinstance(policy, SriovNetworkNodePolicy):
                good.append(policy)
            elif name_of(policy) != IGNORED_POLICY:
                try:
                    good.append(SriovNetworkNodePolicy.model_validate(policy))
                except ValidationError as error:
                    problems.extend(fault.problem(policy_label(name_of(policy))) for fault in faults_of(error))
        good = [policy for policy in good if policy.name != IGNORED_POLICY]
        counts = Counter(policy.name for policy in good)

        def key(policy: SriovNetworkNodePolicy) -> tuple[int, str, str, str]:
            # Names are unique in a namespace; where they are not, the content decides, so that the order never does.
            content = policy.model_dump_json() if counts[policy.name] > 1 else ""
            return (-policy.spec.priority, policy.name, policy.metadata.namespace, content)

        problems.extend(_several(name, count) for name, count in counts.items() if count > 1)
        problems.sort(key=lambda problem: (problem.object, problem.field, problem.message))
        ready = (ReadyPolicy(each, policy_label(each.name), bridge_fault(each.spec)) for each in sorted(good, key=key))
        return cls(tuple(ready), tuple(problems))


def _several(name: str, count: int) -> Problem:
    return Problem(
        object=policy_label(name),
        message=f"{count} policies have this name; all of them are applied",
        reason=InvalidDocument.reason,
        field="metadata.name",
        hint="give each its own name",
        severity=Severity.WARNING,
    )


def _group(policy: SriovNetworkNodePolicy, vf_range: VfRange) -> VfGroupSpec:
    wanted = policy.spec
    return VfGroupSpec(
        resourceName=wanted.resource_name,
        deviceType=wanted.device_type,
        vfRange=str(vf_range),
        policyName=policy.name,
        mtu=wanted.mtu,
        isRdma=wanted.is_rdma,
        vdpaType=wanted.vdpa_type,
        needVhostNet=wanted.need_vhost_net,
        excludeTopology=wanted.exclude_topology,
    )
