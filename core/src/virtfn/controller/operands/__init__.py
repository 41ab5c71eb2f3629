"""What runs on nodes, as DaemonSets: the daemon, the device plugin, and installers of CNI plugins.

Pure: from settings to objects. The controller applies them where there is an operator configuration. The manifests of
`deploy/` that have to do without one are made from the same code (`python -m virtfn.controller.operands`).

No role, binding or service account is made here: who could make those could give itself any right. They come with
`deploy/`, and the objects here name them.
"""

from virtfn.controller.operands.cni import cni_installer
from virtfn.controller.operands.cni_plugins import CNI_PLUGINS
from virtfn.controller.operands.config_daemon import CONFIG_DAEMON, config_daemon
from virtfn.controller.operands.device_plugin import DEVICE_PLUGIN, device_plugin
from virtfn.controller.operands.settings import OperandSettings, operand_settings
from virtfn.kube.resource import Json

NAMES = (CONFIG_DAEMON, DEVICE_PLUGIN, *(plugin.daemon_set for plugin in CNI_PLUGINS))
"""All DaemonSets that there can be; a role that may write these and no others is enough."""


def wanted_daemon_sets(settings: OperandSettings) -> tuple[Json, ...]:
    """All DaemonSets that shall be there, without owner and marks of the controller."""
    made = [config_daemon(settings)]
    if settings.device_plugin_image:
        made.append(device_plugin(settings))
    made += [cni_installer(plugin, settings) for plugin in CNI_PLUGINS if plugin.variable in settings.cni_images]
    return tuple(made)


__all__ = ["NAMES", "OperandSettings", "operand_settings", "wanted_daemon_sets"]
