"""Intel network cards with SR-IOV: 82576 and I350 (igb), 82599 to X550 (ixgbe), 700 series (i40e), 800 series (ice)."""

from virtfn_intel.plugin import IntelPlugin

__all__ = ["IntelPlugin"]
