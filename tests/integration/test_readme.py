"""What the README shows is true: its policy can be planned, its commands can be given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from virtfn.cli.main import make_parser
from virtfn.host.machine import Machine
from virtfn.journal import Journal
from virtfn.model.crd import SriovNetworkNodePolicy
from virtfn.node import Node
from virtfn.policy import desired_state, render_node_state, state_of
from virtfn.policy.documents import load_documents
from virtfn.testing import FakeHost

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for word, text in found if word == language]


def commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks("") for line in block.splitlines()]
    return [line for line in lines if line.startswith("virtfn ")]


def test_there_are_commands() -> None:
    assert {"virtfn discover", "virtfn apply -f policy.yaml", "virtfn reset"} <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_a_command_can_be_given(command: str) -> None:
    assert make_parser().parse_args(shlex.split(command)[1:]).run


def test_the_policy_does_what_the_readme_says(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    policies = [document.object for document in load_documents(text, source="README.md")]
    with FakeHost() as host:
        host.add_card("e810", names=("ens1f0", "ens1f1"))
        node = Node(Machine(host.kernel), journal=Journal(tmp_path), now=host.kernel.clock.monotonic)
        seen = node.observe()
        rendered = render_node_state(
            [policy for policy in policies if isinstance(policy, SriovNetworkNodePolicy)],
            None,
            state_of(seen.inventory),
        )
        desired, problems = desired_state(rendered.spec, seen.inventory)
        plan = node.plan(seen, desired)
        assert (rendered.problems, problems, plan.problems) == ((), (), ())
        assert node.perform(plan, seen, desired).failed is None
        first, second = node.observe().inventory.pfs()
        assert [vf.driver for vf in first.vfs] == ["iavf"] * 4 + ["vfio-pci"] * 4
        assert [vf.netdev.mtu for vf in first.vfs if vf.netdev] == [9000] * 4
        assert second.vfs == ()
