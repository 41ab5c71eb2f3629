import json

import pytest

from virtfn.errors import InvalidDocument
from virtfn.model import Adapter, Disruption, EswitchMode, Inventory, PciAddress, PciId, Pf, Plan, Platform, Step, Vf
from virtfn.model.codec import from_data, to_data
from virtfn.model.desired import DesiredPf, VfGroup, VfRange
from virtfn.model.plan import Need, NeedKind, Problem

PF = PciAddress.parse("0000:3b:00.0")

VALUES = [
    Plan(
        steps=(
            Step(
                op="driver.bind",
                target=str(PF),
                why="because",
                args={"vf": 3, "driver": None},
                disruption=Disruption.VFS,
                affects=(PciAddress.parse("0000:3b:02.3"),),
                needs=(Need(NeedKind.MODULE, "vfio-pci"),),
            ),
        ),
        problems=(Problem(object="x", message="y", reason="Z"),),
    ),
    Inventory(
        adapters=(
            Adapter(
                "0000:3b:00",
                pfs=(
                    Pf(
                        PF,
                        PciId("15b3", "1017"),
                        eswitch_mode=EswitchMode.LEGACY,
                        vfs=(Vf(PciAddress.parse("0000:3b:00.2"), 0, PciId("15b3", "1018")),),
                    ),
                ),
                facts={"firmware": {"now": [1, "a", None, True]}},
            ),
        ),
        platform=Platform(modules=frozenset({"vfio_pci"})),
    ),
    DesiredPf(PF, 4, groups=(VfGroup(VfRange(0, 3), "r"),)),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_survives_json(value: object) -> None:
    assert from_data(type(value), json.loads(json.dumps(to_data(value)))) == value


def test_words_are_used_on_the_wire() -> None:
    step = to_data(VALUES[0])["steps"][0]
    assert step["disruption"] == "VFS"
    assert step["affects"] == ["0000:3b:02.3"]
    assert to_data(VALUES[2])["groups"][0]["vf_range"] == "0-3"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"address": "nonsense"}, "address"),
        ({"num_vfs": "many"}, "num_vfs"),
        ({"groups": [{"vf_range": "3-0"}]}, "groups.0.vf_range"),
        ({"eswitch_mode": "bridge"}, "eswitch_mode"),
    ],
)
def test_bad_data_names_the_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        from_data(DesiredPf, {**to_data(VALUES[2]), **change})
    assert caught.value.field.startswith(field)
