"""The files on the host that go with a PF: written before anything is done to it, so that rules meet what comes."""

from __future__ import annotations

from collections.abc import Sequence

from virtfn.errors import NotPermitted
from virtfn.model import Adapter, DesiredPf, Pf, Platform, Problem, Severity, Step, steps
from virtfn.model.owned_files import FOREIGN, digest_of, network_path, rules_path
from virtfn.planning.udev_rules import network_file, udev_rules


def plan_files(adapter: Adapter, wanted: Sequence[DesiredPf], platform: Platform) -> list[Step]:
    """Steps for the files of an adapter's PFs, and for each PF with new ones a step that has udev read them."""
    planned = []
    for want in wanted:
        pf = adapter.pf(want.address)
        found = _plan_pf(pf, want, platform) if pf is not None else []
        planned += found
        if pf is not None and found and platform.udev:
            planned.append(steps.reload_udev(pf, why="the rules changed"))
    return planned


def files_of(pf: Pf, want: DesiredPf, platform: Platform) -> dict[str, str]:
    """Texts by path; none where nobody would read them, and for a PF that has no VFs of virtfn's making."""
    if not platform.udev or want.release or want.externally_managed or not want.num_vfs:
        return {}
    return {
        rules_path(pf.address): udev_rules(pf, want, platform),
        network_path(pf.address): network_file(pf, want),
    }


def problems_of(adapter: Adapter, wanted: Sequence[DesiredPf], platform: Platform) -> list[Problem]:
    """Files that are wanted, and whose place somebody else's have."""
    return [
        Problem(
            object=pf.label,
            message=f"{path} is somebody else's, so it does not keep names and network managers as virtfn's would",
            hint="move it away",
            reason=NotPermitted.reason,
            severity=Severity.WARNING,
        )
        for want in wanted
        if (pf := adapter.pf(want.address))
        for path in files_of(pf, want, platform)
        if platform.owned_files.get(path) == FOREIGN
    ]


def _plan_pf(pf: Pf, want: DesiredPf, platform: Platform) -> list[Step]:
    texts, target = files_of(pf, want, platform), str(pf.address)
    found = []
    for path in (rules_path(pf.address), network_path(pf.address)):
        text, there = texts.get(path), platform.owned_files.get(path)
        if there == FOREIGN:
            continue  # `problems_of` tells
        if text is not None and digest_of(text) != there:
            why = "names stay the same, and network managers keep off VFs and representors"
            found.append(steps.write_file(target, path, text, why=why))
        elif text is None and there is not None and _gives_up(want, platform):
            why = "the PF is given back" if want.release else "the PF is to have no VFs"
            found.append(steps.remove_file(target, path, why=why))
    return found


def _gives_up(want: DesiredPf, platform: Platform) -> bool:
    """Whether files are to go; where udev takes none at present, it may again."""
    return want.release or (platform.udev and not want.externally_managed)
