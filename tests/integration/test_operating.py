"""What docs/operating.md says of conditions, metrics, annotations and commands is what the code has."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtfn import errors
from virtfn.cli.get_report import Standing
from virtfn.cli.main import make_parser
from virtfn.controller.drain_decision import Reason
from virtfn.daemon.breaker import Refusal
from virtfn.daemon.drift import Hold
from virtfn.model import Disruption, handshake

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "core" / "src" / "virtfn"
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
KINDS = {"count": "_total", "seconds": "_seconds", "level": ""}


def calls(name: str) -> Iterator[ast.Call]:
    """Calls of a method, in all modules of controller, daemon and what they stand on."""
    for folder in ("kube", "cluster", "controller", "daemon"):
        for path in (SOURCES / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
                    yield node


def metrics() -> set[str]:
    """Names of all series that are ever told to a meter."""
    found = set()
    for word, ending in KINDS.items():
        for call in calls(word):
            meter = call.func.value if isinstance(call.func, ast.Attribute) else None
            first = call.args[0] if call.args else None
            if "meter" in ast.dump(meter or call).lower() and isinstance(first, ast.Constant):
                found.add(f"virtfn_{first.value}{ending}")
    return found


def section(heading: str) -> str:
    """The text below a heading, up to the next one of its rank or above."""
    rank = heading.index(" ")
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{rank}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def ticked(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_metric_is_in_the_table_and_no_other() -> None:
    told = {word for row in rows(section("## Metrics and health")) for word in ticked(row[0])}
    assert told == metrics()


def test_metrics_in_alerts_are_in_the_table() -> None:
    text = section("## Metrics and health")
    assert set(re.findall(r"virtfn_\w+", text)) <= metrics()


def test_every_standing_is_told() -> None:
    told = [row[0].strip("`") for row in rows(section("## One look"))[2:]]
    assert told == [standing.value for standing in Standing]


def test_every_disruption_is_told() -> None:
    told = [row[0].strip("`") for row in rows(section("## Plan before action"))[2:]]
    assert told == [disruption.name for disruption in Disruption]


@pytest.mark.parametrize(
    ("condition", "reasons"),
    [
        ("Drained", {reason.value for reason in Reason}),
        ("Blocked", {reason.value for reason in Refusal} | {"NotBlocked"}),
        ("Drifted", {hold.value for hold in Hold if hold is not Hold.SUSPECTED} | {"NoDrift", "DriftBeingRepaired"}),
    ],
)
def test_every_reason_of_a_node_states_condition_is_told(condition: str, reasons: set[str]) -> None:
    told: dict[str, set[str]] = {}
    current = ""
    for first, second, *_ in rows(section("### Of node states"))[2:]:
        current = first.strip("`") or current
        told.setdefault(current, set()).update(ticked(second))
    assert told[condition] == reasons


def test_reasons_that_are_told_exist() -> None:
    """Each CamelCase word of the tables is in the code, as a text or as an error's reason."""
    known = {kind.reason for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "reason")}
    for folder in ("controller", "daemon", "model"):
        for path in (SOURCES / folder).rglob("*.py"):
            known |= {
                node.value
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    words = {word for word in ticked(section("## Conditions")) if re.fullmatch(r"(?:[A-Z][a-z]+){1,4}", word)}
    waiting = {"WaitingForDrain", "WaitingForReboot"}  # put together of a word and what is waited for
    assert words - known - waiting == set()
    assert len(words) > 40


@pytest.mark.parametrize(
    ("module", "pattern", "least"),
    [
        ("policy_summary", r'Status\.(?:TRUE|FALSE), "(\w+)"', 7),
        ("pools", r'Status\.(?:TRUE|FALSE), "(\w+)"', 5),
        ("networks", r'self\._report\([^"]*reason="(\w+)"', 4),
        ("operator_config", r'(?:reason = |else |live, )"([A-Z]\w+)"', 6),
    ],
)
def test_every_reason_of_the_controllers_conditions_is_told(module: str, pattern: str, least: int) -> None:
    found = set(re.findall(pattern, (SOURCES / "controller" / f"{module}.py").read_text(encoding="utf-8")))
    assert len(found) >= least
    assert found <= ticked(section("### Of policies, pools, networks and the configuration"))


def test_annotations_are_those_of_the_code() -> None:
    told = {word for row in rows(section("## Words on objects"))[2:] for word in ticked(row[0])}
    known = {value for name, value in vars(handshake).items() if name.endswith(("_ANNOTATION", "_LABEL"))}
    assert told <= known
    assert handshake.RETRY_ANNOTATION in told


def test_commands_can_be_given() -> None:
    blocks = re.findall(r"^ *```\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    found = [line for block in blocks for line in block.splitlines() if line.startswith("virtfn ")]
    assert len(found) >= 5
    for line in found:
        assert make_parser().parse_args(shlex.split(line.partition("#")[0])[1:]).run


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
