"""`virtfn daemon`: makes this node as its node state (or a ConfigMap, or a file) wants it, and keeps it so."""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit, exit_of_problems, exit_of_reason
from virtfn.errors import RequestError

if TYPE_CHECKING:
    from virtfn.daemon.app import Daemon, DaemonSettings
    from virtfn.daemon.loop import Turn
    from virtfn.kube.client import KubeClient
    from virtfn.kube.meter import Meter

_PORT = 8082
_CONFIG_MAP = "sriov-configmap"
_RUN_DIR = Path("/run/virtfn")
_CONNECTIONS = 4
FIRMWARE_RESET = "VIRTFN_FIRMWARE_RESET"
"""Variable in place of the option, for a DaemonSet that is not made by the controller."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("daemon", help="keep this node as the cluster (or a file) wants it")
    parser.add_argument("--node-name", metavar="NAME", help="this node, as the cluster calls it (default: NODE_NAME)")
    parser.add_argument(
        "--source",
        choices=("nodestate", "configmap", "file"),
        default="nodestate",
        help="where it is said what is wanted (default: the node's SriovNetworkNodeState)",
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="with --source file: policies or a node state")
    parser.add_argument(
        "--configmap", metavar="NAME", default=_CONFIG_MAP, help=f"with --source configmap (default: {_CONFIG_MAP})"
    )
    parser.add_argument("--namespace", metavar="NAME", help="of node states and ConfigMap (default: NAMESPACE)")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: KUBECONFIG, or the pod's own account")
    parser.add_argument("--root", type=Path, metavar="DIR", default=argparse.SUPPRESS, help="as before the command")
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", default=argparse.SUPPRESS, help="as before the command"
    )
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help=f"for the device plugin's file (default: {_RUN_DIR} below --root)"
    )
    parser.add_argument(
        "--period", type=float, metavar="SECONDS", default=30.0, help="between two looks at the node (default: 30)"
    )
    parser.add_argument(
        "--health-port", type=int, metavar="PORT", default=_PORT, help=f"health and metrics (default: {_PORT})"
    )
    parser.add_argument("--health-address", metavar="ADDRESS", default="", help="default: all addresses")
    parser.add_argument("--once", action="store_true", help="bring it about once, and end as `virtfn apply` does")
    parser.add_argument(
        "--disrupt",
        choices=("if-free", "never", "always"),
        default="if-free",
        help="without a node state nobody drains: take traffic from VFs if nobody uses them (default), never, always",
    )
    parser.add_argument(
        "--firmware-reset",
        action="store_true",
        default=os.environ.get(FIRMWARE_RESET, "").lower() == "true",
        help=f"try to spare a reboot by a reset of the card, once the node is drained (or {FIRMWARE_RESET}=true)",
    )
    parser.set_defaults(run=run)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    from virtfn.cluster.life import start_logging

    start_logging(2 if args.verbose else 1)
    settings = _settings(context, args)
    client = None if args.source == "file" else _client(args)
    if args.once:
        return _once(context, _daemon(context, args, settings, client))
    return _serve(context, args, settings, client)


def _settings(context: Context, args: argparse.Namespace) -> DaemonSettings:
    from virtfn.daemon.app import DaemonSettings
    from virtfn.daemon.decision import Rules
    from virtfn.daemon.gate import Disrupt
    from virtfn.daemon.loop import LoopSettings

    name = args.node_name or os.environ.get("NODE_NAME", "")
    namespace = args.namespace or os.environ.get("NAMESPACE", "")
    if args.source == "file" and args.file is None:
        raise RequestError("--source file: --file says which", field="--file")
    if args.source != "file" and not (name and namespace):
        raise RequestError("which node is this? (give --node-name and --namespace, or NODE_NAME and NAMESPACE)")
    rules = Rules(disrupt=None if args.source == "nodestate" else Disrupt(args.disrupt))
    return DaemonSettings(
        node_name=name or "this node",
        namespace=namespace,
        config_map=args.configmap if args.source == "configmap" else "",
        file=args.file if args.source == "file" else None,
        state_dir=context.journal_folder,
        run_dir=args.run_dir or args.root / _RUN_DIR.relative_to("/"),
        instance=os.environ.get("POD_NAME", ""),
        loop=LoopSettings(rules=rules, period=args.period),
    )


def _client(args: argparse.Namespace) -> KubeClient:
    from virtfn.kube.access import configuration, connect
    from virtfn.kube.transport import TransportSettings

    configured = configuration(environment=os.environ, kubeconfig=args.kubeconfig)
    return connect(configured, user_agent="virtfn-daemon", settings=TransportSettings(pool_size=_CONNECTIONS))


def _daemon(
    context: Context,
    args: argparse.Namespace,
    settings: DaemonSettings,
    client: KubeClient | None,
    meter: Meter | None = None,
) -> Daemon:
    from virtfn.daemon.app import Daemon
    from virtfn.journal import Journal
    from virtfn.node import Node

    machine = context.machine()
    journal = Journal(settings.state_dir)
    node = Node(machine, journal=journal, now=time.monotonic, firmware_reset=args.firmware_reset)
    return Daemon(settings, node=node, machine=machine, client=client, random=Random(), meter=meter)


def _serve(context: Context, args: argparse.Namespace, settings: DaemonSettings, client: KubeClient | None) -> Exit:
    from virtfn.cluster.health import HealthServer
    from virtfn.cluster.life import stop_on_signals
    from virtfn.cluster.metrics import PrometheusMeter

    meter = PrometheusMeter()
    daemon = _daemon(context, args, settings, client, meter)
    try:
        health = HealthServer(
            address=args.health_address,
            port=args.health_port,
            live=daemon.live(),
            ready=daemon.ready(),
            metrics=meter.text,
        )
    except OSError as error:
        raise RequestError(f"--health-port {args.health_port}: cannot listen there ({error.strerror})") from error
    stop = threading.Event()
    stop_on_signals(stop)
    health.start()
    try:
        daemon.run(stop)
    finally:
        health.stop()
        if client is not None:
            client.close()
    return Exit.OK


def _once(context: Context, daemon: Daemon) -> Exit:
    """One run, with the exit code of `virtfn apply`."""
    from virtfn.daemon.status import judge_report

    turn = daemon.once()
    if turn.look is not None and (turn.look.decision is not None or turn.look.report.refused):
        judged = judge_report(turn.look.report)
        context.console.print(f"{judged.sync.value}: {judged.error or judged.message}")
    return exit_of_turn(turn)


def exit_of_turn(turn: Turn) -> Exit:
    """The exit code for how a run ended."""
    from virtfn.daemon.request import errors_of

    if turn.look is None:
        return Exit.HOST
    report = turn.look.report
    if report.refused:
        return Exit(exit_of_reason(report.refused_reason))
    decision = report.decision
    if decision is None:
        raise RequestError("nobody says what is wanted of this node: everything stays as it is")
    if errors := errors_of((*decision.problems, *report.offer_problems)):
        return exit_of_problems(errors)
    if decision.failure is not None:
        return exit_of_reason(decision.failure.reason)
    if decision.blocked or decision.verdict.reason in ("VfsInUse", "DisruptionNotAllowed"):
        return Exit.HOST
    return Exit.PENDING if decision.due.steps else Exit.OK
