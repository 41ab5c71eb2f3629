"""A daemon speaks of its own node only, by the node name in its pod's token: with a server that knows of both."""

from __future__ import annotations

from random import Random

import pytest
from kube.bed.assets import Assets
from kube.bed.deploying import DEPLOY, OVERLAYS, Kubectl, as_account, deployed
from kube.bed.reconciling import eventually
from kube.bed.server import ApiServer
from kubernetes import client

from virtfn.cluster.kinds import NODE_STATES
from virtfn.errors import Forbidden
from virtfn.kube.access import configuration, connect
from virtfn.kube.client import KubeClient
from virtfn.kube.resource import NODES, PODS, Json, uid_of

OPERATOR = OVERLAYS["default"]
SAID = {"status": {"syncStatus": "Succeeded"}}


def say(kube: KubeClient, node: str) -> Json:
    return kube.patch(NODE_STATES, name=node, namespace=OPERATOR, body=SAID, subresource="status")


def pods_token(server: ApiServer, admin: KubeClient, node: str) -> str:
    """A token as the kubelet gets it for a daemon's pod on a node."""
    spec = {
        "nodeName": node,
        "serviceAccountName": "virtfn-daemon",
        "containers": [{"name": "daemon", "image": "example.org/i:1"}],
    }
    pod = admin.create(PODS, body={"metadata": {"name": f"daemon-{node}", "namespace": OPERATOR}, "spec": spec})
    bound = {"apiVersion": "v1", "kind": "Pod", "name": f"daemon-{node}", "uid": uid_of(pod)}
    asked = {"spec": {"expirationSeconds": 3600, "audiences": [], "boundObjectRef": bound}}
    with server.client() as api:
        answer = client.CoreV1Api(api).create_namespaced_service_account_token("virtfn-daemon", OPERATOR, asked)
    return str(answer.status.token)


@pytest.mark.needs_version("1.30")
def test_a_daemon_speaks_of_its_own_node_only(binaries: Assets) -> None:
    with deployed(binaries) as server, as_account(server, "") as admin, as_account(server, "virtfn-daemon") as nowhere:
        for node in ("a", "b"):
            admin.create(NODES, body={"metadata": {"name": node}})
            state = {"apiVersion": NODE_STATES.api_version, "kind": NODE_STATES.kind}
            admin.create(NODE_STATES, body={**state, "metadata": {"name": node, "namespace": OPERATOR}})
        token = pods_token(server, admin, "a")
        configured = configuration(environment={}, kubeconfig=server.kubeconfig(token))
        daemon = connect(configured, user_agent="virtfn/test", random=Random())
        try:
            assert say(daemon, "b"), "roles cannot tell daemons apart"
            Kubectl.of(server)("apply", "-k", DEPLOY / "admission")

            def is_held() -> bool:
                try:
                    say(daemon, "b")
                except Forbidden as error:
                    return "may not write the state of b" in str(error)
                return False

            eventually(is_held)
            assert say(daemon, "a")
            with pytest.raises(Forbidden, match="does not say which node"):
                say(nowhere, "a")
            assert say(admin, "b"), "others are not held"
        finally:
            daemon.close()
