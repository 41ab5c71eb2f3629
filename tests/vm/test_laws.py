"""The laws of the conformance kit on a real card: what holds on the simulated one holds here, or the model is wrong.

A real card takes seconds for what the simulated one does at once, so each law has one scenario here: VFs of both kinds
on a card that somebody left with VFs. The laws of crashes and of failing writes have tests of their own in this
directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from bed.sight import IGB, look_at_all

if TYPE_CHECKING:
    from virtfn.testing.grounds import KernelGround

HERE = (
    "contract",
    "claim",
    "purity",
    "convergence",
    "idempotence",
    "release",
    "isolation",
    "honest-disruption",
    "serialisable",
)
ELSEWHERE = ("crash", "errors")


@pytest.fixture
def ground(pristine: None) -> Iterator[KernelGround]:
    """The first card."""
    from virtfn.host.linux import linux_kernel
    from virtfn.model import PciAddress
    from virtfn.testing.grounds import KernelGround

    made = KernelGround(linux_kernel, pfs=[PciAddress.parse(IGB[0])], name="82576 in QEMU")
    yield made
    made.close()


@pytest.mark.vm_timeout(300)
@pytest.mark.parametrize("name", HERE)
def test_law_is_kept_on_a_real_card(ground: KernelGround, name: str) -> None:
    from virtfn.testing.laws import LAWS, Trial
    from virtfn.testing.scenarios import Scenario
    from virtfn.testing.subject import subject_of

    class ShortTrial(Trial):
        """One scenario."""

        def scenarios(self) -> tuple[Scenario, ...]:
            return super().scenarios()[3:4]

    laws = {law.name: law for law in LAWS}
    before = look_at_all()
    laws[name].check(ShortTrial(subject_of("intel"), ground))
    ground.start()
    assert look_at_all() == before


def test_every_law_is_tried_here_or_has_its_own_tests() -> None:
    from virtfn.testing.laws import LAWS

    assert sorted((*HERE, *ELSEWHERE)) == sorted(law.name for law in LAWS)
