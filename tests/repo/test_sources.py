"""Rules for every module below `src`, which no linter knows."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from virtfn import errors

MOST_LINES = 450
CATCH_ALL_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "stuff", "shared", "tools", "lib", "core"}

VENDOR_WORDS = re.compile(
    r"(?i)15b3|mellanox|nvidia|connectx|bluefield|mlx[45]|8086|intel|(?<![a-z])igb|ixgbe|i40e|iavf|(?<![a-z])ice(?![a-z])"
    r"|broadcom|bnxt|14e4|qlogic|marvell|1d0f"
)

SIMULATED = "core/src/virtfn/testing/ground/"
"""The simulated ground is a model of the kernel, which has drivers: one module a family."""

VENDORS_ALLOWED = {
    ("core/src/virtfn/model/inventory.py", "igb_uio"): "a driver for user space, whoever made the card",
    ("core/src/virtfn/model/wire.py", "15b3"): "an example of an id in an error message",
    ("core/src/virtfn/model/pci.py", "15b3"): "an example of an id in an error message",
    ("core/src/virtfn/registry/facade.py", "8086"): "an example of a key in an error message",
    ("core/src/virtfn/testing/subject.py", "8086"): "an example of a key in an error message",
    ("core/src/virtfn/host/machine.py", "intel_iommu"): "the kernel's own parameter, in a hint",
    ("core/src/virtfn/planning/planner.py", "intel_iommu"): "the kernel's own parameter, in a hint",
    ("core/src/virtfn/performing/operations.py", "igbvf"): "names of kernel modules, in a hint",
    ("core/src/virtfn/controller/operands/settings.py", "mellanoxFirmwareReset"): "the gate's name in the API",
    ("core/src/virtfn/cli/demo.py", "15b3"): "the demo's own policy, on its simulated cards",
    ("core/src/virtfn/cli/demo.py", "connectx-6dx"): "names a profile of the simulated ground",
    ("core/src/virtfn/cli/demo.py", "ConnectX-6"): "tells what the demo's simulated node has",
    ("core/src/virtfn/cli/demo_cluster.py", "connectx-5"): "names a profile of the simulated ground",
}
"""(file, text that is in the string) and why. A line that is not needed any more fails."""

BASES = {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and kind.__subclasses__()
}  # used by their subclasses


@pytest.fixture(scope="module")
def each(sources: tuple[Any, ...]) -> Callable[[Callable[[Any], object]], None]:
    """Hold a rule against every source, and name all that break it."""

    def hold(rule: Callable[[Any], object]) -> None:
        broken = {source.name: what for source in sources if (what := rule(source))}
        assert broken == {}

    return hold


def test_every_module_says_why_it_exists(each: Callable[..., None]) -> None:
    each(lambda source: "" if len(ast.get_docstring(source.tree) or "") >= 20 else "no docstring")


def test_no_module_is_too_long_to_read(each: Callable[..., None]) -> None:
    each(lambda source: lines if (lines := len(source.text.splitlines())) > MOST_LINES else 0)


def test_no_module_is_a_drawer_for_everything(each: Callable[..., None]) -> None:
    each(lambda source: sorted({source.path.stem.strip("_"), source.path.parent.name} & CATCH_ALL_NAMES))


def test_core_knows_no_vendor(sources: tuple[Any, ...]) -> None:
    used: set[tuple[str, str]] = set()
    broken = []
    for source in sources:
        if not source.name.startswith("core/") or source.name.startswith(SIMULATED):
            continue
        for line, word in source.words():
            if (vendor := VENDOR_WORDS.search(word)) is None:
                continue
            allowed = {(source.name, part) for name, part in VENDORS_ALLOWED if name == source.name and part in word}
            used |= allowed
            if not allowed:
                broken.append(f"{source.name}:{line}: {vendor[0]}")
    assert broken == [], "the knowledge of a vendor's card belongs in that vendor's plugin"
    assert set(VENDORS_ALLOWED) - used == set(), "allowed, and nobody needs it any more"


def test_every_error_is_used(sources: tuple[Any, ...]) -> None:
    seen: Counter[str] = Counter()
    for source in sources:
        if source.name != "core/src/virtfn/errors.py":
            seen.update(word for _, word in source.words())
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds - BASES - set(seen) == set(), "an error that nobody raises"


def test_errors_have_reasons_of_their_own() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    reasons = Counter(kind.reason for kind in kinds)
    assert [reason for reason, times in reasons.items() if times > 1] == []
    assert [reason for reason in reasons if not re.fullmatch(r"([A-Z][a-z]+)+", reason)] == []
