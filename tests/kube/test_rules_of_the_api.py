"""The rules in the CustomResourceDefinitions, as a server that knows CEL applies them."""

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client import ApiClient, CustomObjectsApi
from kubernetes.client.exceptions import ApiException

GROUP, VERSION = "sriovnetwork.openshift.io", "v1"


def policy(**spec: Any) -> dict[str, Any]:
    whole = {"resourceName": "r", "nodeSelector": {}, "nicSelector": {"pfNames": ["ens1f0"]}, "numVfs": 4, **spec}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "SriovNetworkNodePolicy",
        "metadata": {"generateName": "p-"},
        "spec": {name: value for name, value in whole.items() if value is not None},
    }


@pytest.fixture
def create(kube_admin: ApiClient, namespace: str, crds: list[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    assert crds
    api = CustomObjectsApi(kube_admin)

    def make(body: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = api.create_namespaced_custom_object(
            GROUP, VERSION, namespace, "sriovnetworknodepolicies", body
        )
        return made

    return make


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"priority": 0, "mtu": 9000, "isRdma": True, "linkType": "eth"},
        {"nicSelector": {"pfNames": ["ens1f0#0-3"]}},
        {"nicSelector": {"vendor": "15b3", "pfNames": ["a", "b"]}, "eSwitchMode": "switchdev"},
        {"eSwitchMode": "switchdev", "bridge": {"ovs": {}}},
        {"deviceType": "vfio-pci"},
    ],
)
def test_policy_that_makes_sense_is_taken(create: Callable[..., Any], spec: dict[str, Any]) -> None:
    made = create(policy(**spec))
    assert made["spec"]["priority"] == spec.get("priority", 99)
    assert made["spec"]["deviceType"] == spec.get("deviceType", "netdevice")


@pytest.mark.needs_version("1.29")
@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"nicSelector": {"pfNames": ["ens1f0#0-4"]}}, "pfNames"),
        ({"nicSelector": {}}, "nicSelector"),
        ({"bridge": {"ovs": {"bridge": {"failMode": "secure"}}}}, "bridge"),
        ({"deviceType": "vfio-pci", "isRdma": True}, "isRdma"),
        ({"vdpaType": "vhost"}, "vdpa"),
        ({"nicSelector": {"netFilter": "aws/NetworkID:x", "vendor": "15b3"}}, "netFilter"),
    ],
)
def test_policy_against_a_rule_is_refused_by_the_server(
    create: Callable[..., Any], spec: dict[str, Any], word: str
) -> None:
    with pytest.raises(ApiException) as caught:
        create(policy(**spec))
    assert caught.value.status == 422
    assert word in caught.value.body


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"priority": 100}, "spec.priority"),
        ({"numVfs": "4"}, "spec.numVfs"),
        ({"numVfs": None}, "spec.numVfs"),
        ({"deviceType": "uio"}, "spec.deviceType"),
        ({"eSwitchMode": "Switchdev"}, "spec.eSwitchMode"),
        ({"mtu": 0}, "spec.mtu"),
    ],
)
def test_wrong_value_is_refused_with_its_field(create: Callable[..., Any], spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ApiException) as caught:
        create(policy(**spec))
    assert caught.value.status == 422
    assert field in caught.value.body
