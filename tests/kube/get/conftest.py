"""`virtfn get` against an API server of its own, as it looks into all namespaces."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from kube.bed import definitions
from kube.bed.assets import Assets
from kube.bed.server import ADMIN, ApiServer, User

from virtfn.cli import main
from virtfn.cli.context import Context
from virtfn.cli.running import run_command
from virtfn.cluster.kinds import NODE_STATES, OPERATOR_CONFIGS, POLICIES, POOL_CONFIGS
from virtfn.host.machine import Machine
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient
from virtfn.kube.resource import NAMESPACES, metadata_of
from virtfn.testing import FakeHost

CRDS = Path(__file__).resolve().parents[3] / "deploy" / "crds"


class Ended(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str


Get = Callable[..., Ended]


@pytest.fixture(scope="module")
def bare_server(binaries: Assets) -> Iterator[ApiServer]:
    """Without any kind of ours."""
    with ApiServer(binaries) as server:
        yield server


@pytest.fixture(scope="module")
def server(bare_server: ApiServer) -> ApiServer:
    """With all of ours."""
    with bare_server.client() as api:
        definitions.install(api, definitions.read([CRDS]))
    return bare_server


@pytest.fixture
def kube(bare_server: ApiServer) -> Iterator[KubeClient]:
    configured = configuration(environment={}, kubeconfig=bare_server.kubeconfig())
    client = connect(configured, user_agent="virtfn/test", random=Random())
    yield client
    client.close()


@pytest.fixture
def fresh(server: ApiServer, kube: KubeClient) -> KubeClient:
    """The server with nothing of ours in it, and the namespaces `one` and `two`."""
    for resource in (POLICIES, NODE_STATES, POOL_CONFIGS, OPERATOR_CONFIGS):
        for thing in list(kube.list(resource)):
            metadata = metadata_of(thing)
            kube.delete(resource, namespace=metadata["namespace"], name=metadata["name"])
    for name in ("one", "two"):
        if kube.find(NAMESPACES, name=name) is None:
            kube.create(NAMESPACES, body={"metadata": {"name": name}})
    return kube


@pytest.fixture
def get(bare_server: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Get:
    """`get("-n one", user=ALICE)`."""
    monkeypatch.delenv("NAMESPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(words: str = "", *, user: User = ADMIN) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        with FakeHost() as host:
            context = Context(journal_folder=tmp_path, machine=lambda: Machine(host.kernel), stdout=out, stderr=err)
            line = ["get", "--kubeconfig", str(bare_server.kubeconfig(user)), *words.split()]
            code = run_command(context, main.make_parser().parse_args(line))
        return Ended(int(code), out.getvalue(), err.getvalue())

    return run
