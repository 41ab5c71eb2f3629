"""The report of `virtfn get` as one screen of text, what is wrong first. Pure: lines out, nothing is printed here.

Lines are made for a width, and never cut: the last column is folded below itself. Of many nodes those that are not in
sync are shown, the most pressing first, and the others counted.
"""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.text import Text

from virtfn.cli.get_device_view import bridge_table, in_pods, pf_table, vf_table
from virtfn.cli.get_layout import Row, folded, table
from virtfn.cli.get_report import (
    NOT_NEEDED,
    ClusterReport,
    ConditionReport,
    GroupReport,
    NodeReport,
    PlanReport,
    PolicyReport,
    Standing,
)
from virtfn.model.crd import IGNORED_POLICY
from virtfn.model.handshake import RETRY_ANNOTATION, DrainState
from virtfn.model.wording import few_names, number_of

MOST_NODES: Final = 10
"""Nodes that are shown one by one where not all are asked for."""
MOST_STEPS: Final = 6
MOST_ADDRESSES: Final = 4
MOST_MISMATCHES: Final = 3
LONGEST_MESSAGE: Final = 300
LONGEST_STATE: Final = 120
"""Characters of a condition's message: of nodes, and of policies and pools."""

_COLOURS: Final = {
    Standing.BLOCKED: "bold red",
    Standing.FAILED: "bold red",
    Standing.SILENT: "red",
    Standing.NOT_READY: "red",
    Standing.BEHIND: "yellow",
    Standing.WAITING: "yellow",
    Standing.DRAINING: "yellow",
    Standing.IN_PROGRESS: "yellow",
    Standing.DRIFTED: "yellow",
    Standing.GONE: "dim",
    Standing.IN_SYNC: "green",
}
_TELLING: Final = {
    Standing.BLOCKED: "Blocked",
    Standing.FAILED: "Ready",
    Standing.NOT_READY: "Ready",
    Standing.WAITING: "Drained",
    Standing.DRAINING: "Drained",
    Standing.IN_PROGRESS: "Ready",
    Standing.DRIFTED: "Drifted",
}
"""The condition whose reason tells why a node stands so."""


def view(report: ClusterReport, *, width: int, whole: bool = False, vfs: bool = False) -> list[Text]:
    """The screen, line by line.

    :param width: columns.
    :param whole: show every node, however many there are.
    :param vfs: show VFs one by one.
    """
    shown = _shown(report.nodes, whole=whole)
    sections = [
        _head(report, width=width),
        _nodes(report, shown, width=width, whole=vfs),
        pf_table(shown, width=width, whole=vfs),
        vf_table(shown, width=width) if vfs else [],
        bridge_table(shown, width=width),
        _policies(report, width=width),
        _pools(report, width=width),
        _others(report, width=width),
        [line for note in report.notes for line in folded(f"note: {note}", width=width, indent=6, style="dim")],
    ]
    lines: list[Text] = []
    for section in sections:
        if section:
            lines += [Text(), *section] if lines else section
    for line in lines:
        if not line.plain.isprintable():  # what nodes report is theirs, and must not speak to the terminal
            line.plain = "".join(sign if sign.isprintable() else "?" for sign in line.plain)
    return lines


def age(since: datetime | None, now: datetime) -> str:
    """`45s`, `12m`, `3h`, `5d`: how long ago, `-` where nobody knows."""
    if since is None:
        return "-"
    seconds = max(int((now - since).total_seconds()), 0)
    for unit, size, most in (("s", 1, 120), ("m", 60, 120), ("h", 3600, 48)):
        if seconds // size < most:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86400}d"


# --- the whole --------------------------------------------------------------------------------------------------------


def _head(report: ClusterReport, *, width: int) -> list[Text]:
    where = f"namespace {report.namespace} at {report.server}, {report.at:%Y-%m-%d %H:%M:%S} UTC"
    lines = folded(where, width=width, style="bold")
    lead = report.controller
    if lead is not None and lead.leads(report.at):
        lines += folded(f"controller: {lead.holder} leads, renewed {age(lead.renewed, report.at)} ago", width=width)
    elif lead is not None:
        last = f"the lease was last renewed {age(lead.renewed, report.at)} ago" if lead.renewed else "nobody has it"
        lines += folded(f"controller: NONE LEADS ({last}): is its pod running?", width=width, style="bold red")
    for each in report.daemon_sets:
        style = "" if each.ready >= each.wanted else "bold red"
        lines += folded(f"daemon set {each.name}: {each.ready} of {each.wanted} ready", width=width, style=style)
    return [*lines, _counts(report)]


def _counts(report: ClusterReport) -> Text:
    line = Text(number_of(len(report.nodes), "node"), style="bold")
    parts = [Text(f"{number:,} {word}", style=_COLOURS[Standing(word)]) for word, number in report.counts.items()]
    return line + Text(": ") + Text(", ").join(parts) if parts else line


# --- nodes ------------------------------------------------------------------------------------------------------------


def _shown(nodes: Sequence[NodeReport], *, whole: bool) -> list[NodeReport]:
    urgency = {standing: place for place, standing in enumerate(Standing)}
    ordered = sorted(nodes, key=lambda node: (urgency[node.standing], node.name))
    if whole or len(ordered) <= MOST_NODES:
        return ordered
    return [node for node in ordered if node.standing is not Standing.IN_SYNC][:MOST_NODES]


def _nodes(report: ClusterReport, shown: Sequence[NodeReport], *, width: int, whole: bool) -> list[Text]:
    if not report.nodes:
        text = "no node state: either no node is to be configured, or the controller has not made them yet"
        return folded(text, width=width, style="yellow")
    rows = []
    for node in shown:
        said = _said_first(node)
        rows.append(
            Row(
                (Text(node.name), Text(node.standing, style=_COLOURS[node.standing]), Text(age(node.since, report.at))),
                said,
                _details(node, report, said=said, width=width, whole=whole),
            )
        )
    lines = table(("NODE", "STANDS", "SINCE", "WHY"), rows, width=width)
    return lines + _not_shown(report.nodes, shown, width=width)


def _said_first(node: NodeReport) -> str:
    """The reason in a line."""
    match node.standing:
        case Standing.FAILED:
            return node.error or _told(node.condition("Ready")) or "it does not say why"
        case Standing.SILENT:
            return "its daemon has not reported: does its pod run?"
        case Standing.BEHIND:
            seen, newest = node.observed_generation, node.generation
            return f"its daemon has looked at generation {seen} of {newest}: does its pod run?"
        case Standing.WAITING | Standing.DRAINING:
            who = "an external drainer" if node.external_drainer else "the controller"
            drained = node.condition("Drained")
            if drained is None or drained.reason == NOT_NEEDED:
                return f"{node.needs}, and {who} has not said anything yet"
            return _told(drained)
        case Standing.GONE:
            return f"the node is not there; its node state is kept until {node.kept_until}"
        case Standing.IN_SYNC:
            vfs = sum(pf.num_vfs for pf in node.pfs)
            wanted = [pf for pf in node.pfs if pf.wanted_vfs is not None]
            return (
                f"{number_of(len(wanted), 'PF')} as wanted, {number_of(vfs, 'VF')}"
                if wanted
                else "nothing is wanted of it"
            )
    return _told(node.condition(_TELLING[node.standing])) or node.error or "it does not say why"


def _told(condition: ConditionReport | None, *, most: int = LONGEST_MESSAGE) -> str:
    """A condition's reason and message. What an error says is needed whole; a list of all that goes on is not."""
    if condition is None:
        return ""
    if not condition.message:
        return condition.reason
    return f"{condition.reason}: {textwrap.shorten(condition.message, most, placeholder=' ...')}"


def _details(node: NodeReport, report: ClusterReport, *, said: str, width: int, whole: bool) -> list[Text]:
    """What else there is to know of a node that is not in sync."""
    lines: list[Text] = []

    def add(text: str, *, style: str = "") -> None:
        lines.extend(folded(f"  {text}", width=width, indent=4, style=style))

    if node.fault:
        add(f"cannot be read: {node.fault}", style="red")
    if node.cordon:
        add(f"unschedulable: {node.cordon}", style="yellow")
    if node.wanted_rdma_mode not in ("", node.rdma_mode):
        add(f"RDMA: {node.rdma_mode or 'no'} mode, wanted {node.wanted_rdma_mode}", style="yellow")
    elif node.rdma_mode and whole:
        add(f"RDMA: {node.rdma_mode} mode")
    if node.standing is Standing.IN_SYNC:
        ready = node.condition("Ready")
        if ready is not None and (warned := ready.message.partition("; ")[2]):  # after `1 PF as wanted`
            add(f"warning: {warned}", style="yellow")
        return lines
    for condition in node.conditions:
        if not condition.is_trouble or _told(condition) == said:
            continue
        if not condition.message or condition.message not in node.error:
            add(f"{condition.type} {condition.status}, {_told(condition)}")
    if node.error and node.error not in said:
        add(f"last error: {node.error}")
    if node.needs != DrainState.IDLE or node.drain != DrainState.IDLE:
        who = " (by an external drainer)" if node.external_drainer else ""
        add(f"needs {node.needs}, drain is at {node.drain}{who}")
    if node.plan is not None:
        lines += _plan(node.plan, width=width, whole=whole)
    if node.standing is Standing.BLOCKED:
        for attempt in node.attempts:
            seen = f"; seen after it: {attempt.seen}" if attempt.seen else ""
            add(f"{attempt.kind} tried {number_of(attempt.count, 'time')}, last {attempt.last}: {attempt.cause}{seen}")
        lines.append(Text("  to let it be tried again:"))
        command = f"kubectl annotate -n {report.namespace} sriovnetworknodestate {node.name} --overwrite"
        lines.append(Text(f"    {command} {RETRY_ANNOTATION}={report.at:%Y%m%dT%H%M%SZ}"))  # to be copied: not folded
    return lines


def _plan(plan: PlanReport, *, width: int, whole: bool) -> list[Text]:
    """The steps that take something away, or all of them."""
    lost = ""
    if plan.affects:
        shown = few_names(plan.affects, most=MOST_ADDRESSES)
        lost = f", {number_of(len(plan.affects), 'VF')} lose traffic: {shown}"
    text = f"  plan {plan.digest}: {number_of(plan.count, 'step')}, disruption {plan.disruption}{lost}"
    lines = folded(text, width=width, indent=4)
    steps = plan.steps
    if not whole:
        steps = tuple(step for step in plan.steps if step.disruption != "NONE")[:MOST_STEPS] or plan.steps[:MOST_STEPS]
    for step in steps:
        what = f"    {step.target}: {step.op}, {step.disruption}"
        lines += folded(f"{what}: {step.why}" if step.why else what, width=width, indent=6)
    if (rest := plan.count - len(steps)) > 0:
        lines.append(Text(f"    and {number_of(rest, 'more step', 'more steps')}"))
    return lines


def _not_shown(nodes: Sequence[NodeReport], shown: Sequence[NodeReport], *, width: int) -> list[Text]:
    there = {node.name for node in shown}
    rest: Counter[str] = Counter()
    for node in nodes:
        if node.name not in there:
            telling = node.condition(_TELLING.get(node.standing, ""))
            rest[f"{node.standing} ({telling.reason})" if telling is not None else node.standing.value] += 1
    if not rest:
        return []
    words = ", ".join(f"{number:,} {word}" for word, number in rest.most_common())
    left = sum(rest.values())
    return folded(f"not shown: {words} (--all or --node NAME shows {'it' if left == 1 else 'them'})", width=width)


# --- policies and pools -----------------------------------------------------------------------------------------------


def _policies(report: ClusterReport, *, width: int) -> list[Text]:
    if not report.policies:
        return folded(f"no policy in namespace {report.namespace}", width=width, style="yellow")
    groups: dict[str, list[GroupReport]] = defaultdict(list)
    for node in report.nodes:
        for pf in node.pfs:
            for group in pf.groups:
                groups[group.policy].append(group)
    rows = []
    for policy in sorted(report.policies, key=lambda each: (each.priority, each.name)):
        own = groups.get(policy.name, [])
        vfs = f"{sum(group.made for group in own)}/{sum(group.wanted for group in own)}" if own else "-"
        known = policy.looked_at
        cells = (
            *(policy.name, str(policy.priority), policy.resource, str(policy.num_vfs)),
            *((str(policy.matched_nodes), str(policy.matched_nics)) if known else ("-", "-")),
            *(vfs, in_pods(own) if own else "-"),
        )
        said, style = _policy_state(policy)
        details = [
            line
            for each in policy.mismatches[:MOST_MISMATCHES]
            for line in folded(f"  {each.node}: {each.field}: {each.message}", width=width, indent=4)
        ]
        if (rest := len(policy.mismatches) - MOST_MISMATCHES) > 0:
            details.append(Text(f"  and {rest} more nodes where it selects nothing"))
        rows.append(Row(tuple(map(Text, cells)), said, details, style))
    headings = ("POLICY", "PRIO", "RESOURCE", "NUMVFS", "NODES", "NICS", "VFS", "IN PODS", "STATE")
    return table(headings, rows, width=width)


def _policy_state(policy: PolicyReport) -> tuple[str, str]:
    """In words, and how they are coloured."""
    if policy.name == IGNORED_POLICY:
        return "has no effect: a policy of this name is an anchor of older operators", "dim"
    if policy.fault:
        return f"cannot be read: {policy.fault}", "red"
    if not policy.looked_at:
        return "the controller has not looked at it yet", "yellow"
    if trouble := _troubles(policy.conditions):
        return trouble, "yellow"
    if not policy.matched_nodes:
        return "selects no node", "yellow"
    if not policy.matched_nics:
        return "selects no NIC", "yellow"
    if policy.mismatches:
        return f"selects no NIC on {number_of(len(policy.mismatches), 'node')}", "yellow"
    return "ok", "green"


def _troubles(conditions: Iterable[ConditionReport]) -> str:
    """Of policies and pools: what it is about is told in full of the nodes."""
    told = ((each.type, _told(each, most=LONGEST_STATE)) for each in conditions if each.is_trouble)
    return "; ".join(text if kind == "Ready" else f"{kind}, {text}" for kind, text in told)


def _pools(report: ClusterReport, *, width: int) -> list[Text]:
    rows = []
    for pool in report.pools:
        said = _troubles(pool.conditions)
        cells = (pool.name, pool.nodes, pool.max_unavailable, pool.rdma_mode or "-")
        rows.append(Row(tuple(map(Text, cells)), said or "ok", style="yellow" if said else "green"))
    return table(("POOL", "NODES", "MAX UNAVAILABLE", "RDMA", "STATE"), rows, width=width)


def _others(report: ClusterReport, *, width: int) -> list[Text]:
    """The operator's configuration and networks, where something is wrong with them."""
    rows = [
        Row((Text(each.kind), Text(each.name)), _troubles(each.conditions), style="yellow") for each in report.others
    ]
    return table(("NOT READY", "NAME", "WHY"), rows, width=width)
