"""What is wrong with a request whatever the vendor. A PF with an error here gets no step at all."""

from __future__ import annotations

from virtfn.errors import (
    BadVfRange,
    DeviceNotFound,
    NoOwnerError,
    PluginError,
    RequestError,
    TooManyVfs,
    UnsupportedSetting,
    VirtfnError,
)
from virtfn.model import Adapter, DesiredPf, Pf, Problem, Severity


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
        found.append(
            _problem(
                UnsupportedSetting,
                about,
                f"driver {pf.driver} shows no netdev here",
                hint="the PF is given to user space or stands in another network namespace: give it back first",
            )
        )
    found += _check_count(pf, want)
    found += _check_groups(pf, want)
    return found


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


def _check_groups(pf: Pf, want: DesiredPf) -> list[Problem]:
    about = pf.label
    found = []
    for index, group in enumerate(want.groups):
        field = f"vfGroups[{index}].vfRange"
        if group.vf_range.last >= want.num_vfs:
            allowed = f"0 to {want.num_vfs - 1}" if want.num_vfs else "none, as numVfs is 0"
            found.append(
                _problem(
                    BadVfRange,
                    about,
                    f"range {group.vf_range} does not lie inside numVfs {want.num_vfs} (VF indices {allowed})",
                    field=field,
                    hint="make numVfs larger or the range smaller",
                )
            )
        for other in want.groups[:index]:
            if group.vf_range.overlaps(other.vf_range):
                found.append(
                    _problem(
                        BadVfRange,
                        about,
                        f"range {group.vf_range} of {group.resource_name or 'this group'} overlaps "
                        f"{other.vf_range} of {other.resource_name or 'another'}",
                        field=field,
                        hint="a VF belongs to one group",
                    )
                )
    return found
