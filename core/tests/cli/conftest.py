import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from virtfn.cli import main
from virtfn.cli.context import Context
from virtfn.cli.running import run_command
from virtfn.host.machine import Machine
from virtfn.testing import FakeHost


class Ended(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str


Virtfn = Callable[..., Ended]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """A two-port ConnectX-6 Dx and two 82576."""
    with FakeHost() as host:
        host.add_card("connectx-6dx", address="0000:3b:00", names=("ens1f0np0", "ens1f1np1"))
        host.add_card("82576", address="0000:01:00", names=("eth0",), ports=1)
        host.add_card("82576", address="0000:02:00", names=("eth1",), ports=1)
        yield host


@pytest.fixture
def virtfn(host: FakeHost, tmp_path: Path) -> Virtfn:
    """Run the command line on the simulated host; `virtfn("plan -f", "text of a file")`."""

    def run(command: str, *texts: str) -> Ended:
        words = command.split()
        for number, text in enumerate(texts):
            path = tmp_path / f"file-{number}.yaml"
            path.write_text(text, encoding="utf-8")
            words += [str(path)] if words[-1] == "-f" else ["-f", str(path)]
        out, err = io.StringIO(), io.StringIO()
        context = Context(
            journal_folder=tmp_path / "journal",
            machine=lambda: Machine(host.kernel),
            stdout=out,
            stderr=err,
            stdin=io.StringIO(texts[0] if texts else ""),
        )
        args = main.make_parser().parse_args(words)
        code = run_command(context, args)
        return Ended(int(code), out.getvalue(), err.getvalue())

    return run
