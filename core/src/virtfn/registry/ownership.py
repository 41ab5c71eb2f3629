"""Which plugin serves which adapter, and the reason in words.

The most specific key wins: one device, one vendor, what `virtual` claims, then `generic` for whatever has SR-IOV. A key
that cannot be used (its plugin is broken, outdated, or two distributions want it) is not skipped: a card that such a
plugin was installed for is left alone, since a plugin that knows less of it could do it harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from virtfn.errors import VirtfnError
from virtfn.model import Adapter, Claim, DeviceModel, Inventory, Pf, Platform, Refusal
from virtfn.registry.entries import GENERIC, VIRTUAL, keys_for
from virtfn.registry.loading import LoadedPlugin

ClaimHook = Callable[[LoadedPlugin, Pf, Platform], Claim | Refusal | None]

NOBODY = "no SR-IOV and no plugin claims it"


@dataclass(frozen=True, slots=True)
class Decision:
    """Who serves one PCI function. `key` is None when nobody does; `left_alone`: somebody would, and cannot."""

    key: str | None
    why: str
    model: str | None = None
    left_alone: bool = False

    @property
    def rank(self) -> int:
        """0 for one device's key, 1 for a vendor's, 2 for `virtual`, 3 for `generic`."""
        if self.key in (VIRTUAL, GENERIC):
            return 2 if self.key == VIRTUAL else 3
        return 0 if "." in (self.key or "") else 1


@dataclass(frozen=True, slots=True)
class Candidates:
    """The keys of this machine: usable ones with their plugin, unusable ones with the reason."""

    plugins: Mapping[str, LoadedPlugin]
    blocked: Mapping[str, str]
    ask: ClaimHook

    def assign(self, inventory: Inventory) -> Inventory:
        """The inventory with owner, reason and model of every adapter filled in."""
        adapters = tuple(self._assigned(adapter, inventory.platform) for adapter in inventory.adapters)
        return replace(inventory, adapters=adapters)

    def _assigned(self, adapter: Adapter, platform: Platform) -> Adapter:
        decisions = {pf: self.decide(pf, platform) for pf in adapter.pfs}
        blocked = next((d for d in decisions.values() if d.left_alone), None)
        owned = [d for d in decisions.values() if d.key is not None]
        if blocked is not None:
            chosen = blocked
        elif owned:
            # Functions of one slot share their firmware, so one plugin serves them all: the most specific one.
            chosen = min(owned, key=lambda decision: decision.rank)
        else:
            chosen = next(iter(decisions.values()), Decision(None, "it has no network function"))
        reason = chosen.why
        others = {d.key: f"{pf.address}: {d.key}" for pf, d in decisions.items() if d.key not in (None, chosen.key)}
        if chosen.key is not None and others:
            reason += f" (alone, other functions of the card would go elsewhere: {', '.join(others.values())})"
        row = self._row(adapter, chosen.key)
        return replace(
            adapter,
            owner=chosen.key,
            owner_reason=reason,
            model=chosen.model or (row.label if row is not None else None),
            rdma_module=row.rdma_module if row is not None else "",
            vdpa_module=row.vdpa_module if row is not None else "",
            params=dict(row.params) if row is not None else {},
        )

    def _row(self, adapter: Adapter, owner: str | None) -> DeviceModel | None:
        """From the owner's table, else from any table: a name is information, whoever knows it."""
        first = [self.plugins[owner]] if owner is not None else []
        for plugin in (*first, *(self.plugins[key] for key in sorted(self.plugins))):
            for pf in adapter.pfs:
                row = plugin.model_of(pf.id)
                if row is not None:
                    return row
        return None

    def decide(self, pf: Pf, platform: Platform) -> Decision:
        """Who serves this function."""
        refusals: list[str] = []
        for key in keys_for(pf.id):
            decision = self._offer(key, pf, platform, refusals)
            if decision is not None:
                return decision
        # virtual is there for functions without SR-IOV: for one that has it, a broken virtual is not in the way.
        if not (pf.total_vfs and VIRTUAL in self.blocked):
            decision = self._offer(VIRTUAL, pf, platform, refusals)
            if decision is not None:
                return decision
        if pf.total_vfs or GENERIC not in self.blocked:
            decision = self._offer(GENERIC, pf, platform, refusals)
            if decision is not None:
                return decision
        if not pf.total_vfs:
            why = NOBODY
        elif refusals:
            why = "every plugin refuses it"
        else:
            why = f"no plugin for vendor {pf.id.vendor} is installed, and none with the key {GENERIC}"
        return Decision(None, "; ".join((why, *refusals)))

    def _offer(self, key: str, pf: Pf, platform: Platform, refusals: list[str]) -> Decision | None:
        """What the plugin of one key makes of the function; None: ask the next."""
        if key in self.blocked:
            # Nobody knows what virtual would have claimed, so it does not take a whole card with it.
            return Decision(None, f"left alone: {self.blocked[key]}", left_alone=key != VIRTUAL)
        plugin = self.plugins.get(key)
        if plugin is None:
            return None
        try:
            answer = self.ask(plugin, pf, platform)
        except VirtfnError as error:
            return Decision(None, f"left alone: {error}", left_alone=True)
        if isinstance(answer, Refusal):
            refusals.append(f"{plugin.name} refuses it: {answer.why}")
            return None
        if answer is None and not self._takes_unasked(key, pf):
            return None
        why = answer.why if answer is not None else self._why(key, pf)
        model = answer.model if answer is not None else None
        return Decision(key, "; ".join((f"{plugin.label}: {why}", *refusals)), model=model)

    @staticmethod
    def _takes_unasked(key: str, pf: Pf) -> bool:
        if key == VIRTUAL:
            return False
        return key != GENERIC or bool(pf.total_vfs)

    @staticmethod
    def _why(key: str, pf: Pf) -> str:
        if key == GENERIC:
            return f"{pf.id} has SR-IOV and no other plugin serves it"
        return f"key {key} matches {pf.id}"
