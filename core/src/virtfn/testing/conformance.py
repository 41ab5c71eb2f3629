"""The conformance kit: every law on every card that a plugin is for, by `run` or as a class of tests.

A plugin's test file is this and nothing more:

    from virtfn.testing.conformance import Conformance

    class TestConformance(Conformance):
        plugin = "15b3"

Importing this module needs neither pytest nor hypothesis; running does (`pip install 'virtfn[testing]'`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from virtfn.errors import RequestError
from virtfn.host.reader import Reader
from virtfn.observing import ids_of, read_inventory
from virtfn.plugin import Plugin
from virtfn.registry import load_registry
from virtfn.testing.grounds import FakeGround, Ground, profile_of
from virtfn.testing.profiles import Profile, profile_names
from virtfn.testing.report import LawResult, OnResult, Report, Verdict
from virtfn.testing.subject import NOT_INSTALLED, Subject, subject_of

if TYPE_CHECKING:
    import pytest

    from virtfn.testing.laws import Law

ProfileName = str | Path | Profile
"""A profile that comes with virtfn by name, the path of a `.toml` file, or a profile."""


def run(
    plugin: str | type[Plugin],
    *,
    profiles: Sequence[ProfileName] = (),
    keys: Sequence[str] = (),
    examples: int = 10,
    on_result: OnResult | None = None,
) -> Report:
    """Try all laws.

    :param plugin: key or name of an installed plugin, or a class.
    :param profiles: the cards to try it on; none: those that come with virtfn and are its own.
    :param keys: see `virtfn.testing.subject.subject_of`.
    :param examples: generated scenarios a law and card, besides those that are always tried.
    :param on_result: told each result as it comes.
    :raises PluginError: there is no such plugin.
    :raises RequestError: there is no card to try it on, a profile cannot be read, or hypothesis is not installed.
    """
    subject = subject_of(plugin, keys=keys)
    results = []
    for profile in [profile_of(name) for name in profiles] or profiles_of(subject):
        ground = FakeGround(profile)
        try:
            for law in laws():
                result = try_law(law, subject, ground, examples=examples)
                results.append(result)
                if on_result is not None:
                    on_result(result)
        finally:
            ground.close()
    return Report(subject.name, subject.keys, subject.distribution, tuple(results))


def try_law(law: Law, subject: Subject, ground: Ground, *, examples: int = 10) -> LawResult:
    """One law on one ground."""
    from virtfn.testing.laws import Broken, Trial, Unable

    begun = time.monotonic()
    if lacking := sorted(law.needs - ground.abilities):
        return LawResult(law.name, ground.name, Verdict.NOT_TRIED, f"the ground does not carry {', '.join(lacking)}")
    verdict, detail = Verdict.KEPT, ""
    try:
        law.check(Trial(subject, ground, examples=examples))
    except Broken as error:
        verdict, detail = Verdict.BROKEN, str(error)
    except Unable as error:
        verdict, detail = Verdict.NOT_TRIED, str(error)
    except Exception as error:
        verdict, detail = Verdict.BROKEN, f"the law was stopped by {type(error).__name__}: {error}"
    return LawResult(law.name, ground.name, verdict, detail, seconds=time.monotonic() - begun)


def laws() -> tuple[Law, ...]:
    """All laws. Raises `RequestError` without hypothesis."""
    try:
        from virtfn.testing.laws import LAWS
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise RequestError(
            "the conformance kit needs hypothesis, which is not installed: pip install 'virtfn[testing]'",
            hint="pip install 'virtfn[testing]'",
        ) from error
    return LAWS


def profiles_of(subject: Subject) -> list[Profile]:
    """The cards that come with virtfn and are the plugin's own: no other installed plugin takes them.

    :raises RequestError: there is none.
    """
    found = [profile for name in profile_names() if _owner(profile := profile_of(name), subject) in subject.keys]
    if not found:
        raise RequestError(
            f"plugin {subject.name}: none of the device profiles that come with virtfn is a card of its own "
            f"(keys {', '.join(subject.keys)}): bring one, as a .toml file",
            field="profiles",
        )
    return found


def _owner(profile: Profile, subject: Subject) -> str | None:
    ground = FakeGround(profile)
    try:
        inventory = read_inventory(Reader(ground.start()))
    finally:
        ground.close()
    present = ids_of(inventory)
    registry = subject.registry() if subject.distribution == NOT_INSTALLED else load_registry(present)
    return next((adapter.owner for adapter in registry.assign(inventory).adapters), None)


# --- as tests ---------------------------------------------------------------------------------------------------------


class Conformance:
    """Derive from it, name the plugin, and pytest tries every law on every card.

    A law that is overridden, taken out or skipped is noticed, unless `excused` says why.
    """

    plugin: ClassVar[str | type[Plugin]] = ""
    """Key or name of an installed plugin, or a class."""
    keys: ClassVar[Sequence[str]] = ()
    """For a class that is not installed: the PCI vendors and devices it is for; none: the vendors of its table."""
    profiles: ClassVar[Sequence[ProfileName]] = ()
    """The cards to try it on; none: those that come with virtfn and are its own."""
    excused: ClassVar[Mapping[str, str]] = {}
    """Laws that are known to be broken, with the reason; a law that is kept needs no excuse."""
    examples: ClassVar[int] = 10
    """Generated scenarios a law and card."""

    def make_ground(self, profile: ProfileName) -> Ground:
        """What the laws are tried on; override it to bring a real machine."""
        return FakeGround(profile_of(profile))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each law and card."""
        if "profile" in metafunc.fixturenames:
            chosen = self.profiles or [profile.name for profile in profiles_of(self.subject())]
            metafunc.parametrize("profile", chosen, ids=[_label(name) for name in chosen])

    @classmethod
    def subject(cls) -> Subject:
        """The plugin under test."""
        return subject_of(cls.plugin, keys=cls.keys)

    def test_no_law_is_left_out(self) -> None:
        """Each law is tried as it stands here, or is excused."""
        names = {law.name: _test_name(law.name) for law in laws()}
        if unknown := sorted(set(self.excused) - set(names)):
            raise AssertionError(f"excused, and there is no such law: {', '.join(unknown)}")
        if silent := sorted(law for law, why in self.excused.items() if not why.strip()):
            raise AssertionError(f"excused without a reason: {', '.join(silent)}")
        fixed = {test: law for law, test in names.items() if law not in self.excused}
        fixed |= {name: name for name in ("_keeps", "subject", "pytest_generate_tests", "test_no_law_is_left_out")}
        for name, law in fixed.items():
            mine, kit = getattr(type(self), name, None), getattr(Conformance, name)
            if getattr(mine, "__func__", mine) is not getattr(kit, "__func__", kit) or hasattr(mine, "pytestmark"):
                raise AssertionError(
                    f"{law} is not tried as it stands in the kit: excuse it with a reason, or leave it be"
                )

    def _keeps(self, law_name: str, profile: ProfileName, note: Callable[[str, object], None]) -> None:
        import pytest

        from virtfn.testing.pytest_plugin import LAW

        law = next(law for law in laws() if law.name == law_name)
        subject = self.subject()
        ground = self.make_ground(profile)
        try:
            result = try_law(law, subject, ground, examples=self.examples)
        finally:
            ground.close()
        excuse = self.excused.get(law_name)
        note(LAW, [subject.name, result.ground, law_name, str(result.verdict)])
        if result.verdict is Verdict.NOT_TRIED:
            pytest.skip(result.detail)
        if result.verdict is Verdict.BROKEN and excuse is not None:
            pytest.xfail(f"{excuse}: {result.detail}")
        if result.verdict is Verdict.BROKEN:
            pytest.fail(f"{law.says}\n{result.detail}", pytrace=False)
        if excuse is not None:
            pytest.fail(f"{law_name} is kept on {result.ground}: the excuse is not needed any more", pytrace=False)

    def test_contract(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.keeping`."""
        self._keeps("contract", profile, record_property)

    def test_claim(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.keeping`."""
        self._keeps("claim", profile, record_property)

    def test_purity(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.keeping`."""
        self._keeps("purity", profile, record_property)

    def test_convergence(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.reaching`."""
        self._keeps("convergence", profile, record_property)

    def test_idempotence(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.reaching`."""
        self._keeps("idempotence", profile, record_property)

    def test_crash(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.surviving`."""
        self._keeps("crash", profile, record_property)

    def test_release(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.leaving`."""
        self._keeps("release", profile, record_property)

    def test_isolation(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.leaving`."""
        self._keeps("isolation", profile, record_property)

    def test_honest_disruption(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.telling`."""
        self._keeps("honest-disruption", profile, record_property)

    def test_errors(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.surviving`."""
        self._keeps("errors", profile, record_property)

    def test_serialisable(self, profile: ProfileName, record_property: Any) -> None:
        """See `virtfn.testing.laws.telling`."""
        self._keeps("serialisable", profile, record_property)


def _test_name(law: str) -> str:
    return f"test_{law.replace('-', '_')}"


def _label(profile: ProfileName) -> str:
    return profile.name if isinstance(profile, Profile) else Path(profile).stem
