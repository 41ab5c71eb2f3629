"""What Intel's drivers cannot do: told before anything is planned, with the card's name and what can."""

from __future__ import annotations

from virtfn.errors import RequestError, TooManyVfs, UnsupportedEswitchMode, UnsupportedSetting
from virtfn.model import Adapter, DesiredAdapter, DesiredPf, EswitchMode, PciId, Pf, Problem, Severity
from virtfn_intel.facts import in_safe_mode
from virtfn_intel.tables import DRIVERS, IGB, IXGBE, SWITCHDEV_CARDS, VENDOR, Driver, model_of

STANDARD_MTU = 1500
_82599_VF = PciId(VENDOR, "10ed")
"""What tells the 82599 from its successors, whatever the board is called."""


def problems_of(adapter: Adapter, desired: DesiredAdapter) -> tuple[Problem, ...]:
    """Problems of all PFs asked for. A release is never refused: what was there once is possible."""
    found: list[Problem] = []
    for want in desired.pfs:
        pf = adapter.pf(want.address)
        driver = DRIVERS.get(pf.driver or "") if pf is not None else None
        if pf is not None and driver is not None and not want.release:
            found += _of_pf(adapter, pf, want, driver)
    found += _of_card(adapter, desired)
    return tuple(found)


def product_of(pf: Pf) -> str:
    """The card's name and driver: `Ethernet Controller X710 for 10GbE SFP+ (i40e)`."""
    row = model_of(pf.id)
    return f"{row.label if row else f'the card {pf.id}'} ({pf.driver})"


def _of_pf(adapter: Adapter, pf: Pf, want: DesiredPf, driver: Driver) -> list[Problem]:
    found = []
    if in_safe_mode(adapter, pf) and (want.num_vfs or want.eswitch_mode is EswitchMode.SWITCHDEV):
        return [
            _problem(
                UnsupportedSetting,
                pf,
                "numVfs" if want.num_vfs else "eSwitchMode",
                f"{product_of(pf)} is in Safe Mode and makes no VFs, as its driver found no DDP package",
                hint="put the package ice.pkg below /lib/firmware/intel/ice/ddp (it comes with linux-firmware), and"
                " load the driver ice again",
            )
        ]
    if want.eswitch_mode is EswitchMode.SWITCHDEV and not driver.has_eswitch:
        found.append(
            _problem(
                UnsupportedEswitchMode,
                pf,
                "eSwitchMode",
                f"{product_of(pf)} has no switchdev mode",
                hint=f"leave eSwitchMode out here, or select {SWITCHDEV_CARDS}",
            )
        )
    if want.externally_managed:
        return found
    if want.num_vfs > driver.max_vfs:
        found.append(
            _problem(
                TooManyVfs,
                pf,
                "numVfs",
                f"{want.num_vfs} VFs wanted, driver {driver.name} makes at most {driver.max_vfs}",
                hint=f"ask for at most {driver.max_vfs}",
            )
        )
    found += _mtus(pf, want, driver)
    if want.num_vfs and want.link_up is False and driver in (IGB, IXGBE):
        found.append(
            _problem(
                RequestError,
                pf,
                "numVfs",
                f"the PF is to stay down, and VFs of {driver.name} that are probed while it is get a random MAC",
                hint="let the PF be up",
                severity=Severity.WARNING,
            )
        )
    return found


def _mtus(pf: Pf, want: DesiredPf, driver: Driver) -> list[Problem]:
    found = []
    asked = [("mtu", want.mtu), *((f"vfGroups[{i}].mtu", group.mtu) for i, group in enumerate(want.groups))]
    for field, mtu in asked:
        if mtu is not None and mtu > driver.max_mtu:
            found.append(
                _problem(
                    UnsupportedSetting,
                    pf,
                    field,
                    f"MTU {mtu} wanted, {product_of(pf)} goes up to {driver.max_mtu}",
                    hint=f"ask for at most {driver.max_mtu}",
                )
            )
    pf_mtu = max(want.mtu or 0, pf.netdev.mtu if pf.netdev else 0)
    jumbo = next((field for field, mtu in asked[1:] if (mtu or 0) > STANDARD_MTU), None)
    if pf.vf_id == _82599_VF and jumbo is not None and 0 < pf_mtu <= STANDARD_MTU:
        found.append(
            _problem(
                UnsupportedSetting,
                pf,
                jumbo,
                f"the 82599 shuts off receiving on VFs whose MTU is above {STANDARD_MTU} while its PF's is not",
                hint="give the PF the same mtu",
                severity=Severity.WARNING,
            )
        )
    return found


def _of_card(adapter: Adapter, desired: DesiredAdapter) -> list[Problem]:
    """i40e and ice: one pool of VFs for all PFs of a card."""
    drivers = {pf.driver for pf in adapter.pfs}
    limit = min(
        (d.max_vfs_per_card for d in DRIVERS.values() if d.name in drivers and d.max_vfs_per_card), default=None
    )
    growing = []
    total = 0
    for pf in adapter.pfs:
        want = desired.pf(pf.address)
        total += pf.num_vfs if want is None or want.externally_managed else want.num_vfs
        if want is not None and not want.release and want.num_vfs > pf.num_vfs:
            growing.append(pf)
    if limit is None or total <= limit or len(adapter.pfs) < 2:
        return []
    return [
        _problem(
            TooManyVfs,
            pf,
            "numVfs",
            f"{total} VFs wanted on all ports of {product_of(pf)} together, the card has {limit}",
            hint="ask for fewer on one of its ports",
        )
        for pf in growing
    ]


def _problem(
    kind: type[RequestError], pf: Pf, field: str, message: str, *, hint: str, severity: Severity = Severity.ERROR
) -> Problem:
    return Problem(object=pf.label, field=field, message=message, hint=hint, reason=kind.reason, severity=severity)
