"""`kubectl` against an API server, as a person deploys with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kube.bed.server import ADMIN, ApiServer, User

from bed.command import BedError, run_text

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
OVERLAYS = {
    "default": "sriov-network-operator",
    "kube-ovn": "kube-system",
    "openshift": "openshift-sriov-network-operator",
}
"""By the name of the folder: the namespace that each is for."""
LIMIT = 120.0


@dataclass(frozen=True)
class Kubectl:
    """One kubectl as one user. It checks what it sends against the server's OpenAPI, unknown fields too."""

    binary: Path
    kubeconfig: Path

    @classmethod
    def of(cls, server: ApiServer, user: User | str = ADMIN) -> Kubectl:
        """The one beside the server."""
        assert server.assets.kubectl is not None, "no kubectl"
        return cls(server.assets.kubectl, server.kubeconfig(user))

    def __call__(self, *words: str | Path) -> str:
        """What it prints. Raises BedError with what it says when it fails."""
        return run_text([self.binary, "--kubeconfig", self.kubeconfig, *words], timeout=LIMIT)

    def refuses(self, *words: str | Path) -> str:
        """What it says when it fails, which it has to."""
        try:
            said = self(*words)
        except BedError as error:
            return str(error)
        raise AssertionError(f"kubectl {words} went well: {said}")


def render(binary: Path, folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization."""
    text = run_text([binary, "kustomize", folder], timeout=LIMIT)
    return [thing for thing in yaml.safe_load_all(text) if thing]


def key_of(thing: dict[str, Any]) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    metadata = thing["metadata"]
    return thing["kind"], metadata.get("namespace", ""), metadata["name"]
