"""THE contract between virtfn and its plugins: hook specifications with their docstrings, and nothing else.

Calling rules that hold for every hook:

* A hook is called with keyword arguments. An implementation may take fewer of them, in any order; core may add some.
* For an adapter served by plugin X the hooks of X and of the generic plugin are bound, X first. The plan hooks stop at
  the first answer that is not None. So fallback is per hook: `None` is "not mine, let generic do it", an empty tuple is
  "mine, and there is nothing to do".
* Observe reads. Plan gets no host: it is a pure function of its arguments. Only perform may write.
* Errors are those of `virtfn.errors`; whatever else comes out of a hook is reported as the plugin's fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pluggy

from virtfn.host.api import Host, HostReader
from virtfn.model import (
    Adapter,
    Claim,
    DesiredAdapter,
    DeviceModel,
    Pf,
    Platform,
    Problem,
    Refusal,
    Step,
    StepOutcome,
)
from virtfn.plugin import PROJECT

hookspec = pluggy.HookspecMarker(PROJECT)


# --- what the plugin serves -------------------------------------------------------------------------------------------


@hookspec
def device_table() -> Sequence[DeviceModel]:
    """The models the plugin knows: ids of PF and VF, model name, capabilities.

    Called once, after loading. Pure data: documentation, admission checks and NIC selectors use it. A device that is
    not in the table is still served if the entry point's key matches it; a table is information, not a gate.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def claim(device: Pf, platform: Platform) -> Claim | Refusal | None:
    """Whether the plugin serves this PCI function, where the ids alone cannot tell.

    Called once per network function whose ids match the entry point's key, before anything else is asked of it; for
    the keys `generic` and `virtual`, once per function that no more specific plugin took. The next best plugin is
    asked after a refusal, and the refusal's reason is shown.

    :param device: the function as core observed it, without vendor facts.
    :param platform: facts of the node.
    :returns: a `Claim`, a `Refusal` with its reason, or None for "the ids decide".
    """


# --- observe: reads only ----------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def observe(adapter: Adapter, host: HostReader, platform: Platform) -> Mapping[str, Any] | None:
    """Vendor facts of the adapter: firmware current and next, modes, package versions.

    Called once per adapter and pass. What is returned is put in `Adapter.facts`, shown in the node state's status, and
    handed to the plan hooks. JSON values only. A fact that cannot be read is left out, it is not an error.

    :param adapter: the adapter as core observed it; `facts` is empty.
    :param host: reads only; it has no method that writes.
    :param platform: facts of the node.
    """


# --- plan: pure -------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def plan_firmware(adapter: Adapter, desired: DesiredAdapter, platform: Platform) -> Sequence[Step] | None:
    """Steps that must come before VFs can exist: firmware settings, link type, modes of the card.

    Called once per adapter with something wanted. Steps that only take effect after a reboot say so in `disruption`.
    """


@hookspec(firstresult=True)
def plan_functions(adapter: Adapter, desired: DesiredAdapter, platform: Platform) -> Sequence[Step] | None:
    """The PFs: link up, MTU, eswitch mode and number of VFs, in the order this hardware wants.

    Called once per adapter with something wanted, after `plan_firmware`.
    """


@hookspec(firstresult=True)
def plan_vfs(
    adapter: Adapter, desired: DesiredAdapter, platform: Platform, planned: Sequence[Step]
) -> Sequence[Step] | None:
    """The VFs: administrative MAC, GUID, driver, MTU, one VF after the other.

    Called once per adapter with something wanted, after `plan_functions`. VFs that do not exist yet are planned too.

    :param planned: the steps of `plan_firmware` and `plan_functions`. `virtfn.model.steps.creates_vfs` tells whether
        they make the VFs anew, `unbound_vfs` which VFs they take from their driver.
    """


@hookspec
def validate(adapter: Adapter, desired: DesiredAdapter, platform: Platform) -> Sequence[Problem] | None:
    """What is wrong with the request for this adapter, before anything is planned.

    Called for admission, by the controller, and before each plan, on the owner and on generic; all answers count. A
    problem of severity error stops the PF it names; nothing of it is applied.

    A warning with the reason `virtfn.model.IN_FIRMWARE` says that a PF cannot have what is wanted in that field as its
    firmware is now, and that `plan_firmware` changes it: what core or generic has against the same field is put aside,
    and the PF gets no other steps until it is there. For admission the adapter has no facts.
    """


# --- perform: writes --------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def perform(step: Step, adapter: Adapter, host: Host) -> StepOutcome | None:
    """Do one step of the plugin's own kind (`<plugin name>.<verb>`); standard steps are done by core.

    :raises HostError: when the machine refuses. Never returns success for something that was not done.
    """
