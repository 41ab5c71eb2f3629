"""The operator's configuration to what runs on nodes, and how that is going.

It deploys DaemonSets and nothing else: roles, bindings and service accounts come with `deploy/`, so this process needs
no right to make any. A DaemonSet of a wanted name that somebody else made is not touched: the condition says how to
make room for ours. What the configuration asks for and there is not, such as a webhook, is told and is no failure.

Where there is no configuration nothing is deployed from here; `VIRTFN_DEPLOY_OPERANDS=false` says that the DaemonSets
come with the manifests even if there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from virtfn.cluster.kinds import DAEMON_SETS, OPERATOR_CONFIGS
from virtfn.cluster.life import set_log_level
from virtfn.controller.membership import annotations_of, labels_of
from virtfn.controller.operands import NAMES, operand_settings, wanted_daemon_sets
from virtfn.controller.operands.settings import without_effect
from virtfn.controller.reporting import READY, report
from virtfn.controller.services import Services, View
from virtfn.errors import ClusterError, RequestError
from virtfn.kube.conditions import Condition, Status
from virtfn.kube.queue import WorkQueue
from virtfn.kube.reflector import Handler
from virtfn.kube.resource import Json, Object, key_of, metadata_of, uid_of
from virtfn.kube.store import Change
from virtfn.model.crd import GROUP, OPERATOR_CONFIG_NAME, OperatorConfigSpec, SriovOperatorConfig
from virtfn.model.handshake import APPLIED_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL
from virtfn.policy.reading import read_object

logger = logging.getLogger(__name__)

FINALIZER: Final = f"operatorconfig.finalizers.{GROUP}"
"""Of other operators, which clean up webhooks. Nothing here needs it; it is taken away when the object shall go."""
PAUSED_ANNOTATION: Final = "virtfn.io/paused"
"""On the operator's configuration, `true`: what is deployed stays as it is, whatever the configuration says."""
DEPLOY_VARIABLE: Final = "VIRTFN_DEPLOY_OPERANDS"

AVAILABLE: Final = "Available"
"""Condition: whether all pods of the newest version run."""
SUPPORTED: Final = "Supported"
"""Condition: whether everything that the configuration asks for has an effect."""


class OperatorConfigReconciler:
    """There is one key: the name of the one object that counts."""

    name = "operator_config"
    workers = 1
    needs = ("operator_configs", "daemon_sets")

    def __init__(
        self,
        services: Services,
        views: Mapping[str, View],
        *,
        log_level: Callable[[int], None] = set_log_level,
    ) -> None:
        self._services = services
        self._configs = views["operator_configs"].store
        self._daemon_sets = views["daemon_sets"].store
        self._set_log_level = log_level
        self.queue: WorkQueue[str] = WorkQueue(
            name=self.name, clock=services.clock, random=services.random, meter=services.meter
        )
        self.queue.add(OPERATOR_CONFIG_NAME)  # also where there is none: ours may be left over

    def handlers(self) -> Mapping[str, Handler]:
        """See `Reconciler`."""
        return {"operator_configs": self._config_changed, "daemon_sets": self._daemon_set_changed}

    def _config_changed(self, change: Change) -> None:
        if metadata_of(change.thing).get("name") == OPERATOR_CONFIG_NAME:
            self.queue.add(OPERATOR_CONFIG_NAME)

    def _daemon_set_changed(self, change: Change) -> None:
        if metadata_of(change.thing).get("name") in NAMES or _is_ours(change.thing):
            self.queue.add(OPERATOR_CONFIG_NAME)

    def handle(self, key: str) -> float | None:
        """See `Reconciler`."""
        settings = self._services.settings
        live = self._configs.get(f"{settings.namespace}/{key}")
        if live is None:
            self._remove_all_but(())
            return None
        if metadata_of(live).get("deletionTimestamp"):
            self._let_go(live)
            return None
        try:
            spec = _read(live)
        except RequestError as error:
            self._say(live, [_ready(live, "OperatorConfigSyncFailed", str(error))])
            return None
        self._set_log_level(spec.log_level)
        supported = _supported(live, without_effect(spec))
        if annotations_of(live).get(PAUSED_ANNOTATION) == "true":
            message = f"nothing is changed while {PAUSED_ANNOTATION} is true"
            self._say(live, [_ready(live, "Paused", message), supported])
            return None
        if settings.environment.get(DEPLOY_VARIABLE, "").lower() == "false":
            message = "the DaemonSets come with the manifests, and are not changed from here"
            self._say(live, [_ready(live, "OperatorConfigReady", message, ready=True), supported])
            return None
        try:
            wanted = [self._mark(each, live) for each in wanted_daemon_sets(operand_settings(spec, settings))]
            self._deploy(wanted)
        except (RequestError, ClusterError) as error:
            self._say(live, [_ready(live, "OperatorConfigSyncFailed", str(error)), supported])
            if isinstance(error, ClusterError):
                raise
            return None
        message = "SriovOperatorConfig reconciled successfully"
        self._say(
            live, [_ready(live, "OperatorConfigReady", message, ready=True), self._available(live, wanted), supported]
        )
        return None

    def _deploy(self, wanted: list[Json]) -> None:
        """Make the DaemonSets what is wanted; all of them are tried.

        :raises RequestError: somebody else's is in the way.
        """
        failed: list[RequestError | ClusterError] = []
        for each in wanted:
            live = self._daemon_sets.get(key_of(each))
            if live is not None and not _is_ours(live):
                failed.append(_in_the_way(live))
                continue
            try:
                self._services.applier.apply(DAEMON_SETS, wanted=each, live=live)
            except ClusterError as error:
                failed.append(error)
        self._remove_all_but(key_of(each) for each in wanted)
        if failed:
            raise failed[0]

    def _remove_all_but(self, keys: Iterable[str]) -> None:
        kept = set(keys)
        for live in self._daemon_sets.objects():
            if _is_ours(live) and key_of(live) not in kept and not metadata_of(live).get("deletionTimestamp"):
                logger.info("DaemonSet %s is no longer wanted; deleted", key_of(live))
                self._services.applier.delete(DAEMON_SETS, live=live, propagation="Background")

    def _mark(self, wanted: Json, live: Object) -> Json:
        """With the marks of what is ours, and the configuration as its owner, so that it goes along with that."""
        metadata = wanted["metadata"]
        metadata["labels"][MANAGED_BY_LABEL] = MANAGED_BY
        metadata["ownerReferences"] = [
            {
                "apiVersion": OPERATOR_CONFIGS.api_version,
                "kind": OPERATOR_CONFIGS.kind,
                "name": metadata_of(live)["name"],
                "uid": uid_of(live),
                "controller": True,
            }
        ]
        return wanted

    def _available(self, config: Object, wanted: Iterable[Json]) -> Condition:
        late = [metadata_of(each)["name"] for each in wanted if not _runs(self._daemon_sets.get(key_of(each)))]
        # Without numbers: on a large cluster they would change with every pod, and each change is a write.
        message = f"not all pods run yet: {', '.join(late)}" if late else "all pods run"
        reason = "PodsMissing" if late else "PodsRun"
        return Condition(AVAILABLE, Status.of(not late), reason, message, _generation(config))

    def _let_go(self, live: Object) -> None:
        finalizers = list(metadata_of(live).get("finalizers") or ())
        if FINALIZER in finalizers:
            left = [word for word in finalizers if word != FINALIZER]
            wanted = {"metadata": {"finalizers": left}}
            self._services.applier.patch(OPERATOR_CONFIGS, live=live, wanted=wanted, guarded=True)

    def _say(self, live: Object, conditions: list[Condition]) -> None:
        report(self._services, OPERATOR_CONFIGS, live=live, conditions=conditions)


def _read(live: Object) -> OperatorConfigSpec:
    config = read_object({**live, "apiVersion": OPERATOR_CONFIGS.api_version, "kind": OPERATOR_CONFIGS.kind})
    assert isinstance(config, SriovOperatorConfig)
    return config.spec


def _is_ours(daemon_set: Object) -> bool:
    return labels_of(daemon_set).get(MANAGED_BY_LABEL) == MANAGED_BY and APPLIED_ANNOTATION in annotations_of(
        daemon_set
    )


def _in_the_way(daemon_set: Object) -> RequestError:
    name, namespace = metadata_of(daemon_set)["name"], metadata_of(daemon_set)["namespace"]
    return RequestError(
        f"DaemonSet {namespace}/{name}: cannot be deployed (somebody else made one of that name; stop the operator that"
        f" did, and `kubectl -n {namespace} delete daemonset {name}`)"
    )


def _runs(daemon_set: Object | None) -> bool:
    """Whether every pod that should be there is, in its newest version, and ready."""
    if daemon_set is None:
        return False
    status = daemon_set.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    return (
        status.get("observedGeneration") == metadata_of(daemon_set).get("generation")
        and status.get("updatedNumberScheduled", 0) == wanted
        and status.get("numberAvailable", 0) == wanted
    )


def _generation(live: Object) -> int:
    return int(metadata_of(live).get("generation") or 0)


def _ready(live: Object, reason: str, message: str, *, ready: bool = False) -> Condition:
    return Condition(READY, Status.of(ready), reason, message, _generation(live))


def _supported(live: Object, lines: tuple[str, ...]) -> Condition:
    reason = "UnsupportedConfiguration" if lines else "Supported"
    message = "; ".join(lines) or "everything that is asked for has an effect"
    return Condition(SUPPORTED, Status.of(not lines), reason, message, _generation(live))
