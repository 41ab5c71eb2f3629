"""Every version of a node state that the API server made, in order: what was told before something else was done."""

from __future__ import annotations

import json
import threading
import time
from http.client import HTTPException
from types import TracebackType
from typing import Any, NamedTuple

from kube.bed import raw
from kube.bed.server import ApiServer

TURN = 1  # seconds of one watch; the next one goes on where it ended
PAUSE = 0.2
PATIENCE = 5.0


class Version(NamedTuple):
    """One version of the object."""

    time: float
    """Of `time.monotonic`, when it was seen here."""
    object: dict[str, Any]

    @property
    def status(self) -> dict[str, Any]:
        """The object's."""
        return dict(self.object.get("status", {}))


class History:
    """Watches one node state in a thread of its own, for as long as a `with` block."""

    def __init__(self, server: ApiServer, namespace: str, name: str) -> None:
        self._server = server
        path = f"/apis/sriovnetwork.openshift.io/v1/namespaces/{namespace}/sriovnetworknodestates"
        self._target = f"{path}?watch=true&fieldSelector=metadata.name%3D{name}&timeoutSeconds={TURN}"
        self._version = ""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._seen: list[Version] = []
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)

    def __enter__(self) -> History:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def mark(self) -> int:
        """A place to look at it from."""
        with self._lock:
            return len(self._seen)

    def since(self, mark: int) -> list[Version]:
        """All versions after a place; the last ones may still be on their way."""
        with self._lock:
            return self._seen[mark:]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except (OSError, HTTPException, ValueError):
                self._stop.wait(PAUSE)  # the server is away

    def _watch(self) -> None:
        after = f"&resourceVersion={self._version}" if self._version else ""
        with raw.opened(
            self._server.url, self._target + after, ca_file=self._server.ca_file, timeout=PATIENCE
        ) as answer:
            if answer.status != 200:  # it has only just begun
                raise OSError(f"{answer.status}")
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self._version = ""  # too old: from the present one on
                    return
                self._version = event["object"]["metadata"]["resourceVersion"]
                with self._lock:
                    self._seen.append(Version(time.monotonic(), event["object"]))
