"""Text in columns and folded lines, for a screen of a given width. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from rich.text import Text

LEAST_COLUMN: Final = 28
"""Columns below which a folded text goes to lines of its own."""


class Row:
    """Cells that are never folded, a last one that may be, and lines that follow."""

    def __init__(self, cells: Sequence[Text], last: str, details: Sequence[Text] = (), style: str = "") -> None:
        self.cells = cells
        self.last = last
        self.details = details
        self.style = style


def table(headings: Sequence[str], rows: Sequence[Row], *, width: int) -> list[Text]:
    """Lines of a table; none without rows."""
    if not rows:
        return []
    *fixed, final = headings
    columns = [max(len(head), *(len(row.cells[place]) for row in rows)) for place, head in enumerate(fixed)]
    start = sum(columns) + 2 * len(columns)
    own_lines = width - start < LEAST_COLUMN
    lines = [_aligned([Text(head, style="bold") for head in fixed], columns, Text(final, style="bold"))]
    for row in rows:
        fits = len(row.last) <= width - start
        if fits or not own_lines:
            first, *more = textwrap.wrap(row.last, max(width - start, 10), break_on_hyphens=False) or [""]
            lines.append(_aligned(row.cells, columns, Text(first, style=row.style)))
            lines += [Text(" " * start) + Text(line, style=row.style) for line in more]
        else:
            lines.append(_aligned(row.cells, columns, Text()))
            lines += folded(f"  {row.last}", width=width, indent=2, style=row.style)
        lines += row.details
    return lines


def _aligned(cells: Sequence[Text], columns: Sequence[int], last: Text) -> Text:
    line = Text()
    for cell, column in zip(cells, columns, strict=True):
        line += cell + Text(" " * (column - len(cell) + 2))
    line += last
    line.rstrip()
    return line


def folded(text: str, *, width: int, indent: int = 0, style: str = "") -> list[Text]:
    """A text in lines; those after the first are indented. What stands before it stays."""
    found = textwrap.wrap(
        text, max(width, 40), subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False
    )
    return [Text(line, style=style) for line in found]
