"""From `-f` files to what is desired of this node: policies merged, or a node state as it stands."""

from __future__ import annotations

from virtfn.cli.context import Context
from virtfn.errors import InvalidDocument
from virtfn.model import DesiredState, Inventory, Problem
from virtfn.model.crd import SriovNetworkNodePolicy, SriovNetworkNodeState
from virtfn.policy import desired_state, render_node_state, state_of
from virtfn.policy.documents import load_documents


def read_request(context: Context, names: list[str], inventory: Inventory) -> tuple[DesiredState, tuple[Problem, ...]]:
    """What the files want of the hardware in `inventory`, and what is wrong with it.

    Raises `RequestError` when the files cannot be understood.
    """
    documents = [
        document for name, text in context.read_sources(names) for document in load_documents(text, source=name)
    ]
    for document in documents:
        if document.note:
            context.error_console.print(f"note: {document.where}: {document.note}", style="dim")
    policies = [d.object for d in documents if isinstance(d.object, SriovNetworkNodePolicy)]
    states = [d.object for d in documents if isinstance(d.object, SriovNetworkNodeState)]
    if states and policies:
        raise InvalidDocument(
            "-f: both policies and a node state were given (policies are merged to a node state: give one kind)",
            field="-f",
        )
    if len(states) > 1:
        raise InvalidDocument(
            f"-f: {len(states)} node states were given, and this is one node (give the one that is meant)", field="-f"
        )
    if states:
        desired, problems = desired_state(states[0].spec, inventory)
        return desired, tuple(problems)
    if not policies:
        raise InvalidDocument(
            "-f: holds no SriovNetworkNodePolicy and no SriovNetworkNodeState, so there is nothing to do", field="-f"
        )
    rendered = render_node_state(policies, node=None, state=state_of(inventory))
    desired, problems = desired_state(rendered.spec, inventory)
    return desired, (*rendered.problems, *problems)
