import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from virtfn.cli import main
from virtfn.cli.exits import Exit, exit_of, exit_of_reason
from virtfn.errors import DeviceBusy, Forbidden, PluginLoadError, TooManyVfs

Virtfn = Callable[..., Any]


@pytest.mark.parametrize("words", [[], ["plan"], ["nonsense"], ["discover", "-o", "xml"]])
def test_wrong_command_line_is_a_wrong_request(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(words)
    assert caught.value.code == Exit.REQUEST
    assert "usage: virtfn" in capsys.readouterr().err


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for command in ("discover", "plan", "apply", "reset", "plugins", "conformance", "demo"):
        assert command in text
    assert "exit codes: 0" in text


def test_errors_have_the_code_of_their_family() -> None:
    assert exit_of(TooManyVfs("x")) is Exit.REQUEST
    assert exit_of(DeviceBusy("x")) is Exit.HOST
    assert exit_of(PluginLoadError("x", plugin="p")) is Exit.PLUGIN
    assert exit_of(Forbidden("x")) is Exit.CLUSTER
    assert exit_of_reason("TooManyVfs") is Exit.REQUEST
    assert exit_of_reason("NoMemory") is Exit.HOST
    assert exit_of_reason("ContractViolation") is Exit.PLUGIN


def test_bug_is_not_a_silent_success(
    virtfn: Virtfn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("virtfn.node.Node.observe", broken)
    assert virtfn("discover").code == Exit.INTERNAL
    assert "a bug in virtfn" in caplog.text


def test_planning_loads_nothing_of_kubernetes_and_help_no_netlink() -> None:
    code = (
        "import sys; from virtfn.cli.main import make_parser, main; make_parser();"
        "assert not {'pyroute2', 'rich', 'yaml', 'virtfn.model.crd'} & sys.modules.keys();"
        "main(['plan', '-f', '/dev/null']); assert 'kubernetes' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_demo_tells_its_whole_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["demo"]) == Exit.OK
    out = capsys.readouterr().out
    for words in ("$ virtfn discover", "Done: in sync.", "In sync: nothing to do.", "TooManyVfs", "$ virtfn reset"):
        assert words in out
    assert out.count("Done: in sync.") == 2


@pytest.mark.parametrize("command", ["demo", "discover -o json", "plugins --devices"])
def test_reader_that_goes_away_is_no_failure(command: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "virtfn.cli.main", *command.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == 0
