"""Which API server, as whom: a kubeconfig that was named, `KUBECONFIG`, the pod's service account, `~/.kube/config`.

That is the order of controller-runtime, so that one manifest and one shell work for all controllers of a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import yaml

from virtfn.errors import NotConfigured
from virtfn.kube.client import KubeClient
from virtfn.kube.clock import Clock, SystemClock

if TYPE_CHECKING:
    from virtfn.kube.transport import TransportSettings

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every pod finds its token and the cluster's certificate (Kubernetes documentation, "Accessing the API")."""


def configuration(
    *,
    environment: Mapping[str, str],
    kubeconfig: Path | None = None,
    context: str | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Any:
    """A filled `kubernetes.client.Configuration`.

    :param kubeconfig: a file that must be used; None to look for one.
    :param context: of the kubeconfig; None for its current one.
    :raises NotConfigured: if nothing usable is there.
    """
    try:
        from kubernetes.client import Configuration  # half a second, only for those who connect
        from kubernetes.config import ConfigException, load_kube_config
        from kubernetes.config.incluster_config import InClusterConfigLoader
    except ImportError as error:
        raise NotConfigured(f"the Kubernetes client is not installed ({error}; pip install 'virtfn[kube]')") from error

    named = str(kubeconfig) if kubeconfig else environment.get("KUBECONFIG", "")
    made = Configuration()
    try:
        if not named and environment.get("KUBERNETES_SERVICE_HOST"):
            InClusterConfigLoader(
                token_filename=str(service_account / "token"),
                cert_filename=str(service_account / "ca.crt"),
                environ=environment,
            ).load_and_set(made)
            return made
        named = named or str(Path(environment.get("HOME", "/"), ".kube", "config"))
        load_kube_config(config_file=named, context=context, client_configuration=made, persist_config=False)
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        where = f"kubeconfig {named}" if named else f"service account {service_account}"
        raise NotConfigured(f"{where}: cannot be used ({error}; name a kubeconfig, or run in a pod)") from error
    return made


def connect(
    configured: Any,
    *,
    user_agent: str,
    clock: Clock | None = None,
    random: Random | None = None,
    settings: TransportSettings | None = None,
) -> KubeClient:
    """A client for what `configuration` found (or for any configuration of the official client).

    No request is made yet.
    """
    from virtfn.kube.transport import Transport  # urllib3 comes with the extra

    return KubeClient(
        Transport(
            configured,
            user_agent=user_agent,
            clock=clock or SystemClock(),
            random=random or Random(),
            settings=settings,
        )
    )
