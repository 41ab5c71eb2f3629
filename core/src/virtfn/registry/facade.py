"""`Registry`: the plugins of this machine, and typed calls of their hooks. No caller ever names a hook in a string."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any

from pluggy import HookCaller

from virtfn.errors import (
    AmbiguousClaimError,
    ContractViolation,
    NoOwnerError,
    PluginError,
    PluginLoadError,
)
from virtfn.host.api import Host, HostReader
from virtfn.model import (
    Adapter,
    Claim,
    DesiredAdapter,
    DeviceModel,
    Inventory,
    PciId,
    Pf,
    Platform,
    Problem,
    Refusal,
    Step,
    StepOutcome,
)
from virtfn.plugin import Plugin
from virtfn.registry.contract import ADAPTER_HOOKS, new_manager
from virtfn.registry.entries import GENERIC, InstalledPlugin, installed, normalised
from virtfn.registry.loading import LoadedPlugin, load, make_plugin
from virtfn.registry.ownership import Candidates

_log = logging.getLogger(__name__)


class Registry:
    """The plugins that were loaded, the ones that could not be, and who serves which adapter."""

    def __init__(
        self,
        plugins: Iterable[LoadedPlugin],
        *,
        entries: Iterable[InstalledPlugin] = (),
        blocked: Mapping[str, str] | None = None,
        problems: Iterable[PluginError] = (),
    ) -> None:
        """Use `load_registry`, or `for_testing`.

        :param blocked: keys that a card can match and whose plugin cannot be used, with the reason.
        """
        by_key = {key: plugin for plugin in plugins for key in plugin.keys}
        self.plugins: tuple[LoadedPlugin, ...] = tuple(sorted(set(by_key.values()), key=lambda plugin: plugin.keys))
        self.installed: tuple[InstalledPlugin, ...] = tuple(entries)
        """Every entry point of the group, loaded or not."""
        self.problems: tuple[PluginError, ...] = tuple(problems)
        """What is wrong with installed plugins; nothing of it stops the others."""
        self._by_key = by_key
        self._manager = new_manager()
        # pluggy asks the last one registered first, so generic comes last even if it forgot trylast.
        for plugin in sorted(self.plugins, key=lambda plugin: GENERIC not in plugin.keys):
            self._manager.register(plugin.guarded, name="/".join(plugin.keys))
        self._candidates = Candidates(by_key, dict(blocked or {}), self._ask_claim)

    @classmethod
    def for_testing(cls, plugins: Mapping[str, type[Plugin]], *, distribution: str = "testing 0") -> Registry:
        """A registry of classes by key, without any distribution. A class that breaks the contract raises here.

        :raises PluginError: as `problems` would hold it.
        """
        keys: dict[type[Plugin], list[str]] = {}
        for key, kind in plugins.items():
            keys.setdefault(kind, []).append(key)
        return cls(make_plugin(kind, keys=of, distribution=distribution) for kind, of in keys.items())

    @property
    def generic(self) -> LoadedPlugin | None:
        """The plugin that fills the hooks others leave out."""
        return self._by_key.get(GENERIC)

    def plugin(self, key: str) -> LoadedPlugin | None:
        """The plugin loaded for an entry point key (`Adapter.owner`), or None."""
        return self._by_key.get(key)

    def device_models(self) -> tuple[tuple[str, DeviceModel], ...]:
        """All rows of all device tables, each with the name of the plugin that knows it."""
        return tuple((plugin.name, row) for plugin in self.plugins for row in plugin.device_table)

    def assign(self, inventory: Inventory) -> Inventory:
        """The inventory with `owner`, `owner_reason` and `model` of every adapter filled in.

        A claim hook that fails leaves its cards alone and says so in the reason; nothing is raised.
        """
        return self._candidates.assign(inventory)

    def hooks(self, adapter: Adapter) -> AdapterHooks:
        """The hooks that serve an adapter: its owner's, and generic's where the owner has no answer.

        :raises NoOwnerError: the adapter has no owner, or its owner is not loaded.
        """
        owner = self._by_key.get(adapter.owner) if adapter.owner is not None else None
        if owner is None:
            why = adapter.owner_reason or "no plugin was asked"
            what = f"is served by plugin {adapter.owner}, which is not loaded" if adapter.owner else "has no plugin"
            raise NoOwnerError(f"{adapter.address}: {what} ({why})", plugin=adapter.owner or "")
        chain = tuple(dict.fromkeys(plugin for plugin in (owner, self.generic) if plugin is not None))
        return AdapterHooks(chain, callers={hook: self._subset(hook, chain) for hook in ADAPTER_HOOKS})

    def hook_sources(self, adapter: Adapter) -> Mapping[str, tuple[str, ...]]:
        """For each hook the names of the plugins that are asked, in this order; the first answer other than None holds.

        `("generic",)` for a vendor's adapter means that the vendor's plugin leaves this hook to generic.

        :raises NoOwnerError: the adapter has no owner, or its owner is not loaded.
        """
        return self.hooks(adapter).sources

    def _subset(self, hook: str, plugins: Iterable[LoadedPlugin]) -> HookCaller:
        wanted = {id(plugin) for plugin in plugins}
        others = [plugin.guarded for plugin in self.plugins if id(plugin) not in wanted]
        return self._manager.subset_hook_caller(hook, others)

    def _ask_claim(self, plugin: LoadedPlugin, device: Pf, platform: Platform) -> Claim | Refusal | None:
        answer: Claim | Refusal | None = self._subset("claim", (plugin,))(device=device, platform=platform)
        return answer


class AdapterHooks:
    """The hooks of one adapter's owner, with generic behind it. Each takes and returns what `virtfn.hookspecs` says.

    Whatever a plugin does against the contract comes out as `ContractViolation` naming plugin, hook and distribution;
    errors of `virtfn.errors` come out as they are.
    """

    def __init__(self, plugins: tuple[LoadedPlugin, ...], *, callers: Mapping[str, HookCaller]) -> None:
        self.owner: LoadedPlugin = plugins[0]
        self._plugins = plugins
        self._callers = callers

    @property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """For each hook the names of the plugins that implement it, in the order they are asked."""
        return {hook: tuple(plugin.name for plugin in self._plugins if hook in plugin.hooks) for hook in ADAPTER_HOOKS}

    def observe(self, adapter: Adapter, *, host: HostReader, platform: Platform) -> Mapping[str, Any]:
        """Vendor facts as JSON values, a copy; empty when no plugin has any."""
        facts: Mapping[str, Any] | None = self._callers["observe"](adapter=adapter, host=host, platform=platform)
        return {} if facts is None else facts

    def plan_firmware(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        """Steps that must come before VFs can exist."""
        answer = self._callers["plan_firmware"](adapter=adapter, desired=desired, platform=platform)
        return () if answer is None else answer

    def plan_functions(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Step, ...]:
        """Link, eswitch mode and number of VFs of the PFs.

        :raises NoOwnerError: nobody plans it, because no generic plugin is loaded.
        """
        answer = self._callers["plan_functions"](adapter=adapter, desired=desired, platform=platform)
        return self._planned("plan_functions", answer, adapter)

    def plan_vfs(
        self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform, planned: Sequence[Step]
    ) -> tuple[Step, ...]:
        """Settings and drivers of the VFs.

        :param planned: the steps of `plan_firmware` and `plan_functions`.
        :raises NoOwnerError: nobody plans it, because no generic plugin is loaded.
        """
        answer = self._callers["plan_vfs"](adapter=adapter, desired=desired, platform=platform, planned=planned)
        return self._planned("plan_vfs", answer, adapter)

    def validate(self, adapter: Adapter, *, desired: DesiredAdapter, platform: Platform) -> tuple[Problem, ...]:
        """What is wrong with the request: the owner's and generic's problems together.

        Where both complain of one field for one reason, the owner's words are kept: it knows the card.
        """
        answers = self._callers["validate"](adapter=adapter, desired=desired, platform=platform)
        told: list[Problem] = []
        for answer in answers:  # the owner's comes first
            known = {(problem.object, problem.field, problem.reason) for problem in told}
            told += [problem for problem in answer if (problem.object, problem.field, problem.reason) not in known]
        return tuple(told)

    def perform(self, step: Step, *, adapter: Adapter, host: Host) -> StepOutcome:
        """Do a step of the plugin's own kind.

        :raises HostError: the machine refused.
        :raises ContractViolation: the plugin that planned the step does not do it.
        """
        answer: StepOutcome | None = self._callers["perform"](step=step, adapter=adapter, host=host)
        if answer is None:
            raise ContractViolation(
                f"{step.target}: nobody performs {step.op} (asked: {', '.join(p.label for p in self._plugins)}; the"
                " plugin that plans a step of its own has to perform it)",
                plugin=step.op.partition(".")[0],
                distribution=self.owner.distribution,
            )
        return answer

    def _planned(self, hook: str, answer: tuple[Step, ...] | None, adapter: Adapter) -> tuple[Step, ...]:
        if answer is not None:
            return answer
        if any(GENERIC in plugin.keys for plugin in self._plugins):
            return ()
        raise NoOwnerError(
            f"{adapter.address}: plugin {self.owner.label} leaves {hook} to the generic plugin, and none is loaded"
            f" (install the distribution that has the key {GENERIC})",
            plugin=self.owner.name,
            distribution=self.owner.distribution,
        )


def load_registry(
    ids: Iterable[PciId], *, load_all: bool = False, entry_points: Iterable[EntryPoint] | None = None
) -> Registry:
    """The registry of this machine. Whatever is wrong with a plugin ends in `Registry.problems`; nothing is raised.

    :param ids: of the network functions present; only plugins whose key matches one are imported, and those with the
        keys `generic` and `virtual`.
    :param load_all: import all, as a controller and `virtfn plugins` do.
    :param entry_points: taken instead of what is installed.
    """
    present = frozenset(ids)
    problems: list[PluginError] = []
    blocked: dict[str, str] = {}
    entries = installed(entry_points, problems=problems)

    by_key: dict[str, list[InstalledPlugin]] = {}
    for entry in entries:
        if entry.well_formed:
            by_key.setdefault(entry.key, []).append(entry)
        else:
            problems.append(_malformed(entry))

    wanted: dict[str, InstalledPlugin] = {}
    for key, rivals in by_key.items():
        if not (load_all or rivals[0].wanted_for(present)):
            # A card that is plugged in later must not fall to generic for want of a plugin that is there.
            blocked[key] = (
                f"the plugin for {key} ({rivals[0].label}) was not loaded when virtfn started; start it again"
            )
        elif len(rivals) > 1:
            ambiguous = _ambiguous(key, rivals)
            problems.append(ambiguous)
            blocked[key] = str(ambiguous)
        else:
            wanted[key] = rivals[0]

    plugins, failed = load(wanted)
    for key, error in failed:
        if error not in problems:
            problems.append(error)
        blocked[key] = str(error)
    plugins = _without_second_generic(plugins, problems=problems, blocked=blocked)
    for problem in problems:  # told by whoever asked, in its own words; here for the record
        _log.info("%s", problem, extra={"plugin": problem.plugin, "reason": problem.reason})
    return Registry(plugins, entries=entries, blocked=blocked, problems=problems)


def _malformed(entry: InstalledPlugin) -> PluginLoadError:
    return PluginLoadError(
        f"plugin {entry.key!r} ({entry.label}): not a key (expected a PCI vendor like 8086, a vendor and device like"
        " 8086.10c9, generic or virtual)",
        plugin=entry.key,
        distribution=entry.label,
    )


def _ambiguous(key: str, rivals: Sequence[InstalledPlugin]) -> AmbiguousClaimError:
    if len({normalised(rival.distribution) for rival in rivals}) == 1:
        what = f"{rivals[0].label} names it {len(rivals)} times ({', '.join(rival.value for rival in rivals)})"
    else:
        what = f"{' and '.join(rival.label for rival in rivals)} both have it"
    return AmbiguousClaimError(
        f"plugin key {key}: {what} (none of them is used; remove all but one)",
        plugin=key,
        distribution=", ".join(rival.label for rival in rivals),
    )


def _without_second_generic(
    plugins: Iterable[LoadedPlugin], *, problems: list[PluginError], blocked: dict[str, str]
) -> tuple[LoadedPlugin, ...]:
    """Two plugins of one name cannot be told apart by their steps where they meet: an owner, and generic behind it."""
    fallback = next((plugin for plugin in plugins if GENERIC in plugin.keys), None)
    kept: list[LoadedPlugin] = []
    for plugin in plugins:
        if fallback is None or plugin is fallback or plugin.name != fallback.name:
            kept.append(plugin)
            continue
        error = ContractViolation(
            f"plugin {plugin.label}: has the name of the generic plugin {fallback.label} (rename it)",
            plugin=plugin.name,
            distribution=plugin.distribution,
        )
        problems.append(error)
        blocked.update({key: str(error) for key in plugin.keys})
    return tuple(kept)
