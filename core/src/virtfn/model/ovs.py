"""Open vSwitch settings as policies and node states carry them: columns of OVSDB tables, named as in the API."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, StrictInt

from virtfn.model.wire import WireModel


class FailMode(StrEnum):
    """What an Open vSwitch bridge does without its OpenFlow controller."""

    SECURE = "secure"
    STANDALONE = "standalone"


class OvsBridgeSettings(WireModel):
    """Columns of the Open vSwitch `Bridge` table."""

    datapath_type: str = Field(default="", alias="datapathType")
    """Datapath of the bridge: `system` (the kernel) or `netdev` (user space)."""
    external_ids: dict[str, str] = Field(default_factory=dict, alias="externalIDs")
    """Column `external_ids`: words that others leave on the row."""
    other_config: dict[str, str] = Field(default_factory=dict, alias="otherConfig")
    """Column `other_config`: settings that have no column of their own."""
    fail_mode: FailMode | None = Field(default=None, alias="failMode")
    """What the bridge does without its OpenFlow controller; absent: the default of Open vSwitch."""


class OvsInterfaceSettings(WireModel):
    """Columns of the Open vSwitch `Interface` table."""

    type: str = ""
    """Type of the interface, like `dpdk`; absent: a netdev of the host."""
    options: dict[str, str] = Field(default_factory=dict)
    """Column `options`: settings of the interface's type."""
    external_ids: dict[str, str] = Field(default_factory=dict, alias="externalIDs")
    """Column `external_ids`: words that others leave on the row."""
    other_config: dict[str, str] = Field(default_factory=dict, alias="otherConfig")
    """Column `other_config`: settings that have no column of their own."""
    mtu_request: StrictInt = Field(default=0, alias="mtuRequest")
    """MTU in bytes that Open vSwitch sets; the policy's `mtu` goes before it."""
