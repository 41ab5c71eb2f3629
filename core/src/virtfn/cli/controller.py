"""`virtfn controller`: the process that makes node states of policies, drains nodes, and keeps what belongs to them."""

from __future__ import annotations

import argparse
from pathlib import Path

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.errors import RequestError

HEALTH_PORT = 8081
CONNECTIONS = 96
"""Kept open at most: one for each watch and each worker."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's words."""
    parser = commands.add_parser("controller", help="run the controller of a cluster, until it is told to stop")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="the cluster (default: KUBECONFIG, the pod's service account, ~/.kube/config)",
    )
    parser.add_argument(
        "--namespace", default="", metavar="NAME", help="of policies and node states (default: NAMESPACE)"
    )
    parser.add_argument(
        "--health-port",
        type=int,
        default=HEALTH_PORT,
        metavar="PORT",
        help=f"for /healthz, /readyz and /metrics; 0 for none (default: {HEALTH_PORT})",
    )
    parser.add_argument(
        "--no-leader-election", action="store_true", help="act at once; there must be no second controller then"
    )
    parser.set_defaults(run=run)


def run(_: Context, args: argparse.Namespace) -> Exit:
    """Do it; ends with an error when the lease is lost, so that the process begins anew as a standby."""
    import os
    import threading
    from random import SystemRandom

    from virtfn.cluster.life import identity, start_logging, stop_on_signals
    from virtfn.controller.app import App, AppSettings
    from virtfn.controller.settings import settings_from
    from virtfn.kube.access import configuration, connect
    from virtfn.kube.transport import TransportSettings

    settings = settings_from(os.environ, namespace=args.namespace)
    random = SystemRandom()
    configured = configuration(environment=os.environ, kubeconfig=args.kubeconfig)
    transport = TransportSettings(pool_size=CONNECTIONS)
    client = connect(configured, user_agent="virtfn-controller", random=random, settings=transport)
    run_as = AppSettings(
        identity=identity(os.environ, random=random),
        elect=not args.no_leader_election,
        health_port=args.health_port or None,
    )
    try:
        app = App(client, settings=settings, run_as=run_as, random=random)
    except OSError as error:
        raise RequestError(
            f"--health-port: {args.health_port} cannot be listened on ({error.strerror}; name another one)",
            field="--health-port",
        ) from error
    start_logging(2 if args.verbose else 1)
    stop = threading.Event()
    stop_on_signals(stop)
    try:
        app.run(stop)
    finally:
        client.close()
    return Exit.OK
