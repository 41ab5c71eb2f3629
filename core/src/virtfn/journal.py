"""What virtfn did to each PF, by PCI address: how the PF was before the first touch, and what was applied since.

One JSON file a PF in one folder. A record is written before the first step of its PF and replaced as a whole (write,
fsync, rename, fsync of the folder), so that a crash leaves the old record or the new one. A file that is torn, foreign
or of another card is set aside under another name and reported, never trusted and never deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from virtfn.durable import replace_file, sync_folder
from virtfn.errors import JournalError, RequestError
from virtfn.model import DesiredPf, LinkType, PciAddress, Pf, Problem, Severity, Vf, VfBaseline
from virtfn.model.codec import from_data, to_data
from virtfn.model.desired import PfIdentity

VERSION = 1
DEFAULT_FOLDER = Path("/var/lib/virtfn/journal")


@dataclass(frozen=True, slots=True)
class Record:
    """What the journal knows of one PF."""

    version: int
    identity: PfIdentity
    baseline: DesiredPf
    """How the PF was before virtfn first touched it, as the state to be in after release."""
    applied: DesiredPf | None = None
    """What was last brought about whole; None: never finished."""
    owed: tuple[VfBaseline, ...] = ()
    """VFs in no group that the apply under way has to give a driver: should it be cut off, the next one does."""
    reload: bool = False
    """A parameter was set that takes effect with a reload of the driver, and that has not been."""


def identity_of(pf: Pf) -> PfIdentity:
    """What tells this card from another one in the same slot."""
    return PfIdentity(id=pf.id, permanent_mac=pf.netdev.permanent_mac if pf.netdev else None)


def baseline_of(pf: Pf) -> DesiredPf:
    """The PF as it is now, as a state to come back to."""
    return DesiredPf(
        address=pf.address,
        num_vfs=pf.num_vfs,
        name=pf.netdev.name if pf.netdev else "",
        mtu=pf.netdev.mtu if pf.netdev else None,
        eswitch_mode=pf.eswitch_mode,
        link_up=pf.netdev.up if pf.netdev else None,
        drivers_autoprobe=pf.drivers_autoprobe,
        tc_offload=pf.netdev.tc_offload if pf.netdev else None,
        inline_mode=pf.inline_mode,
        params=dict(pf.params),
        release=True,
        vfs=tuple(
            VfBaseline(
                index=vf.index,
                driver=vf.driver,
                mac=vf.settings.mac if vf.settings else None,
                mtu=vf.netdev.mtu if vf.netdev else None,
                driver_override=vf.driver_override,
                **_infiniband_of(pf, vf),
                vdpa_name=vf.vdpa.name if vf.vdpa else None,
                vdpa_driver=vf.vdpa.driver if vf.vdpa else None,
                representor=vf.representor,
            )
            for vf in pf.vfs
        ),
    )


def _infiniband_of(pf: Pf, vf: Vf) -> dict[str, str | None]:
    """What virtfn changes of an InfiniBand VF besides."""
    if vf.settings is None or pf.netdev is None or pf.netdev.link_type is not LinkType.IB:
        return {}
    names = ("node_guid", "port_guid", "link_state")
    return {name: getattr(vf.settings, name) for name in names}


def _of_today(data: Any) -> Any:
    """A record as it was written before parameters had their names in it: there was one."""
    for part in ("baseline", "applied"):
        state = data.get(part) if isinstance(data, dict) else None
        if isinstance(state, dict) and "steering_mode" in state:
            value = state.pop("steering_mode")
            state.setdefault("params", {} if value is None else {"flow_steering_mode": value})
    return data


class Journal:
    """The folder of records.

    :param folder: made when the first record is written.
    """

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the records are."""
        return self._folder

    def load(self, pfs: Mapping[PciAddress, Pf]) -> tuple[dict[PciAddress, Record], tuple[Problem, ...]]:
        """All records that can be trusted, and problems for those that cannot. Reads only.

        :param pfs: the PFs that are there: a record of another card in the same slot is not trusted.
        """
        records: dict[PciAddress, Record] = {}
        problems = []
        for path in self._files():
            try:
                record = self._read(path)
            except (OSError, ValueError, RequestError) as error:
                problems.append(self._untrusted(path, f"cannot be trusted ({error})"))
                continue
            pf = pfs.get(record.baseline.address)
            if pf is not None and (other := self._other_card(record, pf)):
                problems.append(self._untrusted(path, f"is about another card ({other})"))
                continue
            records[record.baseline.address] = record
        return records, tuple(problems)

    def set_aside(self, pfs: Mapping[PciAddress, Pf]) -> tuple[Path, ...]:
        """Rename the files that `load` does not trust, so that a new record can be made. Returns the new names."""
        moved = []
        for path in self._files():
            try:
                record = self._read(path)
                pf = pfs.get(record.baseline.address)
                bad = pf is not None and bool(self._other_card(record, pf))
            except (OSError, ValueError, RequestError):
                bad = True
            if bad:
                moved.append(self._move_aside(path))
        return tuple(moved)

    def begin(
        self,
        pf: Pf,
        record: Record | None,
        want: DesiredPf,
        *,
        owed: tuple[VfBaseline, ...] = (),
        reload: bool = False,
    ) -> Record:
        """The PF is about to be touched: its baseline is on disk when this returns. The first baseline stays.

        Whether somebody else manages the PF is kept up to date in it, as then only its VFs are given back; and so are
        the names of parameters, as a newer virtfn may change some that the one who wrote the record did not.

        :param owed: see `Record`.
        :param reload: see `Record`.
        """
        before = record or Record(version=VERSION, identity=identity_of(pf), baseline=baseline_of(pf))
        params = {**pf.params, **before.baseline.params}
        baseline = replace(before.baseline, externally_managed=want.externally_managed, params=params)
        if record is not None and (record.baseline, record.owed, record.reload) == (baseline, owed, reload):
            return record
        record = replace(before, baseline=baseline, owed=owed, reload=reload)
        self._write(record)
        return record

    def applied(self, record: Record, want: DesiredPf) -> Record:
        """All steps for the PF are done."""
        if record.applied == want and not record.owed:
            return record
        record = replace(record, applied=want, owed=())
        self._write(record)
        return record

    def forget(self, address: PciAddress) -> None:
        """The PF is released: it is as it was before the first touch."""
        try:
            self._path(address).unlink(missing_ok=True)
            self._sync_folder()
        except OSError as error:
            raise JournalError(
                f"{address}: the journal record cannot be removed ({error.strerror}: {self._path(address)})",
                device=str(address),
            ) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process changes PFs at a time. Raises `JournalError` when another one does."""
        path = self._folder / ".lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(f"{path}: cannot be written ({error.strerror}; run as root?)") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise JournalError(f"{path}: another virtfn is applying on this host: wait for it to end") from error
        try:
            yield
        finally:
            os.close(handle)

    # --- files --------------------------------------------------------------------------------------------------------

    def _path(self, address: PciAddress) -> Path:
        return self._folder / f"{address}.json"

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []

    def _read(self, path: Path) -> Record:
        record = from_data(Record, _of_today(json.loads(path.read_text(encoding="utf-8"))))
        if record.version != VERSION:
            raise ValueError(f"version {record.version}, this virtfn writes {VERSION}")
        if path.name != f"{record.baseline.address}.json":
            raise ValueError(f"it is about {record.baseline.address}")
        return record

    @staticmethod
    def _other_card(record: Record, pf: Pf) -> str:
        now = identity_of(pf)
        if record.identity.id != now.id:
            return f"{record.identity.id} then, {now.id} now"
        if record.identity.permanent_mac and now.permanent_mac and record.identity.permanent_mac != now.permanent_mac:
            return f"MAC {record.identity.permanent_mac} then, {now.permanent_mac} now"
        return ""

    @staticmethod
    def _untrusted(path: Path, what: str) -> Problem:
        return Problem(
            object=path.name,
            message=f"journal record {what}",
            hint="it is set aside at the next apply; what the PF was before is then no longer known",
            reason="JournalError",
            severity=Severity.WARNING,
        )

    def _move_aside(self, path: Path) -> Path:
        number = 1
        while (target := path.with_name(f"{path.name}.set-aside-{number}")).exists():
            number += 1
        try:
            path.rename(target)
            self._sync_folder()
        except OSError as error:
            raise JournalError(f"{path}: cannot be set aside ({error.strerror})") from error
        return target

    def _write(self, record: Record) -> None:
        path = self._path(record.baseline.address)
        data = json.dumps(to_data(record), indent=1, sort_keys=True) + "\n"
        try:
            replace_file(path, data, beside=path.with_suffix(".new"))
        except OSError as error:
            raise JournalError(
                f"{record.baseline.address}: the journal cannot be written ({error.strerror}: {path}); "
                "nothing is done to a PF whose state cannot be recorded",
                device=str(record.baseline.address),
            ) from error

    def _sync_folder(self) -> None:
        if self._folder.is_dir():
            sync_folder(self._folder)
