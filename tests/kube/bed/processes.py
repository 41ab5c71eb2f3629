"""`virtfn controller` as a process of its own, which tests may kill as a power cut would."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from kube.bed.process import Program, free_ports

VIRTFN = Path(sys.executable).with_name("virtfn")
PATIENCE = 60.0


class ControllerProcess:
    """One controller, that may live more than once. To be started in the main thread.

    :param elect: with a lease; without one it acts at once, and a second one must not run.
    """

    def __init__(
        self,
        name: str,
        *,
        kubeconfig: Path,
        namespace: str,
        directory: Path,
        elect: bool = False,
        deadline: float = 600,
    ) -> None:
        (self._port,) = free_ports(1)
        self._program = Program(name, directory / f"{name}.log")
        environment = [
            "RESOURCE_PREFIX=openshift.io",
            f"POD_NAME={name}",
            f"VIRTFN_DRAIN_DEADLINE_SECONDS={deadline:g}",
        ]
        self._argv: list[str | Path] = ["env", *environment, VIRTFN, "controller", "--kubeconfig", kubeconfig]
        self._argv += ["--namespace", namespace, "--health-port", str(self._port)]
        self._argv += [] if elect else ["--no-leader-election"]

    def start(self, *, wait: bool = True) -> None:
        """Start it; wait until it says that it is ready."""
        self._program.start(self._argv)
        end = time.monotonic() + PATIENCE
        while wait and not self.asked("/readyz"):
            assert self._program.running, self._program.tail()
            assert time.monotonic() < end, self._program.tail()
            time.sleep(0.1)

    def asked(self, page: str) -> str:
        """What it answers at `/readyz`, `/healthz` or `/metrics`; empty if nothing or nothing good."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{page}", timeout=10) as answer:
                text: bytes = answer.read()
        except (urllib.error.URLError, OSError):
            return ""
        return text.decode()

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._program.kill()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._program.stop(grace=PATIENCE)

    def log(self) -> str:
        """All that it has said, in all its lives."""
        path = self._program.log
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
