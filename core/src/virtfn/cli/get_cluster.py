"""Reads from a cluster what `virtfn get` tells. Only what is needed, page by page, and each object is dropped at once
for the little that is told of it: thousands of node states would not fit otherwise.

Whoever asks may have few rights. What only rounds the picture off (the lease, daemon sets, pods) is told as missing;
what nothing can be said without ends with an error that names the right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from virtfn.cli.get_judging import (
    controller_report,
    daemon_set_report,
    node_report,
    other_report,
    policy_report,
    pool_report,
)
from virtfn.cli.get_report import (
    ClusterReport,
    ControllerReport,
    DaemonSetReport,
    NodeReport,
    OtherReport,
    PolicyReport,
    count_nodes,
)
from virtfn.cluster.kinds import (
    DAEMON_SETS,
    IB_NETWORKS,
    NETWORKS,
    NODE_STATES,
    OPERATOR_CONFIGS,
    OVS_NETWORKS,
    POLICIES,
    POOL_CONFIGS,
)
from virtfn.controller.holders import addresses_of, is_finished
from virtfn.errors import ClusterError, Forbidden, NotFound, RequestError, Unavailable
from virtfn.kube.client import KubeClient
from virtfn.kube.resource import LEASES, NODES, PODS, Object, Resource, key_of, metadata_of
from virtfn.model.crd import OPERATOR_CONFIG_NAME
from virtfn.model.handshake import CORDONED_ANNOTATION
from virtfn.model.wording import few_names

PAGE = 200
"""Node states a page: one of two PFs with 128 VFs each has 50 kB."""
_FEW = 50


class ClusterReader:
    """One look at a cluster.

    :param server: its address, for messages.
    """

    def __init__(self, client: KubeClient, *, server: str) -> None:
        self._client = client
        self._server = server
        self._notes: list[str] = []

    def read(self, *, namespace: str = "", node: str = "") -> ClusterReport:
        """All of a namespace, or of it what concerns one node.

        :param namespace: of the operator; empty: the one that has something of ours in it.
        :raises RequestError: there is no such node state, or nothing of ours in the namespace.
        :raises ClusterError: it cannot be read: which right is missing, that the kinds are not installed, or that the
            server is out of reach.
        """
        self._notes = []
        self._check_server()
        given = namespace
        namespace = namespace or self._only_namespace()
        nodes = (self._one(namespace, node),) if node else self._all(namespace)
        policies = tuple(policy_report(each) for each in self._list(POLICIES, namespace))
        pools = tuple(pool_report(each) for each in self._list(POOL_CONFIGS, namespace, optional=True))
        if given and not nodes and not policies:
            self._check_namespace(namespace)
        self._tell_policies_elsewhere(namespace)
        if node:
            policies = self._about(nodes[0], policies)
        return ClusterReport(
            server=self._server,
            namespace=namespace,
            at=self._client.clock.now(),
            nodes=nodes,
            policies=policies,
            pools=pools,
            others=() if node else self._others(namespace),
            controller=self._controller(namespace),
            daemon_sets=self._daemon_sets(namespace),
            notes=tuple(self._notes),
            counts=count_nodes(nodes),
        )

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _all(self, namespace: str) -> tuple[NodeReport, ...]:
        found = (node_report(thing) for thing in self._list(NODE_STATES, namespace, limit=PAGE))
        return tuple(sorted(found, key=lambda node: node.name))

    def _one(self, namespace: str, name: str) -> NodeReport:
        try:
            state = self._client.get(NODE_STATES, namespace=namespace, name=name)
        except Forbidden as error:
            raise self._lacking("get", NODE_STATES, namespace, error) from error
        except NotFound as error:
            for _ in self._list(NODE_STATES, namespace, limit=1):  # says that the kind is not there, if it is that
                break
            raise RequestError(
                f"--node: {namespace} has no node state {name} (nodes that no policy and no daemon is for have none)",
                field="--node",
            ) from error
        return node_report(state, holders=self._holders(name), cordon=self._cordon(name))

    def _holders(self, node: str) -> dict[str, str]:
        """Pods by the PCI addresses of their VFs, as far as Multus tells."""
        pods = self._extra(PODS, fields=f"spec.nodeName={node}", what="which pods have the VFs")
        return {address: key_of(pod) for pod in pods if not is_finished(pod) for address in addresses_of(pod)}

    def _cordon(self, name: str) -> str:
        try:
            node = self._client.find(NODES, name=name)
        except Forbidden:
            self._notes.append("whether the node is cordoned is not shown (no right to get nodes)")
            return ""
        if node is None:
            return "there is no node of this name"
        spec = node.get("spec")
        if not isinstance(spec, Mapping) or not spec.get("unschedulable"):
            return ""
        annotations = metadata_of(node).get("annotations") or {}
        return "cordoned by virtfn" if CORDONED_ANNOTATION in annotations else "cordoned by somebody else"

    @staticmethod
    def _about(node: NodeReport, policies: tuple[PolicyReport, ...]) -> tuple[PolicyReport, ...]:
        """Those that have VFs there, and those that say why they have none there."""
        there = {group.policy for pf in node.pfs for group in pf.groups}
        return tuple(
            policy
            for policy in policies
            if policy.name in there or any(each.node == node.name for each in policy.mismatches)
        )

    def _others(self, namespace: str) -> tuple[OtherReport, ...]:
        found = []
        for resource in (OPERATOR_CONFIGS, NETWORKS, IB_NETWORKS, OVS_NETWORKS):
            # Networks count in every namespace, but who may see only the operator's is shown those.
            where = namespace if resource is OPERATOR_CONFIGS or self._is_closed(resource) else ""
            for thing in self._list(resource, where, optional=True):
                other = other_report(thing, kind=resource.kind, namespace=namespace)
                found += [other] if other is not None else []
        return tuple(sorted(found, key=lambda each: (each.kind, each.name)))

    def _is_closed(self, resource: Resource) -> bool:
        try:
            self._client.page(resource, limit=1)
        except ClusterError:
            return True
        return False

    # --- what rounds it off -------------------------------------------------------------------------------------------

    def _controller(self, namespace: str) -> ControllerReport | None:
        from virtfn.controller.app import LEASE_NAME  # all of the controller comes with it

        try:
            lease = self._client.find(LEASES, namespace=namespace, name=LEASE_NAME)
        except Forbidden:
            self._notes.append(f"whether a controller leads is not shown (no right to get {LEASES} in {namespace})")
            return None
        return controller_report(lease) if lease is not None else ControllerReport("", None, 0)

    def _daemon_sets(self, namespace: str) -> tuple[DaemonSetReport, ...]:
        from virtfn.controller.operands.parts import PART_OF

        labels = f"app.kubernetes.io/part-of={PART_OF}"
        found = self._extra(DAEMON_SETS, namespace=namespace, labels=labels, what="the daemon sets")
        return tuple(daemon_set_report(each) for each in found)

    def _extra(
        self, resource: Resource, *, what: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[Object]:
        try:
            return list(self._client.list(resource, namespace=namespace, labels=labels, fields=fields))
        except Forbidden:
            where = f" in {namespace}" if namespace else ""
            self._notes.append(f"not shown: {what} (no right to list {resource}{where})")
            return []

    def _tell_policies_elsewhere(self, namespace: str) -> None:
        """A policy in another namespace has no effect, and nothing would say so."""
        try:
            found = [metadata_of(each) for each in self._client.list(POLICIES, metadata_only=True)]
        except Forbidden:
            return
        lost = sorted(f"{each['namespace']}/{each['name']}" for each in found if each["namespace"] != namespace)
        if lost:
            self._notes.append(f"policies outside {namespace} have no effect here: {few_names(lost, most=_FEW)}")

    # --- which namespace ----------------------------------------------------------------------------------------------

    def _only_namespace(self) -> str:
        try:
            found = self._namespaces()
        except Forbidden as error:
            raise Forbidden(
                f"{self._server}: the operator's namespace cannot be looked for (name it with -n, or ask for the right "
                f"to list {OPERATOR_CONFIGS} in all namespaces; {_said(error)})",
                subject=str(OPERATOR_CONFIGS),
                status=error.status,
            ) from error
        if len(found) == 1:
            return found[0]
        if found:
            raise RequestError(f"-n: there are several, name one: {', '.join(found)}", field="-n")
        raise RequestError(
            f"-n: no namespace of {self._server} has an operator config, a policy or a node state (is the controller "
            "deployed?)",
            field="-n",
        )

    def _check_namespace(self, namespace: str) -> None:
        """Nothing of ours in the namespace that was named: where else?"""
        if self._client.find(OPERATOR_CONFIGS, namespace=namespace, name=OPERATOR_CONFIG_NAME) is not None:
            return
        try:
            found = [name for name in self._namespaces() if name != namespace]
        except Forbidden:
            found = []
        hint = f"they are in {', '.join(found)}" if found else "is it the operator's namespace?"
        raise RequestError(f"-n: {namespace} has no node states and no policies ({hint})", field="-n")

    def _namespaces(self) -> list[str]:
        """Where something of ours is. Of operator configs and policies there are few, so they are asked for first; of
        several namespaces with policies those count in which a controller has made node states."""
        for resource, most in ((OPERATOR_CONFIGS, 0), (POLICIES, 0), (NODE_STATES, _FEW)):
            found = set()
            for number, each in enumerate(self._list(resource, "", metadata_only=True), start=1):
                metadata = metadata_of(each)
                if resource is not OPERATOR_CONFIGS or metadata.get("name") == OPERATOR_CONFIG_NAME:
                    found.add(str(metadata.get("namespace")))
                if number == most:
                    break
            if len(found) > 1:
                found = {
                    name for name in found if self._client.page(NODE_STATES, namespace=name, limit=1).items
                } or found
            if found:
                return sorted(found)
        return []

    # --- asking -------------------------------------------------------------------------------------------------------

    def _check_server(self) -> None:
        """Ask for the server's version first: it needs no rights, and whether it is there is then known."""
        try:
            self._client.call("GET", path="/version", subject=self._server, timeout=10.0, patient=False)
        except Unavailable as error:
            raise Unavailable(f"{error} [{self._server}]", subject=self._server, status=error.status) from error
        except Forbidden:
            return  # somebody has closed even that

    def _list(
        self,
        resource: Resource,
        namespace: str,
        *,
        limit: int = PAGE,
        metadata_only: bool = False,
        optional: bool = False,
    ) -> Iterator[Object]:
        try:
            yield from self._client.list(resource, namespace=namespace, limit=limit, metadata_only=metadata_only)
        except NotFound as error:
            raise NotFound(
                f"{self._server}: there is no kind {resource.kind} (virtfn is not installed there; its kinds come "
                "with: virtfn crds | kubectl apply -f -)",
                subject=str(resource),
                status=error.status,
            ) from error
        except Forbidden as error:
            if not optional:
                if not namespace:
                    raise
                raise self._lacking("list", resource, namespace, error) from error
            self._notes.append(f"not shown: {resource.plural} (no right to list {resource} in {namespace})")

    def _lacking(self, verb: str, resource: Resource, namespace: str, error: Forbidden) -> Forbidden:
        return Forbidden(
            f"{self._server}: the right to {verb} {resource} in {namespace} is missing ({_said(error)})",
            subject=error.subject,
            status=error.status,
        )


def _said(error: Forbidden) -> str:
    """The server's own words, which name the user."""
    text = str(error)
    return text.partition("(")[2].rpartition(";")[0] or text
