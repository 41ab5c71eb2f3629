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
    """`netdev` or `system`."""
    external_ids: dict[str, str] = Field(default_factory=dict, alias="externalIDs")
    other_config: dict[str, str] = Field(default_factory=dict, alias="otherConfig")
    fail_mode: FailMode | None = Field(default=None, alias="failMode")


class OvsInterfaceSettings(WireModel):
    """Columns of the Open vSwitch `Interface` table."""

    type: str = ""
    options: dict[str, str] = Field(default_factory=dict)
    external_ids: dict[str, str] = Field(default_factory=dict, alias="externalIDs")
    other_config: dict[str, str] = Field(default_factory=dict, alias="otherConfig")
    mtu_request: StrictInt = Field(default=0, alias="mtuRequest")
