"""Networks of the API as NetworkAttachmentDefinitions, which is what Multus reads and a pod names.

Pure: creating, taking over and deleting the objects is the controller's; what it has to decide is decided here.
The CNI configurations are those of the sriov, ib-sriov and ovs plugins, with their keys in the order in which other
operators write them, so that a cluster which changes over finds its NetworkAttachmentDefinitions unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from virtfn.errors import InvalidDocument
from virtfn.model.crd import GROUP, OVSNetwork, SriovIBNetwork, SriovNetwork
from virtfn.policy.raw_json import indented, one_object, several_objects

NAD_API_VERSION: Final = "k8s.cni.cncf.io/v1"
NAD_KIND: Final = "NetworkAttachmentDefinition"
RESOURCE_ANNOTATION: Final = "k8s.v1.cni.cncf.io/resourceName"
"""On a NetworkAttachmentDefinition: the device plugin's resource that its pods need."""
OWNER_ANNOTATION: Final = f"{GROUP}/owner-ref"
"""On a NetworkAttachmentDefinition: the network it was made from."""
CNI_VERSION: Final = "1.0.0"

Members = Iterator[tuple[str, str]]
"""Keys of a JSON object with their values as JSON text."""


Network = SriovNetwork | SriovIBNetwork | OVSNetwork


def render_network(
    network: Network, *, resource_prefix: str, operator_namespace: str | None = None, cni_version: str = CNI_VERSION
) -> dict[str, Any]:
    """The NetworkAttachmentDefinition of a network, as plain data.

    `spec.config` is JSON indented by 4. `ipam`, `capabilities` and `metaPlugins` are in it as they were written, but
    for blanks between their parts: keys in their order, also those that are given twice, of which CNI plugins take
    the last.

    :param resource_prefix: what stands before the `/` of the device plugin's resources, such as `openshift.io`.
    :param operator_namespace: see `target_namespace`.
    :param cni_version: of the configuration; older operators wrote `0.3.1`.
    :raises InvalidDocument: one of the raw JSON texts is malformed (its field, with line and column), or the network
        may not be where it wants to be.
    """
    namespace = target_namespace(network, operator_namespace=operator_namespace)
    return {
        "apiVersion": NAD_API_VERSION,
        "kind": NAD_KIND,
        "metadata": {
            "name": network.metadata.name,
            "namespace": namespace,
            "annotations": {
                RESOURCE_ANNOTATION: f"{resource_prefix}/{network.spec.resource_name}",
                OWNER_ANNOTATION: owner_ref(network),
            },
        },
        "spec": {"config": indented(_config(network, cni_version))},
    }


def target_namespace(network: Network, *, operator_namespace: str | None = None) -> str:
    """Where the NetworkAttachmentDefinition belongs: `spec.networkNamespace`, or the network's own namespace.

    :param operator_namespace: only networks there may name another namespace; None: that is not looked at.
    :raises InvalidDocument: a network elsewhere names a namespace.
    """
    own, named = network.metadata.namespace, network.spec.network_namespace
    if named and operator_namespace is not None and own != operator_namespace:
        raise InvalidDocument(
            f"{_label(network)}: spec.networkNamespace: networkNamespace cannot be set here, got {named!r} (only"
            f" networks in {operator_namespace} may make definitions in other namespaces; leave it out)",
            field="spec.networkNamespace",
        )
    return named or own


def _label(network: Network) -> str:
    return f"{network.kind} {network.metadata.namespace}/{network.metadata.name}"


# --- who owns what --------------------------------------------------------------------------------------------------


class Action(StrEnum):
    """What to do about the NetworkAttachmentDefinition of a network."""

    CREATE = "create"
    UPDATE = "update"
    """It is this network's and differs, or nobody's and is taken over."""
    KEEP = "keep"
    REFUSE = "refuse"
    """It is somebody else's."""


def owner_ref(network: Network) -> str:
    """How a NetworkAttachmentDefinition names the network it was made from."""
    return reference(network.kind, namespace=network.metadata.namespace, name=network.metadata.name)


def reference(kind: str, *, namespace: str, name: str) -> str:
    """The same for a network that cannot be read as a whole, whose definition has to go all the same."""
    return f"{kind}.{GROUP}/{namespace}/{name}"


def owner_of(definition: Mapping[str, Any]) -> str:
    """The `owner_ref` that a NetworkAttachmentDefinition names; empty for one that names nobody."""
    owner = _annotations(definition).get(OWNER_ANNOTATION)
    return owner if isinstance(owner, str) else ""


def action_on(existing: Mapping[str, Any] | None, rendered: Mapping[str, Any]) -> Action:
    """What has to be done so that there is what was rendered.

    :param existing: the NetworkAttachmentDefinition of that name and namespace; None: there is none.
    :param rendered: from `render_network`; its annotations stand for all that there shall be.
    """
    if existing is None:
        return Action.CREATE
    if owner_of(existing) not in ("", owner_of(rendered)):
        return Action.REFUSE
    same = existing.get("spec") == rendered["spec"] and _annotations(existing) == _annotations(rendered)
    return Action.KEEP if same else Action.UPDATE


def may_delete(existing: Mapping[str, Any], network: Network) -> bool:
    """Whether a NetworkAttachmentDefinition goes with the network: only one that names it as its owner does."""
    return owner_of(existing) == owner_ref(network)


def _annotations(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = definition.get("metadata") or {}
    return metadata.get("annotations") or {}


# --- the configuration ----------------------------------------------------------------------------------------------


def _config(network: Network, cni_version: str) -> str:
    """The CNI configuration as JSON on one line: a single plugin, or a list when there are meta plugins."""
    plugin = list(_plugin(network))
    head = [("cniVersion", _json(cni_version)), ("name", _json(network.metadata.name))]
    if not (chained := _meta_plugins(network)):
        return _object([*head, *plugin])
    return _object([*head, ("plugins", f"[{','.join([_object(plugin), *chained])}]")])


def _plugin(network: Network) -> Members:
    """What the CNI plugin of the network's kind is told."""
    match network:
        case SriovNetwork():
            yield "type", _json("sriov")
            yield from _sriov(network)
        case SriovIBNetwork():
            yield "type", _json("ib-sriov")
            yield from _capabilities(network)
            yield from _given("link_state", network.spec.link_state)
        case OVSNetwork():
            yield "type", _json("ovs")
            yield from _ovs(network)
    yield from _ipam(network)


def _sriov(network: SriovNetwork) -> Members:
    spec = network.spec
    yield "vlan", _json(spec.vlan)
    yield from _given("spoofchk", spec.spoof_chk)
    yield from _given("trust", spec.trust)
    yield "vlanQoS", _json(spec.vlan_qos)
    yield from _given("vlanProto", spec.vlan_proto)
    yield from _given("min_tx_rate", spec.min_tx_rate)
    yield from _given("max_tx_rate", spec.max_tx_rate)
    yield from _capabilities(network)
    yield from _given("link_state", spec.link_state)
    yield from _given("logLevel", spec.log_level)
    yield from _given("logFile", spec.log_file)


def _ovs(network: OVSNetwork) -> Members:
    spec = network.spec
    yield from _capabilities(network)
    yield from _given("bridge", spec.bridge)
    yield from _given("vlan", spec.vlan or None)
    yield from _given("mtu", spec.mtu or None)
    if spec.trunk:
        entries = (
            [*_given("minID", entry.min_id), *_given("maxID", entry.max_id), *_given("id", entry.id)]
            for entry in spec.trunk
        )
        yield "trunk", f"[{','.join(map(_object, entries))}]"
    yield from _given("interface_type", spec.interface_type)


def _given(key: str, value: int | str | None) -> Members:
    """The member unless it is unset; 0 is a value."""
    if value is not None and value != "":
        yield key, _json(value)


def _capabilities(network: Network) -> Members:
    text = network.spec.capabilities
    if text.strip():
        example = '{"mac": true, "ips": true}'
        yield "capabilities", one_object(text, field="spec.capabilities", what=_label(network), example=example)


def _ipam(network: Network) -> Members:
    text = network.spec.ipam
    example = '{"type": "host-local", "subnet": "10.1.0.0/24"}'
    yield "ipam", one_object(text, field="spec.ipam", what=_label(network), example=example) if text.strip() else "{}"


def _meta_plugins(network: Network) -> list[str]:
    text = network.spec.meta_plugins
    if not text.strip():
        return []
    example = '{"type": "rdma"}, {"type": "tuning", "sysctl": {}}'
    return several_objects(text, field="spec.metaPlugins", what=_label(network), example=example)


def _json(value: int | str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{_json(key)}:{value}" for key, value in members) + "}"
