"""From what is observed and what is desired to a plan. Pure: no I/O, no host, the same answer every time."""

from virtfn.planning.after_boot import as_after_boot, restored_after_boot
from virtfn.planning.bridges import given_back
from virtfn.planning.planner import AdapterHooks, make_plan, release_of

__all__ = ["AdapterHooks", "as_after_boot", "given_back", "make_plan", "release_of", "restored_after_boot"]
