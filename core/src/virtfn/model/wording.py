"""How a message counts, and what it says of what there is a lot of: the first few, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence


def number_of(count: int, what: str, many: str = "") -> str:
    """`1 node`, `1,000 nodes`."""
    return f"{count:,} {what if count == 1 else many or f'{what}s'}"


def few_names(names: Sequence[str], *, most: int) -> str:
    """`a, b and 4 more`; all of them, where they are not more than `most`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def few_texts(texts: Sequence[str], *, most: int, out_of: int = 0) -> str:
    """`b is new; c is not; and 4 more`: the same for what has commas of its own.

    :param out_of: how many there are, where no more than the first ones were made.
    """
    shown = texts[:most]
    rest = max(out_of, len(texts)) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest > 0 else "")
