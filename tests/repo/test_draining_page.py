"""What docs/draining.md says of the condition `Drained`, its events and the words on objects is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from virtfn.controller.drain_decision import Reason
from virtfn.model import handshake

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "draining.md").read_text(encoding="utf-8")
CODE = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "core/src/virtfn/controller").glob("d*.py"))


def test_every_reason_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:True|False) \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(reason.value for reason in Reason)


def test_every_event_is_named() -> None:
    told = set(re.findall(r'reason="(\w+)"', CODE))
    assert told, "the pattern finds none"
    named = re.search(r"^Events on the node state: .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert named is not None
    assert told <= set(re.findall(r"`(\w+)`", named[0]))


@pytest.mark.parametrize(
    "word", re.findall(r"`((?:virtfn\.io|sriovnetwork\.openshift\.io)/[\w-]+)(?::NoSchedule)?`", PAGE)
)
def test_every_word_on_an_object_is_one_of_the_handshake(word: str) -> None:
    assert word in {value for value in vars(handshake).values() if isinstance(value, str)}
