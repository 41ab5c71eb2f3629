"""What a PF cannot be asked for, whatever the vendor. A PF with an error here gets no step at all.

Whether the request makes sense in itself (ranges inside numVfs, no overlap) was seen to where it was read.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtfn.errors import (
    DeviceNotFound,
    NoOwnerError,
    NotEffective,
    PluginError,
    RequestError,
    TooManyVfs,
    UnsupportedSetting,
    VirtfnError,
)
from virtfn.model import IN_FIRMWARE, Adapter, DesiredPf, EswitchMode, Pf, Problem, Severity, functions

_INFINIBAND = 0x0207
"""PCI class of an InfiniBand controller."""

IN_FIRMWARE_FIELDS = frozenset({"numVfs"})
"""Fields of which a plugin may say that firmware can be made to allow what the kernel does not show yet."""


def put_aside(problems: Sequence[Problem]) -> tuple[list[Problem], list[Problem]]:
    """The problems that stand, and the errors that a plugin has an answer to in its firmware (`IN_FIRMWARE`).

    Of two errors about one field the later one stands: core's comes first, and the plugin knows the card.
    """
    errors = {(each.object, each.field): each for each in problems if each.severity is Severity.ERROR}
    answered = {(each.object, each.field) for each in problems if each.reason == IN_FIRMWARE}
    standing: list[Problem] = []
    aside: list[Problem] = []
    for problem in problems:
        about = (problem.object, problem.field)
        if problem.severity is not Severity.ERROR:
            standing.append(problem)
        elif about in answered:
            aside.append(problem)
        elif problem.field not in IN_FIRMWARE_FIELDS or errors[about] is problem:
            standing.append(problem)
    return standing, aside


def _problem(
    kind: type[VirtfnError], about: str, message: str, *, field: str = "", hint: str = "", warning: bool = False
) -> Problem:
    return Problem(
        object=about,
        field=field,
        message=message,
        hint=hint,
        reason=kind.reason,
        severity=Severity.WARNING if warning else Severity.ERROR,
    )


def missing(want: DesiredPf) -> Problem:
    """The PF is not on this machine."""
    about = f"{want.address} ({want.name})" if want.name else str(want.address)
    return _problem(
        DeviceNotFound,
        about,
        "there is no such network function on this machine",
        field="pciAddress",
        hint="`virtfn discover` lists what there is",
    )


def check(adapter: Adapter, pf: Pf, want: DesiredPf) -> list[Problem]:
    """Problems of one PF and what is wanted of it."""
    about = pf.label
    if adapter.owner is None:
        return [_problem(NoOwnerError, about, f"no plugin serves it: {adapter.owner_reason or 'none is installed'}")]
    if adapter.fault:
        return [_problem(PluginError, about, f"its plugin {adapter.owner} failed to observe it: {adapter.fault}")]
    if pf.driver is None:
        return [
            _problem(
                UnsupportedSetting,
                about,
                "no driver is bound to the PF, so it can make no VFs",
                hint="load its driver's module, or take it from whoever unbound it",
            )
        ]
    if want.release:
        return []
    found = []
    if pf.netdev is None and not want.externally_managed:
        hint = "the PF is given to user space or stands in another network namespace: give it back first"
        if pf.class_code >> 8 == _INFINIBAND:
            hint = f"an InfiniBand port has its netdev from module ib_ipoib: is it loaded? If so, {hint}"
        found.append(
            _problem(
                UnsupportedSetting,
                about,
                f"driver {pf.driver} shows no netdev here",
                hint=hint,
            )
        )
    return [*found, *_check_count(pf, want), *_check_names(pf, want)]


def _check_names(pf: Pf, want: DesiredPf) -> list[Problem]:
    """Names that representors cannot have: they do without."""
    switchdev = functions.wanted_mode(pf, want) is EswitchMode.SWITCHDEV
    if want.externally_managed or not switchdev or not want.num_vfs or pf.netdev is None:
        return []
    if not functions.representor_names(pf, want):
        longest = f"{functions.representor_bases(pf.netdev.name)[-1]}_{want.num_vfs - 1}"
        return [
            _problem(
                UnsupportedSetting,
                pf.label,
                f"its VFs' representors keep the kernel's names, as {longest} is longer than {functions.LONGEST_NAME} "
                "characters",
                hint="give the PF a shorter name if those of the representors have to stay the same",
                warning=True,
            )
        ]
    return [
        _problem(
            NotEffective,
            pf.label,
            f"the representor of VF {index} is not called {name}, as another netdev has that name",
            hint=f"give that one another name: `ip link show {name}` tells which it is",
            warning=True,
        )
        for index, name in functions.names_not_free(pf, want).items()
    ]


def _check_count(pf: Pf, want: DesiredPf) -> list[Problem]:
    about = pf.label
    if want.externally_managed:
        if want.num_vfs > pf.num_vfs:
            return [
                _problem(
                    RequestError,
                    about,
                    f"externally managed: {want.num_vfs} VFs are waited for, {pf.num_vfs} are there",
                    field="numVfs",
                    hint="whoever manages the PF has to make them",
                    warning=True,
                )
            ]
        return []
    if want.num_vfs < 0:
        return [_problem(RequestError, about, f"{want.num_vfs} VFs wanted, it takes 0 or more", field="numVfs")]
    if want.num_vfs and pf.total_vfs is None:
        return [
            _problem(
                UnsupportedSetting,
                about,
                "the kernel shows no SR-IOV files for it",
                field="numVfs",
                hint="switch SR-IOV on in the card's firmware or the BIOS; in a VM no VFs can be made",
            )
        ]
    if pf.total_vfs is not None and want.num_vfs > pf.total_vfs:
        return [
            _problem(
                TooManyVfs,
                about,
                f"{want.num_vfs} VFs wanted, the device can make {pf.total_vfs} (sriov_totalvfs)",
                field="numVfs",
                hint=f"ask for at most {pf.total_vfs}",
            )
        ]
    return []
