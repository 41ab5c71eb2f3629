"""The real ground put together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from virtfn.host.kernel import Kernel
from virtfn.host.linux import linux_kernel


def test_everything_is_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/name").write_text("below")
    (tmp_path / "proc/9/fd").mkdir(parents=True)
    (tmp_path / "proc/9/comm").write_text("qemu\n")
    (tmp_path / "proc/9/fd/3").symlink_to("/dev/vfio/devices/vfio0")
    kernel: Kernel = linux_kernel(tmp_path)
    assert kernel.files.read("sys/name") == "below"
    assert [user.pid for user in kernel.processes.vfio_users("0000:01:10.0", group=None, devices=["vfio0"])] == [9]


def test_our_own_root() -> None:
    kernel = linux_kernel()
    assert kernel.files.exists("proc/self/stat")
    assert kernel.links.link("lo").name == "lo"
    assert kernel.commands.run(["echo", "1"], timeout=30).stdout == "1\n"
    assert kernel.clock.monotonic() > 0


def test_pyroute2_is_imported_only_when_the_kernel_is_asked() -> None:
    """It takes long: `virtfn --help` and most tests go without. And of most of it nobody has a use at all."""
    program = (
        "import sys; from virtfn.host.linux import linux_kernel; k = linux_kernel();"
        "print('virtfn.host.netlink' in sys.modules);"
        "k.links.links(); k.devlink.handles();"
        "print('virtfn.host.netlink' in sys.modules); print('sqlite3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.split() == ["False", "True", "False"]
