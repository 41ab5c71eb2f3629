"""From what is observed and what is desired to a plan. Pure: no I/O, no host, the same answer every time."""

from virtfn.planning.bridges import given_back
from virtfn.planning.planner import AdapterHooks, make_plan, release_of

__all__ = ["AdapterHooks", "given_back", "make_plan", "release_of"]
