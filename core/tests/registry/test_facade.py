from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from virtfn import Plugin, hookimpl
from virtfn.errors import ContractViolation, DeviceBusy, NoOwnerError, PluginApiMismatch
from virtfn.host.api import Host, HostReader
from virtfn.model import (
    Adapter,
    DesiredAdapter,
    DeviceModel,
    OutcomeStatus,
    PciId,
    Platform,
    Problem,
    Step,
    StepOutcome,
)
from virtfn.registry import AdapterHooks, Registry

NO_HOST = cast(Host, object())
STANDARD = Step("sriov.set_numvfs", "0000:3b:00.0", "wanted", args={"count": 4})
OWN = Step("vendor.set_mode", "0000:3b:00.0", "wanted")
GENERIC_STEP = Step("link.set", "0000:3b:00.0", "wanted", args={"up": True})


class Generic(Plugin):
    name = "generic"
    api_version = 1

    @hookimpl(trylast=True)
    def observe(self) -> dict[str, Any]:
        return {"from": "generic"}

    @hookimpl(trylast=True)
    def plan_functions(self, adapter: Adapter) -> list[Step]:
        return [replace(GENERIC_STEP, target=str(pf.address)) for pf in adapter.pfs]

    @hookimpl(trylast=True)
    def plan_vfs(self) -> tuple[Step, ...]:
        return (GENERIC_STEP,)

    @hookimpl(trylast=True)
    def validate(self) -> list[Problem]:
        return [Problem("0000:3b:00.0", "both see it", "Same"), Problem("0000:3b:00.0", "too many", "TooManyVfs")]


class Vendor(Plugin):
    name = "vendor"
    api_version = 1

    @hookimpl
    def device_table(self) -> list[DeviceModel]:
        return [DeviceModel("Acme_card", PciId("fe01", "0001"), PciId("fe01", "0002"), "acme")]

    @hookimpl
    def plan_firmware(self, desired: DesiredAdapter) -> list[Step]:
        return [OWN, STANDARD] if desired.address == "0000:3b:00" else []

    @hookimpl
    def plan_functions(self) -> None:
        return None

    @hookimpl
    def plan_vfs(self, planned: tuple[Step, ...]) -> tuple[Step, ...]:
        return planned[1:]

    @hookimpl
    def validate(self) -> tuple[Problem, ...]:
        return (
            Problem("0000:3b:00.0", "the vendor's words", "Same"),
            Problem("0000:3b:00.0", "no switchdev", "Unsupported"),
        )

    @hookimpl
    def perform(self, step: Step) -> StepOutcome | None:
        return StepOutcome(step, OutcomeStatus.DONE) if step.op == OWN.op else None


class Stranger(Plugin):
    """Never to be asked for another vendor's card."""

    name = "stranger"
    api_version = 1

    @hookimpl
    def observe(self) -> dict[str, Any]:
        raise AssertionError("asked for a card that is not mine")

    plan_firmware = plan_functions = plan_vfs = validate = perform = observe


@pytest.fixture
def adapter(cards: Any) -> Adapter:
    made: Adapter = cards.one("fe01:0001").adapters[0]
    return replace(made, owner="fe01")


@pytest.fixture
def registry() -> Registry:
    return Registry.for_testing({"fe00": Stranger, "fe01": Vendor, "fe02": Stranger, "generic": Generic})


@pytest.fixture
def hooks(registry: Registry, adapter: Adapter) -> AdapterHooks:
    return registry.hooks(adapter)


WANTED = DesiredAdapter("0000:3b:00")


def test_a_missing_hook_falls_to_generic(hooks: AdapterHooks, adapter: Adapter) -> None:
    assert hooks.observe(adapter, host=cast(HostReader, NO_HOST), platform=Platform()) == {"from": "generic"}


def test_none_falls_to_generic(hooks: AdapterHooks, adapter: Adapter) -> None:
    assert hooks.plan_functions(adapter, desired=WANTED, platform=Platform()) == (GENERIC_STEP,)


def test_an_empty_answer_does_not_fall_to_generic(hooks: AdapterHooks, adapter: Adapter) -> None:
    assert hooks.plan_vfs(adapter, desired=WANTED, platform=Platform(), planned=()) == ()


def test_what_nobody_plans_in_firmware_is_nothing(registry: Registry, adapter: Adapter) -> None:
    generic = registry.hooks(replace(adapter, owner="generic"))
    assert generic.plan_firmware(adapter, desired=WANTED, platform=Platform()) == ()


def test_lists_of_steps_come_out_as_tuples(hooks: AdapterHooks, adapter: Adapter) -> None:
    assert hooks.plan_firmware(adapter, desired=WANTED, platform=Platform()) == (OWN, STANDARD)


def test_problems_of_owner_and_generic_are_all_told(hooks: AdapterHooks, adapter: Adapter) -> None:
    problems = hooks.validate(adapter, desired=WANTED, platform=Platform())
    assert [problem.reason for problem in problems] == ["Same", "Unsupported", "TooManyVfs"]


def test_where_both_complain_of_one_field_the_owners_words_are_kept(hooks: AdapterHooks, adapter: Adapter) -> None:
    problems = hooks.validate(adapter, desired=WANTED, platform=Platform())
    assert [problem.message for problem in problems if problem.reason == "Same"] == ["the vendor's words"]


def test_two_problems_of_one_plugin_about_one_field_are_both_told(adapter: Adapter) -> None:
    pair = [Problem("x", "first", "Same", field="numVfs"), Problem("x", "second", "Same", field="numVfs")]
    told = call(answering("validate", lambda: pair), "validate", adapter)
    assert [problem.message for problem in told if problem.field == "numVfs"] == ["first", "second"]


def test_a_plugin_performs_its_own_step(hooks: AdapterHooks, adapter: Adapter) -> None:
    assert hooks.perform(OWN, adapter=adapter, host=NO_HOST).status is OutcomeStatus.DONE


def test_a_step_nobody_performs_is_an_error_and_no_success(hooks: AdapterHooks, adapter: Adapter) -> None:
    with pytest.raises(ContractViolation, match=r"0000:3b:00\.0: nobody performs vendor\.other"):
        hooks.perform(replace(OWN, op="vendor.other"), adapter=adapter, host=NO_HOST)


def test_hook_sources_show_what_falls_to_generic(registry: Registry, adapter: Adapter) -> None:
    assert registry.hook_sources(adapter) == {
        "observe": ("generic",),
        "plan_firmware": ("vendor",),
        "plan_functions": ("vendor", "generic"),
        "plan_vfs": ("vendor", "generic"),
        "validate": ("vendor", "generic"),
        "perform": ("vendor",),
    }
    assert registry.hook_sources(replace(adapter, owner="generic"))["plan_vfs"] == ("generic",)


def test_an_adapter_without_owner_has_no_hooks(registry: Registry, adapter: Adapter) -> None:
    with pytest.raises(NoOwnerError, match=r"0000:3b:00: has no plugin \(left alone: broken\)"):
        registry.hooks(replace(adapter, owner=None, owner_reason="left alone: broken"))
    with pytest.raises(NoOwnerError, match=r"served by plugin fe07, which is not loaded"):
        registry.hooks(replace(adapter, owner="fe07"))


def test_a_hook_left_to_a_generic_that_is_not_there_is_an_error(adapter: Adapter) -> None:
    hooks = Registry.for_testing({"fe01": Vendor}).hooks(adapter)
    with pytest.raises(NoOwnerError, match="leaves plan_functions to the generic plugin"):
        hooks.plan_functions(adapter, desired=WANTED, platform=Platform())
    assert hooks.plan_vfs(adapter, desired=WANTED, platform=Platform(), planned=()) == ()
    assert hooks.observe(adapter, host=NO_HOST, platform=Platform()) == {}


def test_generic_comes_last_even_unmarked(adapter: Adapter) -> None:
    class Unmarked(Plugin):
        name = "generic"
        api_version = 1

        @hookimpl(tryfirst=False)
        def plan_vfs(self) -> tuple[Step, ...]:
            return (GENERIC_STEP,)

    for plugins in ({"generic": Unmarked, "fe01": Vendor}, {"fe01": Vendor, "generic": Unmarked}):
        hooks = Registry.for_testing(plugins).hooks(adapter)
        assert hooks.plan_vfs(adapter, desired=WANTED, platform=Platform(), planned=()) == ()


def test_device_models_name_their_plugin(registry: Registry) -> None:
    assert [(name, row.name) for name, row in registry.device_models()] == [("vendor", "Acme_card")]


def test_for_testing_raises_what_problems_would_hold() -> None:
    class Later(Plugin):
        name = "later"
        api_version = 2

    with pytest.raises(PluginApiMismatch):
        Registry.for_testing({"fe01": Later})


# --- answers against the contract -------------------------------------------------------------------------------------


def answering(hook: str, answer: Callable[[], Any]) -> Registry:
    def implementation(_self: Plugin) -> Any:
        return answer()

    implementation.__name__ = hook
    body = {"name": "acme", "api_version": 1, hook: hookimpl(implementation)}
    return Registry.for_testing({"fe01": type("Acme", (Plugin,), body), "generic": Generic})


def call(registry: Registry, hook: str, adapter: Adapter) -> Any:
    hooks = registry.hooks(adapter)
    if hook == "observe":
        return hooks.observe(adapter, host=NO_HOST, platform=Platform())
    if hook == "perform":
        return hooks.perform(OWN, adapter=adapter, host=NO_HOST)
    if hook == "plan_vfs":
        return hooks.plan_vfs(adapter, desired=WANTED, platform=Platform(), planned=())
    return getattr(hooks, hook)(adapter, desired=WANTED, platform=Platform())


@pytest.mark.parametrize(
    ("hook", "answer", "words"),
    [
        ("plan_vfs", {"op": "vf.set"}, "type dict (expected a tuple or list of Step)"),
        ("plan_vfs", "link.set", "type str (expected a tuple or list of Step)"),
        ("plan_functions", [STANDARD, "vf.set"], "type str as item 1 (expected Step)"),
        ("plan_functions", [replace(OWN, op="vendor.set_mode")], "a step 'vendor.set_mode'"),
        ("plan_functions", [replace(OWN, op="sriov.explode")], "a step 'sriov.explode'"),
        ("plan_firmware", [replace(OWN, op="acme.")], "a step 'acme.'"),
        ("plan_firmware", [replace(OWN, op="acme")], "a step 'acme'"),
        ("plan_firmware", [replace(OWN, op="acme.Set Mode")], "a step 'acme.Set Mode'"),
        ("validate", Problem("x", "y", "Z"), "type Problem (expected a tuple or list of Problem)"),
        ("validate", ["bad"], "type str as item 0 (expected Problem)"),
        ("perform", True, "type bool (expected StepOutcome)"),
        ("observe", ["fw"], "type list (expected a mapping of facts)"),
        ("observe", {"fw": {1, 2}}, "type set at facts.fw"),
        ("observe", {"fw": b"22.1"}, "type bytes at facts.fw"),
        ("observe", {"fw": [{"n": float("nan")}]}, "nan at facts.fw[0].n"),
        ("observe", {"fw": {7: "x"}}, "the key 7 at facts.fw"),
    ],
)
def test_a_wrong_answer_names_plugin_hook_and_distribution(
    adapter: Adapter, hook: str, answer: Any, words: str
) -> None:
    with pytest.raises(ContractViolation) as caught:
        call(answering(hook, lambda: answer), hook, adapter)
    assert str(caught.value).startswith(f"plugin acme (testing 0): hook {hook} returned ")
    assert words in str(caught.value)
    assert (caught.value.plugin, caught.value.distribution) == ("acme", "testing 0")


@pytest.mark.parametrize("hook", ["observe", "plan_firmware", "plan_functions", "plan_vfs", "validate", "perform"])
def test_a_foreign_exception_is_the_plugins_fault_and_is_chained(adapter: Adapter, hook: str) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(ContractViolation) as caught:
        call(answering(hook, fail), hook, adapter)
    assert f"plugin acme (testing 0): hook {hook} raised OSError" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_the_fault_of_generic_is_not_told_as_the_owners(adapter: Adapter) -> None:
    class Broken(Plugin):
        name = "generic"
        api_version = 1

        @hookimpl(trylast=True)
        def plan_functions(self) -> list[Step]:
            raise ValueError("mine")

    hooks = Registry.for_testing({"fe01": Vendor, "generic": Broken}).hooks(adapter)
    with pytest.raises(ContractViolation, match=r"plugin generic \(testing 0\): hook plan_functions raised ValueError"):
        hooks.plan_functions(adapter, desired=WANTED, platform=Platform())


def test_exit_in_a_hook_does_not_end_the_process(adapter: Adapter) -> None:
    def leave() -> None:
        raise SystemExit(0)

    with pytest.raises(ContractViolation, match="raised SystemExit"):
        call(answering("plan_vfs", leave), "plan_vfs", adapter)


def test_errors_of_the_tree_pass_unchanged(adapter: Adapter) -> None:
    busy = DeviceBusy("0000:3b:00.0: busy", device="0000:3b:00.0")

    def fail() -> None:
        raise busy

    with pytest.raises(DeviceBusy) as caught:
        call(answering("perform", fail), "perform", adapter)
    assert caught.value is busy


def test_facts_are_a_plain_copy(adapter: Adapter) -> None:
    facts: dict[str, Any] = {"fw": {"running": ("22.1", None, 3, 1.5, True)}}
    seen = call(answering("observe", lambda: facts), "observe", adapter)
    assert seen == {"fw": {"running": ["22.1", None, 3, 1.5, True]}}
    facts["fw"]["running"] = ()
    assert seen["fw"]["running"][0] == "22.1"


def test_own_and_standard_operations_are_allowed(adapter: Adapter) -> None:
    steps = [STANDARD, replace(OWN, op="acme.set_mode2")]
    assert call(answering("plan_functions", lambda: steps), "plan_functions", adapter) == tuple(steps)
