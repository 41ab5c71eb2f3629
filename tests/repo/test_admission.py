"""The admission policies' own expressions, evaluated as a server would, for servers that cannot be had here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml

DAEMON = "system:serviceaccount:sriov-network-operator:virtfn-daemon"
CONTROLLER = "system:serviceaccount:kube-system:virtfn-controller"
NODE_KEY = "authentication.kubernetes.io/node-name"


class Policy:
    """One policy: whether it looks at a request, and what it says."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self._spec = definition["spec"]

    def refuses(self, request: dict[str, Any], thing: dict[str, Any] | None = None) -> list[str]:
        """Expressions that do not hold; none if the policy is not about this request."""
        known: dict[str, Any] = {"request": request, "object": thing or {}, "variables": {}}
        if not all(_evaluate(each["expression"], known) for each in self._spec["matchConditions"]):
            return []
        for variable in self._spec.get("variables", ()):
            known["variables"][variable["name"]] = _evaluate(variable["expression"], known)
        return [each["expression"] for each in self._spec["validations"] if not _evaluate(each["expression"], known)]


def _evaluate(expression: str, known: dict[str, Any]) -> Any:
    environment = celpy.Environment()
    program = environment.program(environment.compile(expression))
    return program.evaluate({name: celpy.json_to_cel(value) for name, value in known.items()})


@pytest.fixture
def policies(root: Path) -> dict[str, Policy]:
    found = {}
    for path in sorted((root / "deploy" / "admission").glob("*.yaml")):
        for thing in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if thing["kind"] == "ValidatingAdmissionPolicy":
                assert thing["spec"]["failurePolicy"] == "Fail"
                found[thing["metadata"]["name"]] = Policy(thing)
    return found


def write(**changes: Any) -> dict[str, Any]:
    """The daemon of node a says how its node is."""
    request = {
        "operation": "UPDATE",
        "resource": {"group": "sriovnetwork.openshift.io", "resource": "sriovnetworknodestates"},
        "subResource": "status",
        "name": "a",
        "namespace": "sriov-network-operator",
        "userInfo": {"username": DAEMON, "extra": {NODE_KEY: ["a"]}},
    }
    return request | changes


def test_a_daemon_may_speak_of_its_own_node(policies: dict[str, Policy]) -> None:
    assert policies["virtfn-daemon-own-node-state"].refuses(write()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "b"},
        {"userInfo": {"username": DAEMON, "extra": {NODE_KEY: ["b"]}}},
        {"userInfo": {"username": DAEMON, "extra": {"authentication.kubernetes.io/pod-name": ["p"]}}},
        {"userInfo": {"username": DAEMON}},
        {"subResource": ""},
        {"operation": "CREATE"},
        {"operation": "DELETE"},
        {"namespace": "elsewhere"},
        {"resource": {"group": "sriovnetwork.openshift.io", "resource": "sriovnetworknodepolicies"}},
    ],
    ids=lambda each: next(iter(each)),
)
def test_and_of_nothing_else(changes: dict[str, Any], policies: dict[str, Policy]) -> None:
    assert policies["virtfn-daemon-own-node-state"].refuses(write(**changes))


@pytest.mark.parametrize(
    "name",
    [
        CONTROLLER,
        "kubernetes-admin",
        "system:serviceaccount:a:virtfn-daemon2",
        "x:system:serviceaccount:a:virtfn-daemon",
    ],
)
def test_others_are_not_held_by_it(name: str, policies: dict[str, Policy]) -> None:
    assert policies["virtfn-daemon-own-node-state"].refuses(write(name="b", userInfo={"username": name})) == []


@pytest.mark.parametrize("account", ["virtfn-daemon", "virtfn-device-plugin", "virtfn-cni"])
def test_the_controller_deploys_as_these(account: str, policies: dict[str, Policy]) -> None:
    request = {"userInfo": {"username": CONTROLLER}}
    thing = {"spec": {"template": {"spec": {"serviceAccountName": account}}}}
    assert policies["virtfn-controller-own-accounts"].refuses(request, thing) == []


@pytest.mark.parametrize("pod", [{}, {"serviceAccountName": "virtfn-controller"}, {"serviceAccountName": "default"}])
def test_and_as_no_other(pod: dict[str, Any], policies: dict[str, Policy]) -> None:
    thing = {"spec": {"template": {"spec": pod}}}
    assert policies["virtfn-controller-own-accounts"].refuses({"userInfo": {"username": CONTROLLER}}, thing)
    assert policies["virtfn-controller-own-accounts"].refuses({"userInfo": {"username": "admin"}}, thing) == []
