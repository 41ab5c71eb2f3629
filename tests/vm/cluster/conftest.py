"""One cluster with one guest for all tests of a module, which run on the host, in the order they are written in.

What they need is built by `make kube-deps` and `make vm-deps`; where it is missing, they fail and say so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `bed`, `cluster`
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `kube.bed`

import deps as vm_deps
from bed.sight import PhysicalFunction
from cluster.ground import DEFAULT, Cluster, Site
from kube import deps as kube_deps
from kube.bed import assets


def started(site: Site) -> Iterator[Cluster]:
    """Server and guest, for as long as tests go on; the guest's kernel has to be content in the end."""
    lacking = [f"{line} (run `make vm-deps`)" for line in vm_deps.problems()]
    lacking += [f"{line} (run `make kube-deps`)" for line in kube_deps.problems()]
    found = assets.find()
    if lacking or found is None:
        pytest.fail("\n".join(["the tests with a cluster are not set up:", *lacking]), pytrace=False)
    with Cluster(found, site) as made:
        yield made
        trouble = made.guest.kernel_trouble()
        assert trouble == [], made.guest.last_words()


@pytest.fixture(scope="module")
def empty_cluster() -> Iterator[Cluster]:
    """Server and guest; neither controller nor daemon runs yet. A module may have another site."""
    yield from started(DEFAULT)


@pytest.fixture(scope="module")
def untouched(empty_cluster: Cluster) -> dict[str, PhysicalFunction]:
    """All cards as the guest booted, before a daemon ran."""
    empty_cluster.guest.wait()
    return empty_cluster.guest.look_at_all()


@pytest.fixture(scope="module")
def cluster(empty_cluster: Cluster, untouched: dict[str, PhysicalFunction]) -> Cluster:
    """Controller and daemon run, and the node is in sync with no policy."""
    empty_cluster.start_controller()
    empty_cluster.start_daemon()
    empty_cluster.until_in_sync()
    return empty_cluster
