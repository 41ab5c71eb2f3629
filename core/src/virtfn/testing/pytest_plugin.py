"""What pytest gets from virtfn: a simulated host as a fixture, and a table of the laws at the end of a run.

pytest loads this in every session where virtfn is installed, so it imports nothing of virtfn until it is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from virtfn.testing.fakehost import FakeHost

LAW = "virtfn_law"
"""Property of a test that tries a law: plugin, ground, law, verdict."""


@pytest.fixture
def fake_host() -> Iterator[FakeHost]:
    """An empty simulated machine; put cards in with `add_card`."""
    from virtfn.testing.fakehost import FakeHost

    with FakeHost() as host:
        yield host


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each plugin and ground: how many laws are kept, and which are not."""
    told: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for reports in terminalreporter.stats.values():
        for report in reports:
            if not isinstance(report, pytest.TestReport) or report.when != "call":
                continue
            for name, value in report.user_properties:
                if name == LAW and isinstance(value, list):
                    plugin, ground, law, verdict = value
                    told[plugin, ground][verdict].append(law)
    if not told:
        return
    terminalreporter.section("virtfn conformance")
    for (plugin, ground), verdicts in sorted(told.items()):
        words = [f"{len(verdicts['kept'])} kept"]
        words += [f"{verdict}: {', '.join(laws)}" for verdict, laws in sorted(verdicts.items()) if verdict != "kept"]
        terminalreporter.write_line(f"{plugin:<12} {ground:<14} {'; '.join(words)}")
