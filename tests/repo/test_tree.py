"""Rules for every file of the tree, and for what its documents promise."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from virtfn import hookspecs
from virtfn.errors import VirtfnError
from virtfn.model.steps import STANDARD_OPS

# Put together, so that this file does not break its own rule.
NOT_IN_THE_TREE = {
    "a package index": re.compile("files" + r"\.pythonhosted|pypi" + r"\.org/simple|index" + "-url", re.IGNORECASE),
    "an archive's host": re.compile("deb" + r"\.debian\.org|security" + r"\.debian\.org|snapshot" + r"\.debian\.org"),
    "a folder of one machine": re.compile(r"(?<![\w.])/" + r"root/|/" + r"tmp/w\b|/" + "work/(main|shared)"),
    "a private address": re.compile(r"\b10\.\d+\.\d+\.\d+:\d+"),
}

CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def texts(files: tuple[Path, ...]) -> dict[Path, str]:
    """All files that are text."""
    found = {}
    for path in files:
        data = path.read_bytes()
        if b"\0" not in data[:8000]:
            found[path] = data.decode("utf-8")
    return found


@pytest.mark.parametrize("what", NOT_IN_THE_TREE)
def test_the_tree_names_no(what: str, texts: dict[Path, str], root: Path) -> None:
    found = [
        f"{path.relative_to(root)}:{number}: {line.strip()[:100]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if NOT_IN_THE_TREE[what].search(line)
    ]
    assert found == []


def test_nothing_that_a_tool_made_is_big(files: tuple[Path, ...], root: Path) -> None:
    assert [str(path.relative_to(root)) for path in files if path.stat().st_size > 1_000_000] == []


def test_links_of_the_documents_lead_somewhere(texts: dict[Path, str], root: Path) -> None:
    broken = []
    for path, text in texts.items():
        if path.suffix != ".md":
            continue
        for target in LINK.findall(CODE.sub("", text)):
            name, _, anchor = unquote(target).partition("#")
            if "://" in name:
                continue
            leads_to = (path.parent / name).resolve() if name else path
            if not leads_to.exists() or not leads_to.is_relative_to(root):
                broken.append(f"{path.relative_to(root)}: {target}")
            elif anchor and anchor not in _anchors(leads_to.read_text(encoding="utf-8")):
                broken.append(f"{path.relative_to(root)}: {target} (no such heading)")
    assert broken == []


def _anchors(text: str) -> set[str]:
    """Anchors of the headings, as Markdown viewers make them."""
    headings = re.findall(r"(?m)^#+ +(.+?) *$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _hooks() -> set[str]:
    return {name for name, value in vars(hookspecs).items() if hasattr(value, "virtfn_spec")}


def test_there_are_hooks() -> None:
    assert {"claim", "plan_functions", "perform"} <= _hooks()


@pytest.mark.parametrize("hook", sorted(_hooks()))
def test_every_hook_is_explained_to_plugin_authors(hook: str, root: Path) -> None:
    text = (root / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^\| `{hook}` \|", text), f"{hook} has no row in the table of hooks"


def test_no_hook_is_explained_that_does_not_exist(root: Path) -> None:
    text = (root / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
    rows = text.split("| hook |", 1)[1].split("\n\n", 1)[0]
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", rows)) == _hooks()


@pytest.mark.parametrize("op", sorted(STANDARD_OPS))
def test_every_standard_step_is_explained(op: str, root: Path) -> None:
    assert f"`{op}`" in (root / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")


def test_every_law_is_explained_in_its_own_words(root: Path) -> None:
    from virtfn.testing.conformance import laws

    text = (root / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
    rows = text.split("| law | holds when |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    assert rows.splitlines() == [f"| {law.name} | {law.says} |" for law in laws()]


def test_every_exit_code_is_in_the_readme(root: Path) -> None:
    from virtfn.cli.exits import Exit

    text = (root / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^\| (\d+) \|", text)) == {str(int(code)) for code in Exit}


def test_every_command_is_in_the_readme(root: Path) -> None:
    import argparse

    from virtfn.cli.main import make_parser

    (commands,) = (action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    text = (root / "README.md").read_text(encoding="utf-8")
    assert {name for name in commands.choices if f"virtfn {name}" not in text} == set()


def test_every_make_target_has_a_line_of_help(root: Path) -> None:
    text = (root / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"(?m)^\.PHONY: (\S+)$", text))
    assert phony == set(re.findall(r"(?m)^([a-z-]+):.* ## \S", text))


def test_errors_of_virtfn_share_one_root() -> None:
    from virtfn import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, VirtfnError) for kind in kinds)
