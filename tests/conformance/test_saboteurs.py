"""The kit itself on trial: rows are plugins made wrong, columns are laws, and only the diagonal may be broken."""

from collections.abc import Mapping

import pytest

from virtfn import Plugin
from virtfn.testing.conformance import laws, run
from virtfn.testing.report import Report, Verdict
from virtfn_generic import GenericPlugin

CARD = "unlisted"
LAWS = tuple(law.name for law in laws())


def tried(plugin: type[Plugin]) -> Report:
    return run(plugin, keys=("generic",), profiles=(CARD,), examples=0)


def test_every_law_has_a_saboteur(saboteurs: Mapping[str, type[Plugin]]) -> None:
    assert tuple(saboteurs) == LAWS


@pytest.mark.parametrize("law", LAWS)
def test_saboteur_breaks_its_law_and_no_other(law: str, saboteurs: Mapping[str, type[Plugin]]) -> None:
    report = tried(saboteurs[law])
    table = {result.law: (result.verdict, result.detail) for result in report.results}
    wrong = {name: told for name, told in table.items() if (told[0] is Verdict.BROKEN) is not (name == law)}
    assert wrong == {}
    assert {verdict for name, (verdict, _) in table.items() if name != law} == {Verdict.KEPT}
    assert table[law][1], "a counterexample is told"
    assert "was stopped by" not in table[law][1], "the law itself says no"
    assert not report.conforms


def test_what_they_were_made_from_keeps_every_law() -> None:
    report = tried(GenericPlugin)
    assert {result.law: result.verdict for result in report.results} == dict.fromkeys(LAWS, Verdict.KEPT)
    assert report.conforms
