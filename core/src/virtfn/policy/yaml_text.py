"""YAML text to plain data, more strictly than PyYAML's safe loader, and with a line number in every error.

What differs, and why:

* a key given twice is an error, where the loader would silently keep the second;
* PCI addresses stay text: YAML 1.1 takes `0000:18:00.0` for a number to the base of 60, and so does the loader;
* dates stay text, keys must be text, and of tags only those of JSON's types are allowed;
* `vendor` and `deviceID` keep their digits as they were written (`0154` is not octal there);
* aliases may not refer to themselves, nor blow a small text up into a large object;
* a character that JSON writes as two escapes (`"\\ud83d\\ude00"`) is one character; half of one is an error.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from virtfn.errors import InvalidDocument

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "str"))
_KEPT_AS_WRITTEN = frozenset({"vendor", "deviceID"})
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_MOST_REPEATED = 50_000
"""Values that aliases may add to what stands in the text."""


class _Loader(yaml.SafeLoader):
    """The safe loader with the number forms of base 60 and the dates taken out of what plain text can mean."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 - PyYAML's own way: filled below, read by its resolver


for _name, _form, _first in (
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?(?:0b[01_]+|0[0-7_]*|[1-9][0-9_]*|0x[0-9a-fA-F_]+)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9]+(?:[eE][-+][0-9]+)?)", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_form})\Z"), list(_first))


def parse_yaml(text: str, *, source: str) -> list[tuple[int, Any]]:
    """The documents of a text with their numbers, counted from 1; empty ones are left out.

    :param source: what the text is called in errors, such as a file's name.
    :raises InvalidDocument: the text is not YAML, or is something of what the module refuses.
    """
    loader = None
    number = 1
    try:
        loader = _Loader(text)
        documents = []
        while loader.check_node():
            node = loader.get_node()
            value = _Builder(loader, where=f"{source}, document {number}").build(node) if node else None
            if value is not None:
                documents.append((number, value))
            number += 1
        return documents
    except RecursionError as error:
        raise InvalidDocument(f"{source}, document {number}: nested too deeply to be read") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise InvalidDocument(f"{source}, document {number}{line}: not YAML: {what}") from error
    except yaml.YAMLError as error:
        raise InvalidDocument(f"{source}, document {number}: not YAML: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Builder:
    """Builds the plain data of one document."""

    def __init__(self, loader: _Loader, *, where: str) -> None:
        self._loader = loader
        self._where = where
        self._open: set[int] = set()
        self._seen: set[int] = set()
        self._repeated = 0

    def build(self, node: Node, path: str = "", *, as_written: bool = False) -> Any:
        """The node's value; `path` is its field, for errors."""
        self._count(node, path)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path, as_written=as_written)
        if id(node) in self._open:
            self._refuse(node, path, "an alias refers to what it is a part of (write the value out)")
        self._open.add(id(node))
        value: Any
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            value = self._mapping(node, path)
        elif isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            value = [self.build(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        else:
            self._refuse(node, path, f"the tag {node.tag} is not allowed here (take it away)")
        self._open.discard(id(node))
        return value

    def _count(self, node: Node, path: str) -> None:
        if id(node) in self._seen:
            self._repeated += 1
            if self._repeated > _MOST_REPEATED:
                self._refuse(node, path, "its aliases make too large an object (write the values out)")
        self._seen.add(id(node))

    def _scalar(self, node: ScalarNode, path: str, *, as_written: bool) -> Any:
        if as_written and node.tag == _TAG + "int":
            return node.value
        if node.tag not in _SCALARS:
            self._refuse(node, path, f"{node.value!r} with the tag {node.tag} is not allowed here (put it in quotes)")
        try:
            value = self._loader.construct_object(node)
            return _joined(value) if isinstance(value, str) and _HALF_CHARACTER.search(value) else value
        except UnicodeError as error:
            self._refuse(node, path, f"{node.value[:60]!r} has half of a character (write the whole one)", error)
        except (ValueError, KeyError, yaml.YAMLError) as error:
            kind = node.tag.removeprefix(_TAG)
            self._refuse(node, path, f"{node.value[:60]!r} cannot be read as {kind} (put text in quotes)", error)

    def _mapping(self, node: MappingNode, path: str) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for other in self._merged(value_node, path):
                    merged = {**other, **merged}
                continue
            key = self.build(key_node, path)
            if not isinstance(key, str):
                self._refuse(key_node, path, f"the key {key!r} is not text (put it in quotes)")
            field = f"{path}.{key}" if path else key
            if key in own:
                self._refuse(key_node, field, f"the key {key} is given twice (keep one of them)")
            own[key] = self.build(value_node, field, as_written=key in _KEPT_AS_WRITTEN)
        return {**merged, **own}

    def _merged(self, node: Node, path: str) -> list[dict[str, Any]]:
        """What `<<` stands for: one mapping, or several of which an earlier one goes before a later one."""
        values = self.build(node, path)
        listed = values if isinstance(values, list) else [values]
        if not all(isinstance(value, dict) for value in listed):
            self._refuse(node, path, "<< must refer to a mapping or a list of them")
        return listed

    def _refuse(self, node: Node, path: str, what: str, cause: Exception | None = None) -> NoReturn:
        line = node.start_mark.line + 1
        field = f"{path}: " if path else ""
        raise InvalidDocument(f"{self._where}, line {line}: {field}{what}", field=path) from cause


def _joined(text: str) -> str:
    """Text whose characters beyond 16 bits came as two halves each; raises `ValueError` for half a one."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
