"""What all kinds of `sriovnetwork.openshift.io/v1` have in common: names, metadata, conditions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from virtfn.model.wire import StatusModel, WireModel

GROUP: Final = "sriovnetwork.openshift.io"
VERSION: Final = "v1"
API_VERSION: Final = "sriovnetwork.openshift.io/v1"


class ObjectMeta(WireModel):
    """The parts of Kubernetes' ObjectMeta that are looked at; all others are kept as they came."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    """Of the object, unique among those of its kind in the namespace."""
    namespace: str = ""
    """Where the object is."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Words to select the object by."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Words that tools leave on the object."""


class Condition(StatusModel):
    """One aspect of how things stand, as `metav1.Condition` has it: `kubectl wait` reads it."""

    always_present = frozenset({"type", "status", "last_transition_time", "reason", "message"})

    type: Annotated[
        str,
        Field(
            json_schema_extra={
                "maxLength": 316,
                "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
            }
        ),
    ] = ""
    """Which aspect, in CamelCase, like `Ready`; there is one entry for each."""
    status: Annotated[str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})] = ""
    """Whether it holds."""
    observed_generation: Annotated[int, Field(json_schema_extra={"minimum": 0, "format": "int64"})] = Field(
        default=0, alias="observedGeneration"
    )
    """`metadata.generation` of the object that was looked at; a smaller one than the object's is out of date."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] = Field(
        default="", alias="lastTransitionTime"
    )
    """When `status` last changed, as RFC 3339."""
    reason: Annotated[
        str,
        Field(
            json_schema_extra={
                "minLength": 1,
                "maxLength": 1024,
                "pattern": r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            }
        ),
    ] = ""
    """Why, as one CamelCase word for programs."""
    message: Annotated[str, Field(json_schema_extra={"maxLength": 32768})] = ""
    """Why, for people."""


Conditions = Annotated[
    tuple[Condition, ...],
    Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]
"""One entry for each type."""


class ConditionsStatus(StatusModel):
    """How the object is doing."""

    conditions: Conditions = ()
    """How the object is doing, one entry for each aspect."""


class CustomResource(WireModel):
    """An object of the API."""

    plural: ClassVar[str] = ""
    """The kind's name in URLs."""

    api_version: Literal["sriovnetwork.openshift.io/v1"] = Field(default=API_VERSION, alias="apiVersion")
    """Always `sriovnetwork.openshift.io/v1`."""
    kind: str = ""
    """Which kind of object this is."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels and annotations, as every Kubernetes object has them."""

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name
