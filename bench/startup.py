"""How long `virtfn` takes to start, on the machine this runs on: help, the list of plugins, and a plan for no card.

    make bench, or: python bench/startup.py [--rounds 7]

Each is a process of its own, as a shell starts it. The plan reads this machine's hardware and matches nothing of it.
Times are seconds; the goal is at most 1. On a busy machine look at `cpu`, which is the processor's share of it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

GOAL = 1.0
POLICY = """\
apiVersion: sriovnetwork.openshift.io/v1
kind: SriovNetworkNodePolicy
metadata: {name: none, namespace: sriov}
spec:
  resourceName: none
  nodeSelector: {}
  nicSelector: {pfNames: ["no-such-netdev"]}
  numVfs: 1
"""
LOADED = "import sys; from virtfn.cli.main import main; code = main({words!r}); print(*sys.modules, file=sys.stderr)"
FORBIDDEN = ("kubernetes", "hypothesis", "pytest")


def children_cpu() -> float:
    """Processor seconds of all processes that ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and write one line a command."""
    parser = argparse.ArgumentParser(description="How long virtfn takes to start.")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default: 7)")
    rounds: int = parser.parse_args().rounds
    program = Path(sys.executable).with_name("virtfn")
    with tempfile.TemporaryDirectory(prefix="virtfn-bench-") as folder:
        policy = Path(folder) / "policy.yaml"
        policy.write_text(POLICY)
        plan = ["--state-dir", folder, "plan", "-f", str(policy)]
        for words in (["--help"], ["plugins"], plan):
            taken, cpu = [], []
            for _ in range(rounds):
                began, used = time.perf_counter(), children_cpu()
                subprocess.run([program, *words], check=True, capture_output=True)
                taken.append(time.perf_counter() - began)
                cpu.append(children_cpu() - used)
            name = "plan" if words is plan else words[0]
            verdict = "ok" if median(taken) <= GOAL else "OVER"
            print(
                f"virtfn {name:>8}: median {median(taken):5.2f} s, min {min(taken):5.2f} s, cpu {median(cpu):5.2f} s"
                f" (goal {GOAL:g} s: {verdict})"
            )
        done = subprocess.run(
            [sys.executable, "-c", LOADED.format(words=plan)], check=True, capture_output=True, text=True
        )
        loaded = {name.partition(".")[0] for name in done.stderr.split()}
        print(
            f"virtfn     plan: loads {', '.join(sorted(loaded & set(FORBIDDEN))) or 'none'} of {', '.join(FORBIDDEN)}"
        )


if __name__ == "__main__":
    main()
