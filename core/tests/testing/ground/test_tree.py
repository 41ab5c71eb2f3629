"""The tree: real folders and links, files that behave, and what is on disk for others to see."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from virtfn.testing.ground.tree import Tree, oserror


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_links_are_relative_and_followed(tree: Tree) -> None:
    tree.file("sys/devices/pci0000:00/0000:00:01.0/vendor", "0x8086\n")
    tree.link("sys/bus/pci/devices/0000:00:01.0", "sys/devices/pci0000:00/0000:00:01.0")
    link = tree.root / "sys/bus/pci/devices/0000:00:01.0"
    assert str(link.readlink()) == "../../../devices/pci0000:00/0000:00:01.0"
    assert (link / "vendor").read_text() == "0x8086\n"
    assert tree.read("/sys/bus/pci/devices/0000:00:01.0/vendor") == "0x8086\n"
    assert tree.readlink("sys/bus/pci/devices/0000:00:01.0") == "0000:00:01.0"
    assert tree.readlink("sys/bus/pci/devices") is None


def test_a_link_can_be_set_anew(tree: Tree) -> None:
    tree.file("a/name", "a")
    tree.file("b/name", "b")
    tree.link("now", "a")
    assert tree.read("now/name") == "a"
    tree.link("now", "b")
    assert tree.read("now/name") == "b"


def test_readers_and_writers_are_found_through_links(tree: Tree) -> None:
    seen: list[str] = []
    tree.attribute("real/knob", read=lambda: f"{len(seen)}", write=seen.append)
    tree.link("alias", "real")
    tree.write("alias/knob", "x")
    assert (seen, tree.read("alias/knob")) == (["x"], "1")


def test_the_text_on_disk_follows_when_it_is_refreshed(tree: Tree) -> None:
    values = ["old"]
    tree.attribute("here/value", read=lambda: values[0])
    values[0] = "new"
    assert (tree.root / "here/value").read_text() == "old"
    tree.refresh("here")
    assert (tree.root / "here/value").read_text() == "new"


def test_a_reader_that_refuses_leaves_an_empty_file(tree: Tree) -> None:
    def refuse() -> str:
        raise oserror(errno.EOPNOTSUPP)

    tree.attribute("port", read=refuse)
    assert (tree.root / "port").read_text() == ""
    with pytest.raises(OSError, match="not supported") as caught:
        tree.read("port")
    assert caught.value.errno == errno.EOPNOTSUPP


def test_modes(tree: Tree) -> None:
    tree.file("constant", "1")
    tree.attribute("trigger", write=lambda _: None)
    with pytest.raises(PermissionError):
        tree.write("constant", "2")
    with pytest.raises(PermissionError):
        tree.read("trigger")
    for call in (lambda: tree.read("nothing"), lambda: tree.write("nothing", "x")):
        with pytest.raises(FileNotFoundError):
            call()
    assert not tree.exists("nothing")


def test_plain_files_are_plain(tree: Tree) -> None:
    tree.plain("etc/name", "a longer text")
    tree.write("etc/name", "short")
    assert tree.read("etc/name") == "short"


def test_removing_a_folder_forgets_what_it_had(tree: Tree) -> None:
    tree.attribute("a/b/knob", read=lambda: "mine")
    tree.attribute("ab/knob", read=lambda: "other")
    tree.link("alias", "a")
    assert tree.read("alias/b/knob") == "mine"
    tree.remove("a")
    assert not tree.exists("alias")  # it dangles
    with pytest.raises(FileNotFoundError):
        tree.read("a/b/knob")
    tree.plain("a/b/knob", "plain")
    assert tree.read("alias/b/knob") == "plain"
    assert tree.read("ab/knob") == "other"
    tree.remove("never/was")


def test_listdir(tree: Tree) -> None:
    assert tree.listdir("x") == []
    for name in ("c", "a", "b"):
        tree.file(f"x/{name}", "")
    assert tree.listdir("x") == ["a", "b", "c"]
    tree.remove_if_empty("x")
    assert tree.exists("x")
    for name in ("c", "a", "b"):
        tree.remove(f"x/{name}")
    tree.remove_if_empty("x")
    assert not tree.exists("x")
