"""`docs/policy-status.md` names the reasons that the code has, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import virtfn.controller.policy_summary
import virtfn.controller.pools

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policy-status.md"
GENERAL = {"InvalidDocument", "BadVfRange", "UnsupportedSetting"}
"""Of what is wrong with an object itself: these come from `virtfn.errors`."""


def reasons_of(module: object) -> set[str]:
    """Words that stand after a status in the module's source."""
    text = Path(str(module.__file__)).read_text(encoding="utf-8")  # type: ignore[attr-defined]
    return set(re.findall(r"Status\.(?:TRUE|FALSE), \"(\w+)\"", text))


def reasons_on(text: str) -> set[str]:
    """Words in the second column of a table of reasons."""
    rows = re.findall(r"^\| (?:True|False) \| ([^|]+) \|", text, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`(\w+)`", row)}


def test_the_page_has_all_reasons() -> None:
    policies, pools = PAGE.read_text(encoding="utf-8").split("## Pools")
    assert reasons_on(policies) == reasons_of(virtfn.controller.policy_summary) | GENERAL
    assert reasons_on(pools) == reasons_of(virtfn.controller.pools) | {"InvalidDocument"}
