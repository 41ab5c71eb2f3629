"""The page of rules says what the rules are."""

from pathlib import Path

from virtfn.policy.validation import RULES
from virtfn.policy.validation.page import rules_page

PAGE = Path(__file__).parents[3] / "docs" / "validation-rules.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == rules_page(), (
        "write it anew: virtfn validate --rules > docs/validation-rules.md"
    )


def test_every_rule_has_one_row_of_whole_cells():
    rows = [line for line in rules_page().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [rule.id for rule in sorted(RULES, key=lambda r: _first(r.kinds))]
    assert {row.replace("\\|", "").count("|") for row in rows} == {7}


def _first(kinds: tuple[str, ...]) -> int:
    return list(dict.fromkeys(rule.kinds for rule in RULES)).index(kinds)
