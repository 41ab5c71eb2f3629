"""virtfn provisions SR-IOV virtual functions. A plugin needs from here: `Plugin`, `hookimpl`, `API_VERSION`."""

from virtfn.plugin import API_VERSION, Plugin, hookimpl

__all__ = ["API_VERSION", "Plugin", "hookimpl"]
