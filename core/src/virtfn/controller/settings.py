"""The controller's settings from the environment's variables, which are those of the existing operators."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Final

from virtfn.controller.services import ControllerSettings
from virtfn.errors import RequestError

logger = logging.getLogger(__name__)

DRAIN_DEADLINE: Final = 600.0
STALE_MINUTES: Final = 30.0
NODE_SELECTOR: Final = "VIRTFN_NODE_SELECTOR"


def settings_from(environment: Mapping[str, str], *, namespace: str = "") -> ControllerSettings:
    """Read them.

    A number that is none counts as not given, and is told in the log: the existing operators have it so.

    :param namespace: instead of `NAMESPACE`.
    :raises RequestError: `NAMESPACE` or `RESOURCE_PREFIX` is missing, or `VIRTFN_NODE_SELECTOR` holds no labels.
    """
    namespace = namespace or environment.get("NAMESPACE", "")
    if not namespace:
        raise RequestError(
            "NAMESPACE: it is not known in which namespace the objects are (set it, or give --namespace)",
            field="NAMESPACE",
        )
    prefix = environment.get("RESOURCE_PREFIX", "").rstrip("/")
    if not prefix:
        raise RequestError(
            "RESOURCE_PREFIX: it is not known what the names of resources begin with (set it, like openshift.io)",
            field="RESOURCE_PREFIX",
        )
    return ControllerSettings(
        namespace=namespace,
        resource_prefix=prefix,
        environment=dict(environment),
        node_selector=_labels(environment, NODE_SELECTOR),
        use_external_drainer=environment.get("USE_EXTERNAL_DRAINER", "").lower() == "true",
        drain_deadline=_number(environment, "VIRTFN_DRAIN_DEADLINE_SECONDS", instead=DRAIN_DEADLINE),
        stale_state_minutes=_number(environment, "STALE_NODE_STATE_CLEANUP_DELAY_MINUTES", instead=STALE_MINUTES),
    )


def _number(environment: Mapping[str, str], name: str, *, instead: float) -> float:
    text = environment.get(name, "").strip()
    if not text:
        return instead
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        logger.warning("%s: %r is no number from 0; %g is taken", name, text, instead)
        return instead
    return number


def _labels(environment: Mapping[str, str], name: str) -> dict[str, str]:
    """`key=value`, separated by commas. A word that is none ends it: without it, other nodes would be meant."""
    labels = {}
    for word in filter(None, map(str.strip, environment.get(name, "").split(","))):
        key, mark, value = word.partition("=")
        if not mark or not key:
            raise RequestError(f"{name}: {word!r} is no label (expected key=value, separated by commas)", field=name)
        labels[key] = value
    return labels
