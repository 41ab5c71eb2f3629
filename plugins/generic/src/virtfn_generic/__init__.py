"""Any SR-IOV network card, by what the kernel offers alone: the fallback of every other virtfn plugin."""

from virtfn_generic.plugin import GenericPlugin

__all__ = ["GenericPlugin"]
