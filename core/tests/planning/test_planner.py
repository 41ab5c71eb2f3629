from collections.abc import Sequence

import pytest

from virtfn.errors import ContractViolation, HostError
from virtfn.model import (
    IN_FIRMWARE,
    Adapter,
    DesiredAdapter,
    DesiredPf,
    DesiredState,
    Disruption,
    Inventory,
    Netdev,
    PciAddress,
    PciId,
    Pf,
    Platform,
    Problem,
    Severity,
    Step,
    steps,
)
from virtfn.planning import AdapterHooks, make_plan

FIRST = PciAddress.parse("0000:01:00.0")
SECOND = PciAddress.parse("0000:02:00.0")


def a_pf(address: PciAddress) -> Pf:
    netdev = Netdev(f"eth{address.bus}", address.bus, "02:00:00:00:00:01", 1500, True)
    return Pf(address, PciId("ffff", "0001"), driver="card", netdev=netdev, total_vfs=8)


def an_inventory(**changes: object) -> Inventory:
    adapters = [Adapter(address.slot, (a_pf(address),), owner="card", **changes) for address in (SECOND, FIRST)]  # type: ignore[arg-type]
    return Inventory(tuple(adapters), Platform(iommu=True))


class Hooks:
    """Plans what a test wants."""

    def __init__(self, *planned: Step, problems: Sequence[Problem] = (), error: Exception | None = None) -> None:
        self._planned = planned
        self._problems = tuple(problems)
        self._error = error

    def plan_firmware(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        if self._error is not None:
            raise self._error
        return ()

    def plan_functions(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        return self._planned or tuple(
            steps.set_num_vfs(pf, want.num_vfs, why="")
            for pf in adapter.pfs
            if (want := desired.pf(pf.address)) is not None
        )

    def plan_vfs(
        self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform, planned: Sequence[Step]
    ) -> tuple[Step, ...]:
        return ()

    def validate(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Problem, ...]:
        return self._problems


BOTH = DesiredState((DesiredPf(SECOND, 1), DesiredPf(FIRST, 2)))


def per_adapter(**hooks: AdapterHooks) -> object:
    return lambda adapter: hooks["first" if adapter.address == FIRST.slot else "second"]


def test_adapters_come_in_the_order_of_their_addresses() -> None:
    plan = make_plan(an_inventory(), BOTH, lambda _: Hooks())
    assert [(step.target, step.args["count"]) for step in plan.steps] == [(str(FIRST), 2), (str(SECOND), 1)]


def test_only_what_is_wanted_is_planned() -> None:
    plan = make_plan(an_inventory(), DesiredState((DesiredPf(SECOND, 1),)), lambda _: Hooks())
    assert [step.target for step in plan.steps] == [str(SECOND)]


@pytest.mark.parametrize(
    "error",
    [ContractViolation("plugin card: broke", plugin="card"), HostError("cannot", device="x")],
    ids=["plugin", "host"],
)
def test_failing_plugin_holds_up_its_own_adapter_only(error: Exception) -> None:
    plan = make_plan(an_inventory(), BOTH, per_adapter(first=Hooks(error=error), second=Hooks()))  # type: ignore[arg-type]
    assert [step.target for step in plan.steps] == [str(SECOND)]
    assert [(problem.object, problem.message) for problem in plan.errors] == [(FIRST.slot, str(error))]


def test_plugin_may_not_plan_for_others() -> None:
    elsewhere = Step(op=steps.SET_AUTOPROBE, target=str(SECOND), args={"enabled": True}, why="")
    plan = make_plan(an_inventory(), BOTH, per_adapter(first=Hooks(elsewhere), second=Hooks()))  # type: ignore[arg-type]
    assert [step.op for step in plan.steps] == [steps.SET_NUM_VFS]
    assert [problem.reason for problem in plan.errors] == ["ContractViolation"]


def test_problem_of_a_pf_stops_that_pf() -> None:
    said = Problem(object=a_pf(FIRST).label, message="no", reason="UnsupportedSetting")
    plan = make_plan(an_inventory(), BOTH, per_adapter(first=Hooks(problems=[said]), second=Hooks()))  # type: ignore[arg-type]
    assert plan.problems == (said,)
    assert [step.target for step in plan.steps] == [str(SECOND)]


def test_problem_of_an_adapter_stops_all_of_it_and_a_warning_nothing() -> None:
    said = Problem(object=FIRST.slot, message="no", reason="UnsupportedSetting")
    plan = make_plan(an_inventory(), BOTH, per_adapter(first=Hooks(problems=[said]), second=Hooks()))  # type: ignore[arg-type]
    assert [step.target for step in plan.steps] == [str(SECOND)]
    warning = Problem(object=FIRST.slot, message="hm", reason="UnsupportedSetting", severity=Severity.WARNING)
    plan = make_plan(an_inventory(), BOTH, per_adapter(first=Hooks(problems=[warning]), second=Hooks()))  # type: ignore[arg-type]
    assert len(plan.steps) == 2


def test_adapter_whose_plugin_failed_to_observe_is_left_alone() -> None:
    plan = make_plan(an_inventory(fault="CommandFailed: vendortool: not installed"), BOTH, lambda _: Hooks())
    assert plan.steps == ()
    assert "vendortool: not installed" in plan.errors[0].message


def test_nobodys_adapter_is_left_alone() -> None:
    inventory = Inventory((Adapter(FIRST.slot, (a_pf(FIRST),), owner_reason="two plugins claim it"),))
    plan = make_plan(inventory, DesiredState((DesiredPf(FIRST, 1),)), lambda _: Hooks())
    assert (plan.steps, plan.errors[0].reason) == ((), "NoOwner")
    assert "two plugins claim it" in plan.errors[0].message


def test_step_of_the_whole_adapter_is_allowed() -> None:
    whole = Step(op="card.reset", target=FIRST.slot, why="", disruption=Disruption.REBOOT)
    plan = make_plan(an_inventory(), DesiredState((DesiredPf(FIRST, 1),)), lambda _: Hooks(whole))
    assert plan.disruption is Disruption.REBOOT


def test_planning_changes_none_of_its_arguments() -> None:
    inventory = an_inventory()
    assert make_plan(inventory, BOTH, lambda _: Hooks()) == make_plan(an_inventory(), BOTH, lambda _: Hooks())
    assert inventory == an_inventory()


TOO_MANY = DesiredState(pfs=(DesiredPf(FIRST, 16),))
IN_FIRMWARE_SAID = Problem(
    a_pf(FIRST).label, "16 VFs: firmware is set", IN_FIRMWARE, field="numVfs", severity=Severity.WARNING
)


class FirmwareHooks(Hooks):
    def __init__(self, *firmware: Step, problems: Sequence[Problem] = ()) -> None:
        super().__init__(problems=problems)
        self._firmware = firmware

    def plan_firmware(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        return self._firmware


@pytest.mark.parametrize("target", [str(FIRST), FIRST.slot])
def test_what_firmware_can_be_made_to_allow_is_planned_and_nothing_else_until_then(target: str) -> None:
    step = Step("card.set", target, "16 VFs", disruption=Disruption.REBOOT)
    plan = make_plan(an_inventory(), TOO_MANY, lambda _: FirmwareHooks(step, problems=[IN_FIRMWARE_SAID]))
    assert plan.steps == (step,)
    assert plan.problems == (IN_FIRMWARE_SAID,)


def test_a_plugin_that_only_says_so_does_not_lift_a_limit() -> None:
    plan = make_plan(an_inventory(), TOO_MANY, lambda _: FirmwareHooks(problems=[IN_FIRMWARE_SAID]))
    assert plan.steps == ()
    assert [problem.reason for problem in plan.errors] == ["TooManyVfs"]


def test_of_two_errors_about_the_number_the_plugins_stands() -> None:
    told = Problem(a_pf(FIRST).label, "its firmware has 8", "UnsupportedSetting", field="numVfs")
    plan = make_plan(an_inventory(), TOO_MANY, lambda _: Hooks(problems=[told]))
    assert (plan.steps, plan.errors) == ((), (told,))
