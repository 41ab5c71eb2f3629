"""The host's half of a test session: boots one guest for all selected tests and replays their reports as its own.

Names, outcomes, tracebacks and durations are therefore those of ordinary tests. A guest that dies, hangs or cannot be
started makes its tests fail with what is known; it never makes them vanish.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import boot
import deps
import pytest

from bed.command import BedError, tail
from bed.guestside import GUEST_VARIABLE, REPORTS, SELECTED

DEFAULT_LIMIT = 180.0  # seconds without a report
BOOT_LIMIT = 300.0  # seconds until the first test starts
BOOTS = 3  # an emulated processor may trip over code that the booting kernel patches on another one
POLL = 0.05
MODULES = ("eswshim", "igb", "igbvf", "vfio-pci", "virtio_net")  # eswshim must be there before igb
GUEST_PLUGINS: tuple[str, ...] = ()  # entry point names of pytest plugins that the tests need in the guest
OUTPUT = "output.log"


class Replay:
    """Plugin of the host's pytest. `directory` holds the tests that belong to the guest, but for those in `here`.

    The latter run on the host, as they have guests of their own; they come before the guest's.
    """

    def __init__(self, config: pytest.Config, directory: Path, *, here: Path) -> None:
        self._config = config
        self._directory = directory
        self._here = here
        self._session: GuestSession | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Mark the guest's tests, put them last, and drop them from a run that did not ask for them."""
        own = [item for item in items if item.path.is_relative_to(self._directory)]
        others = [item for item in items if not item.path.is_relative_to(self._directory)]
        for item in own:
            item.add_marker(pytest.mark.vm)
        if own and not self._asked_for():
            config.hook.pytest_deselected(items=own)
            own = []
        if own and hasattr(config, "workerinput"):
            raise pytest.UsageError("the tests under tests/vm share one guest: run them without xdist")
        items[:] = [*others, *sorted(own, key=self._is_guests)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Replay instead of running."""
        if not self._is_guests(item):
            return None
        if self._session is None:
            own = [other for other in item.session.items if self._is_guests(other)]
            self._session = GuestSession(self._config, own)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._session.reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """End the guest."""
        if self._session is not None:
            self._session.close()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how long the guest took and what its kernel complained of."""
        if self._session is not None:
            for line in self._session.summary:
                terminalreporter.write_line(line)

    def _is_guests(self, item: pytest.Item) -> bool:
        return item.path.is_relative_to(self._directory) and not item.path.is_relative_to(self._here)

    def _asked_for(self) -> bool:
        expression: str = self._config.option.markexpr
        if re.search(r"\bvm\b", expression) and not re.search(r"\bnot\s+vm\b", expression):
            return True
        here = self._config.invocation_params.dir
        return any((here / arg.split("::")[0]).resolve().is_relative_to(self._directory) for arg in self._config.args)


class GuestSession:
    """One guest running one pytest over the given items."""

    def __init__(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self.summary: list[str] = []
        self._config = config
        self._limits = {item.nodeid: _limit(item) for item in items}
        self._pending: dict[str, deque[pytest.TestReport]] = {nodeid: deque() for nodeid in self._limits}
        self._running: str | None = None
        self._offset = 0
        self._failure: str | None = None
        self._failure_shown = False
        self._began = self._heard = time.monotonic()
        self._first_test: float | None = None
        self._share = Path(tempfile.mkdtemp(prefix="virtfn-vm-")).resolve()
        self._guest: boot.Running | None = None
        self._boots = 0
        self._items = items
        missing = deps.problems()
        if missing:
            self._failure = "\n".join(["the test bed is not set up, run `make vm-deps` as root:", *missing])
            return
        (self._share / SELECTED).write_text(json.dumps(self._limits))
        self._boot()

    def _boot(self) -> None:
        """Start the guest, or say why not."""
        self._boots += 1
        self._heard = time.monotonic()
        guest = boot.Guest(
            command=_pytest_command(self._config, self._items),
            modules=MODULES,
            environment={
                GUEST_VARIABLE: "1",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": "",
            },
            binds=(self._config.rootpath,),
        )
        try:
            with (self._share / OUTPUT).open("wb") as output:
                self._guest = boot.start(guest, share=self._share, stdout=output)
        except BedError as error:
            self._failure = str(error)

    def reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """The reports of one test, as they come in."""
        pending = self._pending[item.nodeid]
        seen: set[str | None] = set()
        while True:
            self._watch()
            while pending:
                report = pending.popleft()
                seen.add(report.when)
                yield report
                if report.when == "teardown":
                    return
            if self._failure is not None:
                yield from self._failed(item, seen)
                return
            time.sleep(POLL)

    def close(self) -> None:
        """End the guest; its files are kept when something went wrong with it."""
        if self._guest is not None:
            if not self._guest.ended():
                self._guest.kill()
            trouble = self._guest.kernel_trouble()
            total = time.monotonic() - self._began
            booted = f"{self._first_test - self._began:.1f} s" if self._first_test is not None else "never"
            self.summary.append(f"vm: first test after {booted}, {total:.1f} s in all")
            self.summary += [f"vm: kernel: {line}" for line in trouble]
            if self._failure is not None or trouble:
                self.summary.append(f"vm: output and kernel log of the guest are in {self._share}")
                return
        shutil.rmtree(self._share, ignore_errors=True)

    def _watch(self) -> None:
        """Take in what the guest wrote, and find out whether there will be more."""
        if self._guest is None or self._failure is not None:
            return
        ended = self._guest.ended()
        self._take_in()
        if ended:
            status = self._guest.result().status
            if status is None and self._first_test is None and self._boots < BOOTS and self._guest.kernel_trouble():
                self.summary.append(f"vm: the guest's kernel failed while it booted, started again{self._during()}")
                self._boot()
                return
            how = "died" if status is None else f"came to its end with pytest's exit status {status}"
            self._failure = f"the guest {how}{self._during()}"
            return
        limit = BOOT_LIMIT if self._running is None else self._limits[self._running]
        if time.monotonic() - self._heard > limit:
            self._failure = f"the guest was killed: no report for {limit:.0f} s{self._during()}"
            self._guest.kill()

    def _during(self) -> str:
        if self._running is not None:
            return f" while running {self._running}"
        return " before the first test" if self._first_test is None else " between two tests"

    def _take_in(self) -> None:
        try:
            with (self._share / REPORTS).open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._heard = time.monotonic()
            event: dict[str, Any] = json.loads(line)
            if "start" in event:
                self._running = event["start"]
                self._first_test = self._first_test or self._heard
                continue
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=event["report"])
            if isinstance(report.longrepr, list):  # a skip's place and reason; JSON has no tuples
                report.longrepr = tuple(report.longrepr)
            if report.when == "teardown":
                self._running = None
            self._pending[report.nodeid].append(report)

    def _failed(self, item: pytest.Item, seen: set[str | None]) -> Iterator[pytest.TestReport]:
        """Complete a test's reports with a failure in the first phase that the guest did not report."""
        text = f"{self._failure}" if self._running in (None, item.nodeid) else f"not run: {self._failure}"
        if not self._failure_shown and self._guest is not None:
            output = tail((self._share / OUTPUT).read_text(errors="replace"), 60)
            text += f"\n\nend of the guest's output:\n{output}"
            text += f"\n\nend of the guest's kernel log:\n{self._guest.console_tail()}"
        self._failure_shown = True
        if "setup" not in seen:
            yield _report(item, "setup", None)
        if "call" not in seen:
            yield _report(item, "call", text)
            yield _report(item, "teardown", None)
        else:
            yield _report(item, "teardown", text)


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("vm_timeout")
    return float(marker.args[0]) if marker is not None else DEFAULT_LIMIT


def _report(item: pytest.Item, when: Literal["setup", "call", "teardown"], failure: str | None) -> pytest.TestReport:
    keywords: dict[str, Literal[1]] = dict.fromkeys(item.keywords, 1)
    outcome: Literal["passed", "failed"] = "passed" if failure is None else "failed"
    return pytest.TestReport(item.nodeid, item.location, keywords, outcome, failure, when)


def _pytest_command(config: pytest.Config, items: list[pytest.Item]) -> str:
    """The guest's pytest: the project's configuration, but neither its command line additions nor foreign plugins."""
    files = dict.fromkeys(str(item.path) for item in items)
    option = config.option
    argv = [sys.executable, "-m", "pytest", "-q", "--color=no", "--strict-markers"]
    argv += ["--continue-on-collection-errors"]
    argv += ["-p", "no:cacheprovider", "-o", "addopts="]
    argv += ["--rootdir", str(config.rootpath), "-c", str(config.inipath or "/dev/null")]
    argv += [f"--import-mode={option.importmode}", f"--tb={option.tbstyle}"]
    argv += ["--showlocals"] if option.showlocals else []
    argv += [word for name in GUEST_PLUGINS for word in ("-p", name)]
    return f"cd {shlex.quote(str(config.invocation_params.dir))} && {shlex.join([*argv, *files])}"
