from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stevedore.extension import ExtensionManager

from virtfn.errors import (
    AmbiguousClaimError,
    ContractViolation,
    PluginApiMismatch,
    PluginError,
    PluginLoadError,
)
from virtfn.model import PciId
from virtfn.registry import Registry, load_registry

ACME = PciId("fe01", "0001")
OTHER = PciId("fe02", "0001")


def load(site: Any, *ids: PciId, load_all: bool = False) -> Registry:
    return load_registry(ids, entry_points=site.entry_points, load_all=load_all)


def only_problem(registry: Registry) -> PluginError:
    (problem,) = registry.problems
    return problem


def test_only_plugins_of_the_hardware_present_are_imported(site: Any) -> None:
    modules = {
        key: site.plugin(f"virtfn-p{index}", key)
        for index, key in enumerate(["fe01", "fe01.0001", "fe01.0002", "fe02", "generic", "virtual"])
    }
    registry = load(site, ACME)
    imported = {key for key, module in modules.items() if site.imported(module)}
    assert imported == {"fe01", "fe01.0001", "generic", "virtual"}
    assert {key for plugin in registry.plugins for key in plugin.keys} == imported
    assert len(registry.installed) == 6
    assert registry.problems == ()


def test_load_all_imports_all(site: Any) -> None:
    modules = [site.plugin("virtfn-a", "fe01"), site.plugin("virtfn-b", "fe02")]
    registry = load(site, load_all=True)
    assert all(site.imported(module) for module in modules)
    assert len(registry.plugins) == 2


def test_several_keys_of_one_class_make_one_instance(site: Any) -> None:
    body = """
        made = 0
        def __init__(self):
            type(self).made += 1
    """
    site.plugin("virtfn-acme", {"fe01": "Made", "fe01.0001": "Made", "fe02": "Made"}, body, plugin="acme")
    registry = load(site, ACME, OTHER)
    (plugin,) = registry.plugins
    assert plugin.keys == ("fe01", "fe01.0001", "fe02")
    assert plugin.label == "acme (virtfn-acme 1.0)"
    assert registry.plugin("fe01") is registry.plugin("fe02") is plugin


def test_nothing_is_cached_below_the_home_directory(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    before = dict(ExtensionManager.ENTRY_POINT_CACHE)
    site.plugin("virtfn-acme", "fe01")
    load_registry([ACME])
    assert list(home.iterdir()) == []
    assert before == ExtensionManager.ENTRY_POINT_CACHE


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("import module_that_is_not_there", "ModuleNotFoundError"),
        ("raise RuntimeError('half configured')", "half configured"),
        ("assert False, 'wrong CPU'", "wrong CPU"),
        ("import sys; sys.exit('bye')", "SystemExit"),
        ("Made = (", "SyntaxError"),
        ("Unmade = 1", "AttributeError"),
    ],
)
def test_a_broken_import_is_reported_and_others_go_on(site: Any, source: str, word: str) -> None:
    site.add("virtfn-acme", {"fe01": "Made"}, source)
    site.plugin("virtfn-other", "fe02")
    registry = load(site, ACME, OTHER)
    problem = only_problem(registry)
    assert isinstance(problem, PluginLoadError)
    assert word in str(problem)
    assert "virtfn-acme 1.0" in str(problem)
    assert problem.distribution == "virtfn-acme 1.0"
    assert problem.__cause__ is not None
    assert [plugin.keys for plugin in registry.plugins] == [("fe02",)]


@pytest.mark.parametrize("source", ["class Made: pass", "Made = 'text'", "def Made(): pass"])
def test_what_is_not_a_plugin_class_is_reported(site: Any, source: str) -> None:
    site.add("virtfn-acme", {"fe01": "Made"}, source)
    problem = only_problem(load(site, ACME))
    assert isinstance(problem, PluginLoadError)
    assert "not a subclass of virtfn.Plugin" in str(problem)


@pytest.mark.parametrize("name", ["", "Acme", "9acme", "a_b", "a b"])
def test_a_bad_name_is_reported(site: Any, name: str) -> None:
    site.plugin("virtfn-acme", "fe01", f"name = {name!r}")
    problem = only_problem(load(site, ACME))
    assert isinstance(problem, ContractViolation)
    assert "not a plugin name" in str(problem)


@pytest.mark.parametrize("name", ["sriov", "eswitch", "host", "vf"])
def test_a_plugin_cannot_take_the_word_of_a_standard_operation(site: Any, name: str) -> None:
    site.plugin("virtfn-acme", "fe01", plugin=name)
    problem = only_problem(load(site, ACME))
    assert isinstance(problem, ContractViolation)
    assert f"cannot be called {name}" in str(problem)


@pytest.mark.parametrize(
    ("version", "cure"),
    [("0", "newer release of it"), ("2", "newer virtfn"), ("True", "virtfn has version 1"), ("'1'", "newer virtfn")],
)
def test_another_version_of_the_contract_is_reported(site: Any, version: str, cure: str) -> None:
    site.plugin("virtfn-acme", "fe01", f"api_version = {version}")
    problem = only_problem(load(site, ACME))
    assert isinstance(problem, PluginApiMismatch)
    assert cure in str(problem)
    assert "virtfn-acme 1.0" in str(problem)


def test_a_constructor_that_fails_is_reported(site: Any) -> None:
    site.plugin("virtfn-acme", "fe01", "def __init__(self, needed): pass")
    problem = only_problem(load(site, ACME))
    assert isinstance(problem, PluginLoadError)
    assert "made without arguments" in str(problem)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("@hookimpl\ndef plan_everything(self, adapter): ...", "unknown hook 'plan_everything'"),
        ("@hookimpl\ndef observe(self, adapter, machine): ...", "machine"),
        ("def observe(self, adapter): ...", "lacks the mark"),
        ("@hookimpl\ndef observe(self, adapter, *, host): ...", "host by keyword only"),
        ("@hookimpl\nasync def observe(self, adapter): ...", "async"),
        ("@hookimpl\ndef plan_vfs(self, adapter):\n    yield", "async or a generator"),
        ("@hookimpl(wrapper=True)\ndef plan_vfs(self, adapter):\n    return (yield)", "is a wrapper"),
        ("@hookimpl(trylast=True)\ndef plan_vfs(self, adapter): ...", "trylast"),
        ("@hookimpl\ndef device_table(self):\n    return None", "device_table returned None"),
        ("@hookimpl\ndef device_table(self):\n    return [1]", "type int as item 0"),
        ("@hookimpl\ndef device_table(self):\n    return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_hooks_that_do_not_fit_are_reported(site: Any, body: str, words: str) -> None:
    site.plugin("virtfn-acme", "fe01", body)
    site.plugin("virtfn-other", "fe02")
    registry = load(site, ACME, OTHER)
    problem = only_problem(registry)
    assert isinstance(problem, ContractViolation)
    assert words in str(problem)
    assert problem.distribution == "virtfn-acme 1.0"
    assert [plugin.keys for plugin in registry.plugins] == [("fe02",)]


def test_generic_may_be_marked_trylast(site: Any) -> None:
    site.plugin("virtfn-g", "generic", "@hookimpl(trylast=True)\ndef plan_vfs(self, adapter):\n    return ()")
    registry = load(site)
    assert registry.problems == ()
    assert registry.generic is not None


def test_generic_may_not_be_marked_tryfirst(site: Any) -> None:
    site.plugin("virtfn-g", "generic", "@hookimpl(tryfirst=True)\ndef plan_vfs(self, adapter):\n    return ()")
    problem = only_problem(load(site))
    assert isinstance(problem, ContractViolation)
    assert "tryfirst" in str(problem)


def test_a_hook_of_another_version_can_be_optional(site: Any) -> None:
    site.plugin("virtfn-acme", "fe01", "@hookimpl(optionalhook=True)\ndef plan_later(self, adapter): ...")
    assert load(site, ACME).problems == ()


def test_a_malformed_key_is_reported_whatever_the_hardware(site: Any) -> None:
    module = site.plugin("virtfn-acme", "0xfe01")
    problem = only_problem(load(site))
    assert isinstance(problem, PluginLoadError)
    assert "'0xfe01'" in str(problem)
    assert "virtfn-acme 1.0" in str(problem)
    assert not site.imported(module)


def test_two_distributions_with_one_key_are_both_left_out(site: Any) -> None:
    modules = [site.plugin("virtfn-acme", "fe01"), site.plugin("acme-virtfn", "fe01"), site.plugin("virtfn-o", "fe02")]
    registry = load(site, ACME, OTHER)
    problem = only_problem(registry)
    assert isinstance(problem, AmbiguousClaimError)
    assert "fe01" in str(problem)
    assert "virtfn-acme 1.0" in str(problem)
    assert "acme-virtfn 1.0" in str(problem)
    assert [site.imported(module) for module in modules] == [False, False, True]


def test_two_distributions_for_absent_hardware_are_no_problem_here(site: Any) -> None:
    site.plugin("virtfn-acme", "fe01")
    site.plugin("acme-virtfn", "fe01")
    assert load(site, OTHER).problems == ()
    assert len(load(site, load_all=True).problems) == 1


def test_one_distribution_twice_on_the_path_is_not_ambiguous(site: Any) -> None:
    module = site.plugin("virtfn-acme", "fe01")
    source = (site.folders[-1] / f"{module}.py").read_text()
    site.add("virtfn_acme", {"fe01": "Made"}, source, module=module, version="0.9")
    registry = load(site, ACME)
    assert registry.problems == ()
    assert len(registry.plugins) == 1


def test_one_distribution_that_names_a_key_twice_is_ambiguous(site: Any) -> None:
    module = site.plugin("virtfn-acme", "fe01")
    (declared,) = site.folders[-1].glob("*.dist-info/entry_points.txt")
    declared.write_text(f"[virtfn.plugins]\nfe01 = {module}:Made\nfe01 = {module}:Other\n")
    problem = only_problem(load(site, ACME))
    assert isinstance(problem, AmbiguousClaimError)
    assert "virtfn-acme 1.0 names it 2 times" in str(problem)


def test_the_name_of_generic_cannot_be_taken(site: Any) -> None:
    site.plugin("virtfn-g", "generic", plugin="basic")
    site.plugin("virtfn-acme", "fe01", plugin="basic")
    registry = load(site, ACME)
    problem = only_problem(registry)
    assert isinstance(problem, ContractViolation)
    assert "virtfn-acme 1.0" in str(problem)
    assert registry.generic is not None
    assert registry.plugin("fe01") is None


def test_problems_are_logged(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    site.add("virtfn-acme", {"fe01": "Made"}, "raise RuntimeError('no')")
    with caplog.at_level("INFO", logger="virtfn.registry"):
        load(site, ACME)
    (record,) = [record for record in caplog.records if record.name.startswith("virtfn.registry")]
    assert "virtfn-acme 1.0" in record.getMessage()
    assert record.__dict__["reason"] == "PluginLoadError"
