"""`kubectl` against an API server, as a person deploys with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml
from kube.bed import definitions
from kube.bed.assets import Assets
from kube.bed.server import ADMIN, ApiServer, User
from kubernetes import client

from bed.command import BedError, run_text
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient

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


@contextmanager
def deployed(binaries: Assets, overlay: str = "default") -> Iterator[ApiServer]:
    """An API server of one's own, with all kinds, on which an overlay was applied."""
    with ApiServer(binaries) as server:
        with server.client() as api:
            others = Path(__file__).resolve().parents[1] / "data"
            definitions.install(api, definitions.read([DEPLOY / "crds", others]))
        Kubectl.of(server)("apply", "-k", DEPLOY / "overlays" / overlay)
        yield server


@contextmanager
def as_account(server: ApiServer, account: str, *, namespace: str = OVERLAYS["default"]) -> Iterator[KubeClient]:
    """A client with a token of a service account, or of an administrator where `account` is empty."""
    token = ADMIN.token
    if account:
        with server.client() as api:
            answer = client.CoreV1Api(api).create_namespaced_service_account_token(
                account, namespace, {"spec": {"expirationSeconds": 3600, "audiences": []}}
            )
        token = answer.status.token
    configured = configuration(environment={}, kubeconfig=server.kubeconfig(token))
    made = connect(configured, user_agent="virtfn/test", random=Random())
    try:
        yield made
    finally:
        made.close()
