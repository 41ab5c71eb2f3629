"""What clients asked of the proxy, and which of that is to go wrong."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from kube.bed.faults import Fault
from kube.bed.wire import Head

WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as the client made it."""

    method: str
    target: str
    """Path and query, with %xx decoded."""
    headers: Head
    body: bytes
    time: float
    """Of `time.monotonic`, when the head was whole."""

    @property
    def user_agent(self) -> str:
        """What the client says of itself."""
        return self.headers.get("User-Agent")

    @property
    def is_watch(self) -> bool:
        """Whether it wants a stream of events."""
        return re.search(r"[?&]watch=(true|1)\b", self.target, re.IGNORECASE) is not None


@dataclass(eq=False)
class Rule:
    """Which requests get which fault, how often, and whether they did."""

    method: str
    pattern: re.Pattern[str]
    fault: Fault
    left: int | None
    hits: list[Request] = field(default_factory=list)
    _struck: threading.Event = field(default_factory=threading.Event)

    def wait(self, timeout: float = WAIT) -> bool:
        """Until the fault has done its harm for the first time; False when it has not in this time (in seconds)."""
        return self._struck.wait(timeout)

    def struck(self) -> None:
        """The harm is done."""
        self._struck.set()


def fits(request: Request, method: str, pattern: re.Pattern[str]) -> bool:
    """Whether a request is one of those that are meant; the method `*` means all."""
    return method in ("*", request.method) and pattern.search(request.target) is not None
