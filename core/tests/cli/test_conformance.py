import json
from collections.abc import Callable
from typing import Any

Virtfn = Callable[..., Any]


def test_laws_are_tried_and_told(virtfn: Virtfn) -> None:
    ended = virtfn("conformance generic --profile unlisted --examples 1")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[1].split() == ["LAW", "UNLISTED"]
    assert {line.split()[0] for line in lines[2:13]} >= {"claim", "convergence", "crash", "release", "errors"}
    assert all(line.split()[1] == "kept" for line in lines[2:13])
    assert lines[-1] == "Conforms."


def test_result_as_data(virtfn: Virtfn) -> None:
    ended = virtfn("conformance virtual --profile ena --examples 1 -o json")
    report = json.loads(ended.out)
    assert (report["plugin"], report["keys"]) == ("virtual", ["virtual"])
    assert {result["ground"] for result in report["results"]} == {"ena"}
    assert ended.code == 0


def test_plugin_or_card_that_is_not_there(virtfn: Virtfn) -> None:
    absent = virtfn("conformance nobody")
    assert absent.code == 5
    assert "nobody" in absent.err
    card = virtfn("conformance generic --profile no-such-card")
    assert card.code == 3
    assert "no-such-card" in card.err
