"""Tests with a real Kubernetes API server: fixtures for it, one server for all of them, and a namespace for each.

The tests run when this directory, something in it or `-m kube` is asked for, and in no other run. None of them is ever
skipped but for the marker `needs_version`: where the binaries are missing, they fail.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))  # `bed`: apt and commands
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `kube.bed`

from kube import deps
from kube.bed import assets, definitions
from kube.bed.proxy import Proxy
from kube.bed.server import ADMIN, ApiServer, User, version_of
from kubernetes import client

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CRDS = ROOT / "deploy" / "crds"
NUMBERS = itertools.count(1)
NEEDS_NEWER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line("markers", "kube: talks to a real API server")
    config.addinivalue_line("markers", "needs_version(version): of Kubernetes, '1.30'; skipped, by name, before it")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of this directory, and drop them from a run that did not ask for them."""
    own = [item for item in items if item.path.is_relative_to(HERE)]
    for item in own:
        item.add_marker(pytest.mark.kube)
    if own and not _asked_for(config):
        config.hook.pytest_deselected(items=own)
        items[:] = [item for item in items if not item.path.is_relative_to(HERE)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the server is too old for; with the version said by its binary, which need not run."""
    marker = item.get_closest_marker("needs_version")
    if marker is None:
        return
    (wanted,) = marker.args
    major, minor = wanted.split(".")
    found = _version()
    if found < (int(major), int(minor)):
        item.stash[NEEDS_NEWER] = wanted
        pytest.skip(f"needs Kubernetes {wanted}, {assets.ASSETS_VARIABLE} may name one; this is {found[0]}.{found[1]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped for any other reason has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        if NEEDS_NEWER in item.stash:
            report.user_properties.append(("needs_version", item.stash[NEEDS_NEWER]))
        else:
            report.outcome = "failed"
            report.longrepr = f"tests with an API server are not skipped: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name every test that was skipped, one in a line."""
    for report in terminalreporter.stats.get("skipped", ()):
        for key, value in report.user_properties:
            if key == "needs_version":
                terminalreporter.write_line(f"kube: not run, needs Kubernetes {value}: {report.nodeid}")


def _asked_for(config: pytest.Config) -> bool:
    expression: str = config.option.markexpr
    if re.search(r"\bkube\b", expression) and not re.search(r"\bnot\s+kube\b", expression):
        return True
    here = config.invocation_params.dir
    return any((here / arg.split("::")[0]).resolve().is_relative_to(HERE) for arg in config.args)


@cache
def _binaries() -> assets.Assets | str:
    missing = deps.problems()
    found = assets.find()
    return found if found else "\n".join(["there is no API server, run `make kube-deps`:", *missing])


@cache
def _version() -> tuple[int, int]:
    found = _binaries()
    if isinstance(found, str):
        pytest.fail(found, pytrace=False)
    return version_of(found)


@pytest.fixture(scope="session")
def binaries() -> assets.Assets:
    """The folder of kube-apiserver, etcd and perhaps kubectl; without it the test fails."""
    found = _binaries()
    if isinstance(found, str):
        pytest.fail(found, pytrace=False)
    return found


@pytest.fixture(scope="session")
def api_server(binaries: assets.Assets) -> Iterator[ApiServer]:
    """The API server of this session, with kinds that are not of this project (`data/`). Leave it running."""
    with ApiServer(binaries) as server:
        with server.client() as api:
            definitions.install(api, definitions.read([HERE / "data"]))
        yield server


@pytest.fixture(scope="session")
def crds(kube_admin: client.ApiClient) -> list[str]:
    """This project's own kinds, as they are deployed, are in the session's API server; their names."""
    return definitions.install(kube_admin, definitions.read([CRDS]))


@pytest.fixture
def own_api_server(binaries: assets.Assets) -> Iterator[ApiServer]:
    """An API server for one test, which may stop, kill and start it; no custom resource definitions are in it."""
    with ApiServer(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def kube_admin(api_server: ApiServer) -> Iterator[client.ApiClient]:
    """The official client, as somebody who may do everything."""
    with api_server.client(ADMIN) as api:
        yield api


@pytest.fixture
def client_for(api_server: ApiServer) -> Iterator[Callable[..., client.ApiClient]]:
    """The official client for a user or a token: `client_for(ALICE)`, `client_for(token, server=proxy.url)`."""
    made: list[client.ApiClient] = []

    def make(user: User | str, *, server: str = "") -> client.ApiClient:
        made.append(api_server.client(user, server=server))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def namespace(kube_admin: client.ApiClient, request: pytest.FixtureRequest) -> str:
    """A fresh namespace of this test, named for it. It stays: nobody here could end its deletion."""
    word = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    name = f"{word}-{next(NUMBERS)}"
    client.CoreV1Api(kube_admin).create_namespace({"metadata": {"name": name}})
    return name


@pytest.fixture
def token_for(kube_admin: client.ApiClient, namespace: str) -> Callable[..., str]:
    """A token of a service account, which is made if need be: `token_for("daemon")`, in the test's own namespace.

    `bound_to` is the object that the token is to hold only as long as: `{"kind": "Pod", "name": ..., "uid": ...}`.
    """
    core = client.CoreV1Api(kube_admin)

    def ask(service_account: str, *, namespace: str = namespace, bound_to: dict[str, str] | None = None) -> str:
        try:
            core.create_namespaced_service_account(namespace, {"metadata": {"name": service_account}})
        except client.ApiException as error:
            if error.status != 409:
                raise
        spec: dict[str, Any] = {"expirationSeconds": 3600, "audiences": []}
        if bound_to is not None:
            spec["boundObjectRef"] = {"apiVersion": "v1", **bound_to}
        answer = core.create_namespaced_service_account_token(service_account, namespace, {"spec": spec})
        token: str = answer.status.token
        return token

    return ask


@pytest.fixture
def proxy(api_server: ApiServer) -> Iterator[Proxy]:
    """A proxy in front of the session's API server, plain HTTP to its clients; see `kube.bed.proxy`."""
    with Proxy(api_server.url, api_server.ca_file) as between:
        yield between


@pytest.fixture
def tls_proxy(api_server: ApiServer) -> Iterator[Proxy]:
    """The same with TLS to its clients, under the authority of the server: the same kubeconfig fits it."""
    with Proxy(api_server.url, api_server.ca_file, client_tls=api_server.server_certificate()) as between:
        yield between
