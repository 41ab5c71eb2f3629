"""`SriovNetworkPoolConfig`: settings of a set of nodes, such as how many of them may be drained at once."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from virtfn.model.crd.meta import ConditionsStatus, CustomResource
from virtfn.model.wire import WireModel

POOL_CONFIG_KIND: Final = "SriovNetworkPoolConfig"

_PERCENT = re.compile(r"([1-9][0-9]?|100)%")


def _count_or_share(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and _PERCENT.fullmatch(value):
        return value
    raise PydanticCustomError("count_or_share", 'must be a whole number from 0, or a share, "1%" to "100%"')


CountOrShare = Annotated[
    int | str,
    PlainValidator(_count_or_share),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 16}),
]
"""A number of nodes, or a share of them in percent (`"30%"`)."""


class LabelRequirement(WireModel):
    """One condition on a label."""

    key: str
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value is held against `values`."""
    values: Annotated[tuple[str, ...], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] = ()
    """The values for `In` and `NotIn`; none for the others."""


class LabelSelector(WireModel):
    """Kubernetes' label selector: all parts must hold; an empty one selects everything."""

    match_labels: dict[str, str] = Field(default_factory=dict, alias="matchLabels")
    """Labels that must be equal."""
    match_expressions: Annotated[
        tuple[LabelRequirement, ...], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=(), alias="matchExpressions")
    """Further conditions on labels."""


class OvsHardwareOffloadConfig(WireModel):
    """Open vSwitch hardware offload on OpenShift."""

    name: str = ""
    """Name of the MachineConfigPool whose nodes get it."""


class PoolConfigSpec(WireModel):
    """Settings of a set of nodes."""

    own_zero = frozenset({"max_unavailable"})

    ovs_hardware_offload_config: OvsHardwareOffloadConfig | None = Field(default=None, alias="ovsHardwareOffloadConfig")
    """Open vSwitch hardware offload on OpenShift; goes with neither `nodeSelector` nor `maxUnavailable`."""
    node_selector: Annotated[LabelSelector | None, Field(json_schema_extra={"x-kubernetes-map-type": "atomic"})] = (
        Field(default=None, alias="nodeSelector")
    )
    """Nodes of the pool; absent: all nodes. A node belongs to one pool at most."""
    max_unavailable: CountOrShare | None = Field(default=None, alias="maxUnavailable")
    """Number (or share, like `"30%"`) of the pool's nodes that may be drained at once; absent: no limit; 0: no node is
    ever drained."""
    rdma_mode: Literal["shared", "exclusive"] | None = Field(default=None, alias="rdmaMode")
    """Whether network namespaces share the RDMA devices on these nodes; absent: left as it is."""


class SriovNetworkPoolConfig(CustomResource):
    """Settings of a set of nodes: how many may be drained at once, and the mode of their RDMA devices."""

    plural = "sriovnetworkpoolconfigs"

    kind: Literal["SriovNetworkPoolConfig"] = POOL_CONFIG_KIND
    """Always `SriovNetworkPoolConfig`."""
    spec: PoolConfigSpec = PoolConfigSpec()
    """What is wanted."""
    status: ConditionsStatus = ConditionsStatus()
    """How the pool is doing; written by the controller."""
