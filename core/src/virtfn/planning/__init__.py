"""From what is observed and what is desired to a plan. Pure: no I/O, no host, the same answer every time."""

from virtfn.planning.planner import AdapterHooks, make_plan, release_of

__all__ = ["AdapterHooks", "make_plan", "release_of"]
