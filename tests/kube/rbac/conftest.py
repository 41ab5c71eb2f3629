"""The roles of `deploy/`, each tried with a token of its own service account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from kube.bed.assets import Assets
from kube.bed.deploying import as_account, deployed
from kube.bed.server import ApiServer

from virtfn.kube.client import KubeClient


@pytest.fixture(scope="module")
def server(binaries: Assets) -> Iterator[ApiServer]:
    """An API server on which the overlay `default` was applied."""
    with deployed(binaries) as server:
        yield server


@pytest.fixture(scope="module")
def acting(server: ApiServer) -> Iterator[Callable[[str], KubeClient]]:
    """A client as a service account, `acting("virtfn-daemon")`, or as an administrator, `acting("")`."""
    made: dict[str, KubeClient] = {}
    with ExitStack() as stack:

        def make(account: str) -> KubeClient:
            if account not in made:
                made[account] = stack.enter_context(as_account(server, account))
            return made[account]

        yield make
