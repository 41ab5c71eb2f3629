"""`virtfn demo --cluster` where what it needs is not installed; its story is told by tests/kube/demo."""

from __future__ import annotations

import subprocess
import sys

from virtfn.cli.exits import Exit


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None; from virtfn.cli.main import main;"
        "sys.exit(main(['demo', '--cluster']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == Exit.CLUSTER
    assert "pip install 'virtfn[kube]'" in ended.stderr
    assert ended.stdout == ""  # nothing was started
