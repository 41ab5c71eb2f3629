"""Files of the managed machine below a root."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtfn.host.files import HostFiles
from virtfn.host.oserror import DeviceTimedOut
from virtfn.host.writer import Report, Writer


class Answering(Writer):
    """A writer with a given report, for errors that no plain file gives."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def write(self, path: str, data: bytes, *, timeout: float) -> Report:
        return self._report


@pytest.fixture
def files(tmp_path: Path) -> Iterator[HostFiles]:
    with HostFiles(tmp_path) as made:
        yield made


def test_read_is_below_the_root_and_as_it_is(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/name").write_bytes(b" a\r\nb\xff\n")
    assert files.read("sys/name") == " a\r\nb\ufffd\n"
    assert files.read("/sys/name") == " a\r\nb\ufffd\n"


def test_read_errors_name_the_file(files: HostFiles, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files.read("absent")
    assert caught.value.filename == str(tmp_path / "absent")


def test_an_error_of_the_read_itself_names_the_file() -> None:
    with pytest.raises(OSError, match=r"/proc/self/mem") as caught:  # opens, and cannot be read at offset 0
        HostFiles().read("proc/self/mem")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, "/proc/self/mem")


@pytest.mark.parametrize("slow", [False, True])
class TestWrite:
    def write(self, files: HostFiles, path: str, text: str, slow: bool) -> None:
        if slow:
            files.write_slow(path, text, timeout=30)
        else:
            files.write(path, text)

    def test_writes_an_existing_file(self, files: HostFiles, tmp_path: Path, slow: bool) -> None:
        (tmp_path / "number").write_text("0\n")
        self.write(files, "number", "4", slow)
        assert (tmp_path / "number").read_text() == "4\n"

    def test_never_creates_a_file(self, files: HostFiles, tmp_path: Path, slow: bool) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            self.write(files, "absent", "4", slow)
        assert caught.value.filename == str(tmp_path / "absent")
        assert list(tmp_path.iterdir()) == []

    def test_an_error_has_errno_text_and_path(self, files: HostFiles, tmp_path: Path, slow: bool) -> None:
        (tmp_path / "full").symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left") as caught:
            self.write(files, "full", "4", slow)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(tmp_path / "full")


def test_a_write_taken_in_part_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="only 2 of 5 bytes") as caught:
        HostFiles(tmp_path, writer=Answering(Report(0, 2))).write_slow("file", "12345", timeout=1)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / "file"))


def test_etimedout_from_the_kernel_is_not_a_write_that_did_not_come_back(tmp_path: Path) -> None:
    with pytest.raises(DeviceTimedOut) as caught:
        HostFiles(tmp_path, writer=Answering(Report(errno.ETIMEDOUT, 0))).write_slow("file", "1", timeout=1)
    assert caught.value.errno == errno.ETIMEDOUT
    assert not isinstance(caught.value, TimeoutError)


def test_a_slow_write_is_given_up_on(files: HostFiles, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "blocking")
    with pytest.raises(TimeoutError):
        files.write_slow("blocking", "1", timeout=0.05)
    with (tmp_path / "blocking").open("r+b", buffering=0) as both:  # it goes on, also if it is not there yet
        assert select.select([both], [], [], 30.0)[0]
        assert both.read(1) == b"1"


def test_exists(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "good").symlink_to("there")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    names = ["there", "good", "dangling", "loop", "nowhere", "there/below"]
    assert [name for name in names if files.exists(name)] == ["there", "good"]


def test_listdir(files: HostFiles, tmp_path: Path) -> None:
    for name in ("virtfn10", "virtfn2", "net"):
        (tmp_path / "device" / name).mkdir(parents=True)
    (tmp_path / "file").touch()
    assert files.listdir("device") == ["net", "virtfn10", "virtfn2"]
    assert files.listdir("absent") == []
    assert files.listdir("file") == []


def test_readlink(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "driver").symlink_to("../../bus/pci/drivers/igb")
    (tmp_path / "file").touch()
    assert files.readlink("driver") == "igb"
    assert [files.readlink(name) for name in ("file", "absent", "file/below")] == [None, None, None]
