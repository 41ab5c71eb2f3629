"""Every example of `docs/policies-that-meet.md` is rendered: its picture, its node state, its resources."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from virtfn.model import VfRange
from virtfn.model.crd import InterfaceSpec, InterfaceStatus, SriovNetworkNodePolicy, SriovNetworkNodeState
from virtfn.policy import load_documents, render_device_plugin_config, render_node_state
from virtfn.policy.selection import selects, vf_range

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policies-that-meet.md"
EXAMPLE = re.compile(r"^## (E\d+): [^\n]+\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    return dict(EXAMPLE.findall(PAGE.read_text(encoding="utf-8")))


def blocks(text: str, language: str) -> list[str]:
    return [found for word, found in BLOCK.findall(text) if word == language]


def objects(text: str) -> list[Any]:
    return [document.object for document in load_documents(text, source=PAGE.name)]


def read(text: str) -> tuple[list[SriovNetworkNodePolicy], SriovNetworkNodeState]:
    """Policies of an example and its node: its own, or the one that the page begins with."""
    (block, *_) = blocks(text, "yaml")
    found = objects(block)
    policies = [each for each in found if isinstance(each, SriovNetworkNodePolicy)]
    states = [each for each in found if isinstance(each, SriovNetworkNodeState)]
    if not states:
        beginning = PAGE.read_text(encoding="utf-8").split("\n## E1", 1)[0]
        states = [each for each in objects(blocks(beginning, "yaml")[0]) if isinstance(each, SriovNetworkNodeState)]
    return policies, states[0]


def picture(interface: InterfaceSpec, nic: InterfaceStatus, policies: list[SriovNetworkNodePolicy]) -> str:
    """VFs from left to right: what each policy asks for, in the order they apply, and what came of it."""
    rows = [
        (f"{each.name} ({each.spec.priority})", [(each.spec.resource_name, vf_range(each.spec, nic))])
        for each in sorted(policies, key=lambda each: (-each.spec.priority, each.name))
        if selects(each.spec.nic_selector, nic)
    ]
    rows.append(("node state", [(each.resource_name, VfRange.parse(each.vf_range)) for each in interface.vf_groups]))
    count = max(interface.num_vfs, *(wanted.last + 1 for _, parts in rows for _, wanted in parts))
    width = max(len(resource) for _, parts in rows for resource, _ in parts) + 1
    indent = max(len(name) for name in (nic.name, *(name for name, _ in rows))) + 2

    def line(name: str, cells: list[str]) -> str:
        return (name.ljust(indent) + "".join(cell.ljust(width) for cell in cells)).rstrip() + "\n"

    text = line(nic.name, [str(index) for index in range(count)])
    for name, parts in rows:
        cells = [next((r for r, wanted in parts if index in wanted), ".") for index in range(count)]
        if name == "node state":
            cells[interface.num_vfs :] = "-" * (count - interface.num_vfs)
        text += line(name, cells)
    return text


@pytest.mark.parametrize("name", [f"E{number}" for number in range(1, 11)])
def test_example(name: str) -> None:
    text = sections()[name]
    policies, state = read(text)
    rendered = render_node_state(policies, None, state)
    nics = {nic.pci_address: nic for nic in state.status.interfaces}
    pictures = [picture(each, nics[each.pci_address], policies) for each in rendered.spec.interfaces]
    assert blocks(text, "text") == ["\n".join(pictures)]
    assert [yaml.safe_load(block) for block in blocks(text, "yaml")[1:]] == [{"spec": rendered.spec.to_wire()}]
    config = render_device_plugin_config(state.model_copy(update={"spec": rendered.spec}))
    assert [json.loads(block) for block in blocks(text, "json")] == [config.to_wire()]
    assert rendered.problems == config.problems == ()


def test_no_example_is_passed_over() -> None:
    assert list(sections()) == [f"E{number}" for number in range(1, 11)]
