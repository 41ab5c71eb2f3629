"""The manifests of `deploy/`, as kubectl renders and applies them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kube.bed import assets
from kube.bed.deploying import Kubectl
from kube.bed.server import ApiServer


@pytest.fixture(scope="session")
def kubectl_binary(binaries: assets.Assets) -> Path:
    """The kubectl beside the API server: the oldest one that has to do."""
    assert binaries.kubectl is not None
    return binaries.kubectl


@pytest.fixture(scope="module")
def fresh_server(binaries: assets.Assets) -> Iterator[ApiServer]:
    """An API server without any of our kinds."""
    with ApiServer(binaries) as server:
        yield server


@pytest.fixture(scope="module")
def kubectl(fresh_server: ApiServer) -> Kubectl:
    return Kubectl.of(fresh_server)
