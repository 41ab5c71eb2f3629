"""Whether a plugin keeps the contract of `virtfn.hookspecs`: the signatures of its hooks once, every answer always.

Each hook of a plugin is registered with pluggy through a guard of its own. So an exception or a bad answer is told with
the plugin that gave it, although pluggy, which asks the owner and then generic, does not say whose answer it returns.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pluggy import PluginManager, PluginValidationError

from virtfn import hookspecs
from virtfn.errors import ContractViolation, VirtfnError
from virtfn.model import Claim, DeviceModel, Problem, Refusal, Step, StepOutcome
from virtfn.model.steps import STANDARD_OPS
from virtfn.plugin import PROJECT, Plugin

T = TypeVar("T")

PLAN_HOOKS = ("plan_firmware", "plan_functions", "plan_vfs")
ADAPTER_HOOKS = ("observe", *PLAN_HOOKS, "validate", "perform")
"""Hooks that are asked for an adapter, of its owner and of generic."""

HOOKS = ("device_table", "claim", *ADAPTER_HOOKS)

CORE_NAMES = frozenset(op.partition(".")[0] for op in STANDARD_OPS)
"""Words before the dot of core's own operations; no plugin can have one of them as its name."""

_MARKER = f"{PROJECT}_impl"
_VERB = re.compile(r"[a-z][a-z0-9_]*")


class _NotAllowed(Exception):
    """What is wrong with an answer, in words that follow "returned"."""


class GuardedPlugin:
    """What pluggy gets to see of a plugin: its hooks, each behind a guard, as attributes of the instance."""


def new_manager() -> PluginManager:
    """An empty pluggy manager that knows the hooks."""
    manager = PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def implemented(plugin: Plugin) -> Mapping[str, str]:
    """Hooks that the plugin implements, and the name of the method for each."""
    methods: dict[str, str] = {}
    for attribute in dir(type(plugin)):
        options = getattr(getattr(type(plugin), attribute), _MARKER, None)
        if isinstance(options, dict):
            methods[options.get("specname") or attribute] = attribute
    return methods


def check_hooks(plugin: Plugin, *, where: str, distribution: str, fallback: bool = False) -> None:
    """Whether all hooks of the plugin are hooks of the contract, with arguments that the contract has.

    :param where: names plugin and distribution, for messages.
    :param fallback: the plugin is the one that others fall back to.
    :raises ContractViolation: naming the first hook that is not.
    """

    def violation(hook: str, what: str) -> ContractViolation:
        return ContractViolation(f"{where}: hook {hook}: {what}", plugin=plugin.name, distribution=distribution)

    methods = implemented(plugin)
    for hook in HOOKS:
        if hook not in methods and callable(getattr(plugin, hook, None)):
            raise violation(hook, "is never called (the method lacks the mark @hookimpl)")
    for hook, attribute in methods.items():
        method = getattr(plugin, attribute)
        options = getattr(method, _MARKER)
        if options.get("wrapper") or options.get("hookwrapper"):
            raise violation(hook, "is a wrapper (hooks are plain functions that return their answer)")
        if options.get("trylast") and not fallback:
            raise violation(hook, "is marked trylast (only generic comes last, others come before it)")
        if options.get("tryfirst") and fallback:
            raise violation(hook, "is marked tryfirst (generic comes last: trylast)")
        if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
            raise violation(hook, "is async or a generator (hooks are plain functions that return their answer)")
        by_name = [p.name for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY]
        if by_name:
            raise violation(hook, f"takes {', '.join(by_name)} by keyword only, which is never filled (remove the *)")
    manager = new_manager()
    try:
        manager.register(plugin, name=where)
        manager.check_pending()
    except PluginValidationError as error:
        text = " ".join(str(error).split())
        raise ContractViolation(
            f"{where}: does not fit the contract ({text})", plugin=plugin.name, distribution=distribution
        ) from error


def guard(plugin: Plugin, *, where: str, distribution: str) -> GuardedPlugin:
    """The plugin as it is registered: every answer is checked, every foreign exception is a `ContractViolation`."""
    guarded = GuardedPlugin()
    checks = _checks(plugin.name)
    for hook, attribute in implemented(plugin).items():
        if hook not in checks:  # marked optionalhook: for another version of the contract
            continue
        setattr(guarded, hook, _guarded(getattr(plugin, attribute), hook, checks[hook], plugin, where, distribution))
    return guarded


def _guarded(
    method: Callable[..., Any],
    hook: str,
    check: Callable[[Any], Any],
    plugin: Plugin,
    where: str,
    distribution: str,
) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            answer = method(*args, **kwargs)
        except VirtfnError:
            raise
        except (Exception, SystemExit) as error:
            raise ContractViolation(
                f"{where}: hook {hook} raised {type(error).__name__}: {error} (a fault of the plugin; report it there)",
                plugin=plugin.name,
                distribution=distribution,
            ) from error
        if answer is None and hook != "device_table":
            return None
        try:
            return check(answer)
        except _NotAllowed as error:
            raise ContractViolation(
                f"{where}: hook {hook} returned {error}", plugin=plugin.name, distribution=distribution
            ) from error

    return call


def _checks(plugin: str) -> Mapping[str, Callable[[Any], Any]]:
    return {
        "device_table": lambda answer: _items(answer, DeviceModel),
        "claim": _claim,
        "observe": _facts,
        **{hook: functools.partial(_steps, plugin=plugin) for hook in PLAN_HOOKS},
        "validate": lambda answer: _items(answer, Problem),
        "perform": _outcome,
    }


def _items(answer: Any, kind: type[T]) -> tuple[T, ...]:
    if not isinstance(answer, (tuple, list)):
        raise _NotAllowed(f"{_kind(answer)} (expected a tuple or list of {kind.__name__})")
    for index, item in enumerate(answer):
        if not isinstance(item, kind):
            raise _NotAllowed(f"{_kind(item)} as item {index} (expected {kind.__name__})")
    return tuple(answer)


def _steps(answer: Any, *, plugin: str) -> tuple[Step, ...]:
    steps = _items(answer, Step)
    for step in steps:
        if step.op in STANDARD_OPS:
            continue
        owner, _, verb = str(step.op).partition(".")
        if owner != plugin or _VERB.fullmatch(verb) is None:
            raise _NotAllowed(
                f"a step {step.op!r} (neither a standard operation nor one of the plugin's own, {plugin}.<verb>)"
            )
    return steps


def _claim(answer: Any) -> Claim | Refusal:
    if not isinstance(answer, (Claim, Refusal)):
        raise _NotAllowed(f"{_kind(answer)} (expected Claim, Refusal or None)")
    if not str(answer.why).strip():
        raise _NotAllowed(f"a {type(answer).__name__} without a reason (why is shown to people)")
    return answer


def _outcome(answer: Any) -> StepOutcome:
    if not isinstance(answer, StepOutcome):
        raise _NotAllowed(f"{_kind(answer)} (expected StepOutcome)")
    return answer


def _facts(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise _NotAllowed(f"{_kind(answer)} (expected a mapping of facts)")
    facts = _json(answer, "facts")
    assert isinstance(facts, dict)
    return facts


def _json(value: Any, path: str) -> Any:
    """A copy of plain dicts, lists, strings, numbers, booleans and None, so that it stays as it was observed."""
    if value is None or isinstance(value, (bool, int)) or type(value) is str:
        return value
    if isinstance(value, str):  # a StrEnum is its text on the wire
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _NotAllowed(f"{value} at {path} (JSON has no such number)")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _NotAllowed(f"the key {key!r} at {path} (keys of JSON objects are text)")
        return {str(key): _json(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise _NotAllowed(f"{_kind(value)} at {path} (facts are JSON values)")


def _kind(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"
