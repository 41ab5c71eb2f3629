"""PCI addresses and ids as values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from virtfn.errors import RequestError

_ADDRESS = re.compile(
    r"(?:(?P<domain>[0-9a-fA-F]{4,8}):)?(?P<bus>[0-9a-fA-F]{2}):(?P<device>[0-9a-fA-F]{2})\.(?P<function>[0-7])"
)
_ID = re.compile(r"(?:0x)?(?P<vendor>[0-9a-fA-F]{4}):(?:0x)?(?P<device>[0-9a-fA-F]{4})")


@dataclass(frozen=True, slots=True, order=True)
class PciAddress:
    """A PCI function: domain, bus, device (slot) and function number, as in `/sys/bus/pci/devices`.

    Domains can be wider than four digits (VMD, Azure), so nothing here may slice the text.
    """

    domain: int
    bus: int
    device: int
    function: int

    @classmethod
    def parse(cls, text: str) -> PciAddress:
        """`dddd:bb:dd.f` or `bb:dd.f` (domain 0); upper or lower case. Raises `RequestError`."""
        match = _ADDRESS.fullmatch(text.strip())
        if match is None:
            raise RequestError(f"{text!r} is not a PCI address (expected like 0000:3b:00.1)", field="pciAddress")
        return cls(
            int(match["domain"] or "0", 16), int(match["bus"], 16), int(match["device"], 16), int(match["function"])
        )

    @classmethod
    def read(cls, found: object) -> PciAddress | None:
        """As `parse`, of anything that somebody wrote; None: it is no address."""
        try:
            return cls.parse(found) if isinstance(found, str) else None
        except RequestError:
            return None

    @property
    def slot(self) -> str:
        """`domain:bus:device`: what all functions of one card share, the address of its adapter."""
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}"

    def __str__(self) -> str:
        return f"{self.slot}.{self.function}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """On the wire an address is its text."""
        from virtfn.model.codec import text_schema

        return text_schema(cls, cls.parse)


@dataclass(frozen=True, slots=True, order=True)
class PciId:
    """Vendor and device id: four lower-case hex digits each, without `0x` (`15b3`, `1017`)."""

    vendor: str
    device: str

    @classmethod
    def parse(cls, text: str) -> PciId:
        """`vvvv:dddd`, with or without `0x`. Raises `RequestError`."""
        match = _ID.fullmatch(text.strip())
        if match is None:
            raise RequestError(f"{text!r} is not a PCI id (expected like 15b3:1017)")
        return cls(match["vendor"].lower(), match["device"].lower())

    def __str__(self) -> str:
        return f"{self.vendor}:{self.device}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """On the wire an id is its text."""
        from virtfn.model.codec import text_schema

        return text_schema(cls, cls.parse)
