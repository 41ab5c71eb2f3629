"""Lines of a watch."""

from __future__ import annotations

import pytest

from virtfn.errors import BadReply, Gone, Unavailable
from virtfn.kube.watching import EventKind, LineCutter, read_event


def test_lines_are_cut_whatever_the_pieces() -> None:
    text = b'{"a": 1}\n\n{"b": 2}\r\n{"c": 3}\nrest'
    for size in range(1, len(text) + 1):
        cutter = LineCutter()
        lines = [line for n in range(0, len(text), size) for line in cutter.feed(text[n : n + size])]
        assert lines == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']


def test_a_line_without_an_end_is_not_collected_for_ever() -> None:
    cutter = LineCutter(longest=10)
    assert list(cutter.feed(b"123456789\n12345678")) == [b"123456789"]
    with pytest.raises(BadReply, match="more than 10 bytes"):
        list(cutter.feed(b"345"))


def test_an_event_has_key_and_version() -> None:
    line = b'{"type":"ADDED","object":{"metadata":{"namespace":"n","name":"a","resourceVersion":"7"}}}'
    event = read_event(line, subject="widgets")
    assert (event.kind, event.key, event.version) == (EventKind.ADDED, "n/a", "7")


def test_a_bookmark_has_a_version_only() -> None:
    event = read_event(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8"}}}', subject="widgets")
    assert (event.kind, event.key, event.version) == (EventKind.BOOKMARK, "", "8")


def test_an_error_event_is_the_error_it_says() -> None:
    with pytest.raises(Gone, match="widgets: watch asked for something too old"):
        read_event(b'{"type":"ERROR","object":{"kind":"Status","code":410}}', subject="widgets")
    with pytest.raises(Unavailable, match="etcd"):
        read_event(b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}', subject="widgets")
    with pytest.raises(Gone):
        read_event(b'{"type":"ERROR","object":{"kind":"Status","reason":"Expired"}}', subject="widgets")
