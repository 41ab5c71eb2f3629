"""`virtfn demo`: the main job on a simulated node, with the real commands, plugins, planner and rules.

Only the kernel below them is a model (`virtfn.testing.FakeHost`): the cards, their drivers and what these refuse.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path

from virtfn.cli.context import Context
from virtfn.cli.exits import Exit
from virtfn.cli.running import run_command
from virtfn.errors import NotConfigured

_POLICY = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: offload}
spec:
  resourceName: cx_sriov_switchdev
  nodeSelector: {feature.node.kubernetes.io/network-sriov.capable: "true"}
  nicSelector: {vendor: "15b3", pfNames: [ens1f0np0, ens1f1np1]}
  numVfs: 3
  eSwitchMode: switchdev
  isRdma: true
---
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: storage}
spec:
  resourceName: storage
  nodeSelector: {}
  nicSelector: {pfNames: ["ens2f0#0-3"]}
  numVfs: 6
  mtu: 9000
---
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: dpdk}
spec:
  resourceName: dpdk
  nodeSelector: {}
  nicSelector: {pfNames: ["ens2f0#4-5"]}
  numVfs: 6
  deviceType: vfio-pci
"""

_TOO_MANY = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: greedy}
spec:
  resourceName: greedy
  nodeSelector: {}
  nicSelector: {pfNames: [ens1f0np0]}
  numVfs: 200
"""


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], *, whole: argparse.ArgumentParser
) -> None:
    """The command's words.

    :param whole: the parser of all commands, for those that the demo runs.
    """
    parser = commands.add_parser("demo", help="show the main job on a simulated node: no root, no card needed")
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="a policy's life in a cluster: a real API server (KUBEBUILDER_ASSETS), three simulated nodes",
    )
    parser.add_argument("--stay", action="store_true", help="with --cluster: leave it running until Ctrl-C")
    parser.set_defaults(run=run, parser=whole)


def run(context: Context, args: argparse.Namespace) -> Exit:
    """Do it."""
    if args.cluster:
        return _run_cluster(context, stay=args.stay)
    from virtfn.host.machine import Machine
    from virtfn.testing import FakeHost

    with tempfile.TemporaryDirectory(prefix="virtfn-demo-") as folder, FakeHost() as host:
        host.add_card("connectx-6dx", address="0000:3b:00", names=("ens1f0np0", "ens1f1np1"))
        host.add_card("e810", address="0000:5e:00", names=("ens2f0", "ens2f1"))
        files = Path(folder)
        (files / "policy.yaml").write_text(_POLICY, encoding="utf-8")
        (files / "too-many.yaml").write_text(_TOO_MANY, encoding="utf-8")
        simulated = Context(
            journal_folder=files / "journal",
            machine=lambda: Machine(host.kernel),
            stdout=context.stdout,
            stderr=context.stdout,  # so that errors stand in their place even when the output goes to a file
        )
        return _Show(simulated, files, args.parser).run()


def _run_cluster(context: Context, *, stay: bool) -> Exit:
    try:
        from virtfn.cli import demo_cluster
    except ModuleNotFoundError as error:
        text = f"--cluster: what talks to an API server is not installed ({error}; pip install 'virtfn[kube]')"
        raise NotConfigured(text) from error
    return demo_cluster.run(context, stay=stay)


class _Show:
    """The story, command by command."""

    def __init__(self, context: Context, files: Path, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self._context = context
        self._files = files

    def run(self) -> Exit:
        """Every command with what it should end with; the first surprise ends the demo with an error."""
        self._say("A simulated node with a two-port ConnectX-6 Dx and an Intel E810. What is there?")
        story: tuple[tuple[str, str, Exit], ...] = (
            ("", "discover", Exit.OK),
            ("What would this policy do? Nothing is touched yet:", "plan -f policy.yaml", Exit.OK),
            ("Do it:", "apply -f policy.yaml", Exit.OK),
            ("Asked again, there is nothing left to do:", "plan --exit-code -f policy.yaml", Exit.OK),
            ("", "discover", Exit.OK),
            (
                "A wish the card cannot fulfil is refused before anything is written:",
                "apply -f too-many.yaml",
                Exit.REQUEST,
            ),
            ("Give everything back, as it was before the first touch:", "reset", Exit.OK),
            ("", "discover", Exit.OK),
        )
        for words, command, expected in story:
            if words:
                self._say(words)
            if "plan -f" in command:
                self._context.console.print(_POLICY, style="dim")
            code = self._run(command)
            if code != expected:
                self._context.console.print(
                    f"virtfn {command} ended with {code}, expected {int(expected)}", style="red"
                )
                return Exit.INTERNAL
        self._say("That was the main job. On a real host: virtfn discover, then virtfn plan -f FILE.")
        return Exit.OK

    def _say(self, words: str) -> None:
        self._context.console.print(f"\n# {words}", style="bold cyan")

    def _run(self, command: str) -> int:
        self._context.console.print(f"$ virtfn {command}", style="bold")
        words = [str(self._files / word) if word.endswith(".yaml") else word for word in shlex.split(command)]
        return run_command(self._context, self._parser.parse_args(words))
