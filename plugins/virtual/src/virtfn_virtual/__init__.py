"""Network cards of virtual machines: paravirtual ones, and VFs that the hypervisor passed through."""

from virtfn_virtual.plugin import VirtualPlugin

__all__ = ["VirtualPlugin"]
