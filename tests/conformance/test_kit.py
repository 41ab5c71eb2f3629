"""The kit as plugin authors use it: a function, and a class of tests that notices what is left out."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virtfn import Plugin, hookimpl
from virtfn.errors import InvalidDocument, PluginLoadError, RequestError
from virtfn.model import Adapter, DesiredAdapter, DeviceModel, PciAddress, PciId, Step
from virtfn.model.codec import from_data, to_data
from virtfn.model.inventory import ParamMode
from virtfn.model.steps import set_devlink_param
from virtfn.testing import FakeHost, conformance, parse_profile
from virtfn.testing.conformance import Conformance, laws, profiles_of, run, try_law
from virtfn.testing.grounds import Ability, FakeGround, KernelGround, profile_of
from virtfn.testing.report import LawResult, Report, Verdict
from virtfn.testing.subject import subject_of
from virtfn_generic import GenericPlugin

OWN_CARD = """\
product = "A card that nobody else has"
[pci]
vendor = "fff5"
device = "0001"
[driver]
name = "fff5drv"
[sriov]
vf_device = "0002"
vf_driver = "fff5drv"
total_vfs = 2
offset = 8
stride = 1
"""


class Own(Plugin):
    """A third party's plugin: it leaves every hook to generic."""

    name = "own"
    api_version = 1
    summary = "a card that nobody else has"


class Forgetful(Own):
    """Changes a devlink parameter that its table does not name."""

    name = "forgetful"

    @hookimpl
    def plan_functions(self, adapter: Adapter, desired: DesiredAdapter) -> list[Step]:
        pf = adapter.pfs[0]
        wanted = any(want.address == pf.address for want in desired.pfs)
        return [set_devlink_param(pf, "speed", "fast", mode=ParamMode.RUNTIME, why="it is faster")] if wanted else []


class Misspelt(Own):
    """Says of a parameter when it is changed, and nobody knows that word."""

    name = "misspelt"

    @hookimpl
    def device_table(self) -> list[DeviceModel]:
        return [DeviceModel("Own", PciId("fff5", "0001"), PciId("fff5", "0002"), "fff5drv", params={"speed": "later"})]


@pytest.mark.parametrize(
    ("plugin", "said"), [(Forgetful, "would not be put back on release"), (Misspelt, "'later' is not when")]
)
def test_parameters_are_in_the_device_table(plugin: type[Plugin], said: str) -> None:
    contract = next(law for law in laws() if law.name == "contract")
    ground = FakeGround(parse_profile(OWN_CARD, name="own"))
    try:
        result = try_law(contract, subject_of(plugin, keys=("fff5",)), ground, examples=0)
    finally:
        ground.close()
    assert result.verdict is Verdict.BROKEN
    assert said in result.detail


# --- which plugin, which cards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cards"),
    [
        ("generic", ["bnxt", "unlisted"]),
        ("virtual", ["ena", "virtio"]),
        ("8086", ["82576", "82599", "e810", "x710"]),
        ("mellanox", ["bluefield-2", "connectx-4lx", "connectx-5", "connectx-6-ib", "connectx-6dx", "connectx-7"]),
    ],
)
def test_every_plugin_has_cards_of_its_own(name: str, cards: list[str]) -> None:
    assert [profile.name for profile in profiles_of(subject_of(name))] == cards


def test_class_of_an_installed_plugin_has_its_keys() -> None:
    subject = subject_of(GenericPlugin)
    assert (subject.keys, subject.distribution.split()[0], subject.fallback) == (
        ("generic",),
        "virtfn-generic",
        None,
    )
    assert subject_of("15b3").fallback is GenericPlugin


def test_class_that_is_not_installed_needs_keys() -> None:
    with pytest.raises(PluginLoadError, match="has no keys"):
        subject_of(Own)
    assert subject_of(Own, keys=("fff5",)).registry().plugin("fff5") is not None


def test_what_cannot_be_tried_is_told() -> None:
    with pytest.raises(PluginLoadError, match=r"plugin nosuch: is not installed \(there are: .*generic"):
        run("nosuch")
    with pytest.raises(InvalidDocument, match="there is no device profile 'nosuch'"):
        run("generic", profiles=("nosuch",))
    with pytest.raises(RequestError, match="none of the device profiles that come with virtfn"):
        run(Own, keys=("fff5",))


def test_without_hypothesis_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("virtfn.testing.laws", "virtfn.testing.strategies"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(RequestError, match=r"pip install 'virtfn\[testing\]'"):
        run("generic", profiles=("unlisted",))


def test_importing_the_kit_needs_no_test_tools() -> None:
    code = "import sys, virtfn.testing, virtfn.testing.conformance; print({'pytest', 'hypothesis'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, list[LawResult]]:
    card = tmp_path_factory.mktemp("own") / "own-card.toml"
    card.write_text(OWN_CARD)
    told: list[LawResult] = []
    return run(Own, keys=("fff5",), profiles=(card,), examples=0, on_result=told.append), told


def test_plugin_of_a_third_party_conforms_on_its_own_card(own_report: tuple[Report, list[LawResult]]) -> None:
    report, told = own_report
    assert (report.plugin, report.keys, report.grounds) == ("own", ("fff5",), ("own-card",))
    assert [(result.law, result.verdict) for result in report.results] == [(law.name, Verdict.KEPT) for law in laws()]
    assert report.conforms
    assert tuple(told) == report.results


def test_report_goes_to_json_and_back(own_report: tuple[Report, list[LawResult]]) -> None:
    report, _ = own_report
    assert from_data(Report, json.loads(json.dumps(to_data(report)))) == report


def test_nothing_tried_is_no_conformance() -> None:
    skipped = LawResult("claim", "card", Verdict.NOT_TRIED, "for want of a card")
    assert not Report("own", (), "", (skipped,)).conforms
    assert not Report("own", (), "", ()).conforms


def test_plugin_that_is_not_for_the_card_breaks_claim_and_nothing_more_is_tried() -> None:
    report = run(Own, keys=("fff5",), profiles=("unlisted",), examples=0)
    assert {result.law: result.verdict for result in report.results if result.verdict is not Verdict.NOT_TRIED} == {
        "claim": Verdict.BROKEN
    }
    assert "own does not serve it, generic does" in report.results[0].detail


def test_plugin_that_does_not_load_breaks_the_contract() -> None:
    class Outdated(Own):
        api_version = 0

    report = run(Outdated, keys=("fff5",), profiles=("unlisted",), examples=0)
    assert [(result.law, result.verdict) for result in report.results[:2]] == [
        ("contract", Verdict.BROKEN),
        ("claim", Verdict.NOT_TRIED),
    ]
    assert "was written for version 0" in report.results[0].detail


# --- what a ground does not carry -------------------------------------------------------------------------------------


def test_law_that_a_ground_does_not_carry_says_so() -> None:
    class Fragile(FakeGround):
        abilities = frozenset(Ability) - {Ability.CRASHES, Ability.FAULTS}

    ground = Fragile(profile_of("virtio"))
    told = {law.name: try_law(law, subject_of("virtual"), ground) for law in laws() if law.needs}
    ground.close()
    assert {name: (result.verdict, result.detail) for name, result in told.items()} == {
        "crash": (Verdict.NOT_TRIED, "the ground does not carry crashes"),
        "errors": (Verdict.NOT_TRIED, "the ground does not carry faults"),
    }


def test_laws_hold_on_a_machine_that_is_only_ever_put_back() -> None:
    """As on a real kernel: one machine for all trials, and a card in use that nobody may touch."""
    with FakeHost() as host:
        host.add_card("82576", address="0000:3b:00")
        host.add_card("82576", address="0000:5e:00", up=True)
        pfs = [PciAddress.parse("0000:3b:00.0"), PciAddress.parse("0000:3b:00.1")]
        ground = KernelGround(lambda: host.kernel, pfs=pfs)
        told = {law.name: try_law(law, subject_of("8086"), ground) for law in laws()}
        assert {name: result.detail for name, result in told.items() if result.verdict is not Verdict.KEPT} == {}


# --- as tests ---------------------------------------------------------------------------------------------------------


def test_complete_class_is_in_order() -> None:
    class Mine(Conformance):
        plugin = "generic"

    Mine().test_no_law_is_left_out()


def nothing(self: Any, profile: str, record_property: Any) -> None:
    """A law that is always kept."""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_crash": nothing}, "crash is not tried as it stands"),
        ({"test_honest_disruption": None}, "honest-disruption is not tried as it stands"),
        ({"_keeps": nothing}, "_keeps is not tried as it stands"),
        ({"pytest_generate_tests": nothing}, "pytest_generate_tests is not tried"),
        ({"excused": {"crash": " "}}, "excused without a reason: crash"),
        ({"excused": {"no-such-law": "why not"}}, "there is no such law: no-such-law"),
    ],
)
def test_law_that_is_left_out_is_noticed(changes: dict[str, Any], said: str) -> None:
    mine = type("Mine", (Conformance,), {"plugin": "generic", **changes})
    with pytest.raises(AssertionError, match=said):
        mine().test_no_law_is_left_out()


def test_law_may_be_left_out_for_a_reason() -> None:
    mine = type(
        "Mine", (Conformance,), {"plugin": "generic", "test_crash": None, "excused": {"crash": "firmware bug 17"}}
    )
    mine().test_no_law_is_left_out()


def test_every_law_is_a_test_of_the_class() -> None:
    tests = {name for name in vars(Conformance) if name.startswith("test_")} - {"test_no_law_is_left_out"}
    assert tests == {f"test_{law.name.replace('-', '_')}" for law in laws()}


PROJECT = """
from virtfn.testing.conformance import Conformance
from virtfn_generic import GenericPlugin


class TestInOrder(Conformance):
    plugin = "virtual"
    profiles = ("virtio",)
    examples = 0


class Deaf(GenericPlugin):
    name = "deaf"

    def plan_functions(self, adapter, desired):
        return tuple(step for step in super().plan_functions(adapter, desired) if "mtu" not in step.args)

    plan_functions.virtfn_impl = GenericPlugin.plan_functions.virtfn_impl


class TestDeaf(Conformance):
    plugin = Deaf
    keys = ("generic",)
    profiles = ("unlisted",)
    examples = 0
    excused = {"claim": "it is known"}


class TestExcused(TestDeaf):
    excused = {"convergence": "the MTU of this card is fixed"}
"""


@pytest.fixture
def session(tmp_path: Path) -> Callable[..., str]:
    """pytest on a project of its own; gives what it prints."""

    def start(*options: str) -> str:
        (tmp_path / "test_conformance.py").write_text(PROJECT)
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *options, str(tmp_path)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path).stdout

    return start


def test_pytest_tries_each_law_on_each_card_and_tells_all_at_the_end(session: Callable[..., str]) -> None:
    told = session("-k", "InOrder")
    assert "11 passed, 1 skipped" in told
    assert "virtual      virtio         10 kept; not-tried: honest-disruption" in told


def test_pytest_tells_the_counterexample_without_the_kit_s_own_frames(session: Callable[..., str]) -> None:
    told = session("-k", "(Deaf or Excused) and (claim or convergence or left_out)")
    assert "1 xfailed" in told
    assert "After the plan is performed, what is observed is what was desired." in told
    assert "performed, and still" in told
    assert "claim is kept on unlisted: the excuse is not needed any more" in told
    assert "try_law" not in told
    assert "broken: convergence" in told


def test_simulated_host_is_a_fixture(fake_host: FakeHost) -> None:
    assert fake_host.add_card("virtio").pf() in fake_host.snapshot()


def test_laws_are_asked_for_by_one_function() -> None:
    assert conformance.laws() is laws()
