from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from virtfn.errors import PluginError, PluginLoadError
from virtfn.model import PciId
from virtfn.registry import installed
from virtfn.registry.entries import keys_for


def test_lists_key_value_and_distribution_without_importing(site: Any) -> None:
    module = site.plugin("virtfn-acme", "fe01")
    found = [entry for entry in installed() if entry.key == "fe01"]
    assert [(e.value, e.distribution, e.version) for e in found] == [(f"{module}:Made", "virtfn-acme", "1.0")]
    assert not site.imported(module)


def test_lists_a_plugin_whose_import_would_fail(site: Any) -> None:
    site.add("virtfn-acme", {"fe01": "Made"}, "raise RuntimeError('imported')")
    assert [entry.label for entry in installed(site.entry_points)] == ["virtfn-acme 1.0"]


def test_sorted_by_key_then_distribution(site: Any) -> None:
    site.plugin("virtfn-b", "fe01")
    site.plugin("virtfn-a", "fe01")
    site.plugin("virtfn-z", "fe01.0001")
    site.plugin("virtfn-y", "generic")
    found = [(entry.key, entry.distribution) for entry in installed(site.entry_points)]
    assert found == [
        ("fe01", "virtfn-a"),
        ("fe01", "virtfn-b"),
        ("fe01.0001", "virtfn-z"),
        ("generic", "virtfn-y"),
    ]


def test_a_distribution_twice_on_the_path_counts_once(site: Any) -> None:
    module = site.plugin("virtfn-acme", "fe01")
    site.add("Virtfn_Acme", {"fe01": "Made"}, "", module=module, version="0.9")
    assert len(site.entry_points) == 2
    assert len(installed(site.entry_points)) == 1
    assert len([entry for entry in installed() if entry.key == "fe01"]) == 1


def test_one_distribution_that_names_two_classes_for_a_key_is_listed_twice() -> None:
    group = "virtfn.plugins"
    twice = [EntryPoint("fe01", "one:A", group), EntryPoint("fe01", "two:B", group)]
    assert [entry.value for entry in installed(twice)] == ["one:A", "two:B"]


@pytest.mark.parametrize(
    ("key", "well_formed"),
    [
        ("8086", True),
        ("8086.10c9", True),
        ("15B3.101D", True),
        ("generic", True),
        ("virtual", True),
        ("0x8086", False),
        ("808", False),
        ("8086:10c9", False),
        ("8086.10c9.1", False),
        ("vendor", False),
        ("", False),
    ],
)
def test_keys(key: str, well_formed: bool) -> None:
    (entry,) = installed([EntryPoint(key, "module:Kind", "virtfn.plugins")])
    assert entry.well_formed is well_formed


def test_upper_case_keys_are_read_as_lower_case() -> None:
    (entry,) = installed([EntryPoint("15B3.101D", "module:Kind", "virtfn.plugins")])
    assert entry.key == "15b3.101d"
    assert entry.wanted_for([PciId("15b3", "101d")])


@pytest.mark.parametrize(
    ("key", "wanted"),
    [("8086", True), ("8086.1572", True), ("8086.10c9", False), ("15b3", False), ("generic", True), ("virtual", True)],
)
def test_wanted_for_the_hardware_present(key: str, wanted: bool) -> None:
    (entry,) = installed([EntryPoint(key, "module:Kind", "virtfn.plugins")])
    assert entry.wanted_for([PciId("8086", "1572"), PciId("14e4", "16d7")]) is wanted


def test_keys_for_a_function_are_ordered_by_how_specific_they_are() -> None:
    assert keys_for(PciId("8086", "10c9")) == ("8086.10c9", "8086")


def test_torn_metadata_of_one_distribution_does_not_hide_the_others(site: Any) -> None:
    site.plugin("virtfn-acme", "fe01")
    site.add("virtfn-torn", {"fe02": "Made"}, "")
    (torn,) = site.folders[-1].glob("*.dist-info/entry_points.txt")
    torn.write_bytes(b"[virtfn.plugins]\nfe02 = \xff\xfe\xff")
    problems: list[PluginError] = []
    keys = {entry.key for entry in installed(problems=problems)}
    assert "fe01" in keys
    assert "fe02" not in keys
    (problem,) = problems
    assert isinstance(problem, PluginLoadError)
    assert "virtfn-torn 1.0" in str(problem)
    assert problem.__cause__ is not None


def test_a_folder_left_without_metadata_is_survived(site: Any) -> None:
    module = site.plugin("virtfn-acme", "fe01")
    (metadata,) = site.folders[-1].glob("*.dist-info/METADATA")
    metadata.unlink()
    (entry,) = installed(site.entry_points)
    assert (entry.key, entry.label) == ("fe01", "unnamed distribution")
    assert module not in sys.modules
