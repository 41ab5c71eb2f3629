"""What there is a lot of is not said in full, and how much is left out is."""

from __future__ import annotations

import pytest

from virtfn.model.wording import few_names, few_texts


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (list("abcde"), "a, b and 3 more"),
    ],
)
def test_names(names: list[str], said: str) -> None:
    assert few_names(names, most=2) == said


@pytest.mark.parametrize(
    ("texts", "out_of", "said"),
    [
        ([], 0, ""), (["a, b"], 0, "a, b"), (["a", "b", "c"], 0, "a; b; and 1 more"),
        (["a", "b"], 9, "a; b; and 7 more"), (["a"], 9, "a; and 8 more"), (["a"], 1, "a"),
    ],
)  # fmt: skip
def test_texts(texts: list[str], out_of: int, said: str) -> None:
    assert few_texts(texts, most=2, out_of=out_of) == said
