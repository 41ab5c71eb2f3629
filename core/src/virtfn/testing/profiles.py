"""Device profiles: what one model of card is like, as data files, read and checked into frozen values.

A value that no source confirms is named in the profile's `assumed` list, so that a test which depends on it can be told
from one that depends on a fact.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, StringConstraints

from virtfn.errors import InvalidDocument
from virtfn.host.api import ParamMode
from virtfn.model import LinkType, PciId
from virtfn.model.codec import from_data

_STRICT = ConfigDict(extra="forbid")
_Hex4 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}$")]
_Prefix = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}$")]


class VfLayout(StrEnum):
    """Where the VFs of a card's PFs lie on the bus."""

    FUNCTIONS = "functions"
    """After all functions of the card, the second PF's after all that the first can have (mlx5)."""
    BLOCKS = "blocks"
    """`offset` after function 0, the second PF's after all that the first can have (i40e, ice)."""
    INTERLEAVED = "interleaved"
    """Same offset and stride for each PF (igb, ixgbe)."""


class SwitchId(StrEnum):
    """What `phys_switch_id` is made of."""

    GUID = "guid"
    """System image GUID, bytes reversed (mlx5)."""
    SERIAL = "serial"
    """PCI device serial number (ice, bnxt)."""


class TcOffload(StrEnum):
    """ethtool's hw-tc-offload of a PF's netdev, as the machine boots."""

    ABSENT = "absent"
    OFF = "off"
    ON = "on"
    SWITCHDEV = "switchdev"
    """There is none in legacy mode."""

    @property
    def in_legacy(self) -> bool | None:
        """Whether it is on at boot; None: it is not there."""
        return {TcOffload.OFF: False, TcOffload.ON: True}.get(self)


@dataclass(frozen=True, slots=True)
class PciFacts:
    """What configuration space says of a PF."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    vendor: _Hex4
    device: _Hex4
    class_code: int = 0x020000
    subsystem_vendor: _Hex4 = "0000"
    subsystem_device: _Hex4 = "0000"
    revision: int = 0

    @property
    def id(self) -> PciId:
        """Vendor and device."""
        return PciId(self.vendor, self.device)


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """The kernel driver of the PF."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: str
    module: str = ""
    """The driver's name with `_` for `-` when empty."""
    firmware_version: str = ""
    """`ethtool -i`."""

    @property
    def module_name(self) -> str:
        """The module, as `/sys/module` names it."""
        return self.module or self.name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class PortFacts:
    """The card's ports, one PF each."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    count: int = 1
    link_type: LinkType = LinkType.ETH
    speed_mbps: int = 10000
    mtu: int = 1500
    min_mtu: int = 68
    max_mtu: int = 1500
    mac_prefix: _Prefix = "02:00:00"
    phys_port_name: bool = False
    switch_id: SwitchId | None = None
    tc_offload: TcOffload = TcOffload.ABSENT


@dataclass(frozen=True, slots=True)
class SriovFacts:
    """The SR-IOV capability of each PF, and the driver of its VFs."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    vf_device: _Hex4
    vf_driver: str
    total_vfs: int
    """TotalVFs of one PF; firmware's NUM_OF_VFS goes over it where the card has one."""
    offset: int
    stride: int
    layout: VfLayout = VfLayout.BLOCKS
    hidden_functions: int = 0
    """Functions of the card that the host does not see but that take a number (layout `functions`)."""
    driver_max_vfs: int | None = None
    """What the PF's driver lowers `sriov_totalvfs` to while it is bound."""
    vf_max_mtu: int | None = None
    """The PF's when absent."""
    spoof_check: bool = False
    """Whether spoof checking is on for a new VF."""
    vdpa: bool = False
    """Whether vDPA devices can be made on the VFs."""


@dataclass(frozen=True, slots=True)
class FirmwareFacts:
    """Settings kept in the card's non-volatile memory."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    defaults: Mapping[str, bool | int | str] = field(default_factory=dict)
    settings: Mapping[str, bool | int | str] = field(default_factory=dict)
    """Those that differ from the defaults when the card is put in."""
    needs_power_cycle: bool = False
    """A reboot of the host does not apply them."""
    tool: str = ""
    """Version of the program that reads and sets them, on a machine that such a card is put in; empty: it has none."""


@dataclass(frozen=True, slots=True)
class ParamFacts:
    """One parameter of `devlink dev param show`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    kind: str
    """`bool`, `u32`, `string` ..."""
    value: bool | int | str
    """As the machine boots."""
    mode: ParamMode = ParamMode.RUNTIME
    choices: tuple[bool | int | str, ...] = ()
    """The values that the device takes; empty: any."""


@dataclass(frozen=True, slots=True)
class DevlinkFacts:
    """`devlink dev info`, and the parameters."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    params: Mapping[str, ParamFacts] = field(default_factory=dict)
    """Of each PF."""
    inline_mode: str = ""
    """Of the eswitch; empty: the driver does not say."""
    serial_number: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)
    running: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """One model of card."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: str
    product: str
    pci: PciFacts
    driver: DriverFacts
    ports: PortFacts = field(default_factory=PortFacts)
    sriov: SriovFacts | None = None
    """None: the function has no SR-IOV capability."""
    firmware: FirmwareFacts = field(default_factory=FirmwareFacts)
    devlink: DevlinkFacts = field(default_factory=DevlinkFacts)
    assumed: tuple[str, ...] = ()
    """Dotted names of the values that no source confirms."""

    @property
    def vf_id(self) -> PciId | None:
        """Vendor and device of the VFs."""
        return PciId(self.pci.vendor, self.sriov.vf_device) if self.sriov else None


def profile_names() -> tuple[str, ...]:
    """The profiles that come with virtfn, sorted."""
    folder = files("virtfn.testing") / "profiles"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_profile(name: str) -> Profile:
    """One of `profile_names()`. Raises `InvalidDocument`, also when there is no such profile."""
    known = profile_names()
    if name not in known:
        raise InvalidDocument(f"there is no device profile {name!r} (there are: {', '.join(known)})", field="profile")
    text = (files("virtfn.testing") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_profile(text, name=name)


def parse_profile(text: str, *, name: str) -> Profile:
    """A profile from TOML text. Raises `InvalidDocument` naming the profile and the field."""
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidDocument(f"profile {name}: not TOML ({error})") from error
    try:
        profile = from_data(Profile, {"name": name} | data)
    except InvalidDocument as error:
        raise InvalidDocument(f"profile {name}: {str(error).removeprefix('Profile: ')}", field=error.field) from error
    for field_name, why in _contradictions(profile, data):
        raise InvalidDocument(f"profile {name}: {field_name}: {why}", field=field_name)
    return profile


def _contradictions(profile: Profile, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Fields whose values cannot be true together, with the reason."""
    found = []
    ports = profile.ports
    if not 1 <= ports.count <= 8:
        found.append(("ports.count", f"a card has 1 to 8 functions, not {ports.count}"))
    if not ports.min_mtu <= ports.mtu <= ports.max_mtu:
        found.append(("ports.mtu", f"{ports.mtu} does not lie between {ports.min_mtu} and {ports.max_mtu}"))
    if (sriov := profile.sriov) is not None:
        for key in ("total_vfs", "offset", "stride"):
            if (value := getattr(sriov, key)) < 1:
                found.append((f"sriov.{key}", f"{value} is not possible (at least 1)"))
        first = ports.count + sriov.hidden_functions
        if sriov.layout is VfLayout.FUNCTIONS and sriov.offset != first:
            found.append(("sriov.offset", f"{sriov.offset} is not after the card's {first} functions"))
        if sriov.driver_max_vfs is not None and sriov.driver_max_vfs > sriov.total_vfs:
            found.append(("sriov.driver_max_vfs", f"a driver can only lower total_vfs ({sriov.total_vfs})"))
    for name in profile.firmware.settings:
        if name not in profile.firmware.defaults:
            found.append((f"firmware.settings.{name}", "has no default"))
    for name in profile.assumed:
        here: Any = data
        for part in name.split("."):
            here = here.get(part) if isinstance(here, dict) else None
        if here is None:
            found.append(("assumed", f"names {name!r}, which the profile does not have"))
    return found
