import json
from dataclasses import replace
from pathlib import Path

import pytest

from virtfn.errors import JournalError
from virtfn.journal import Journal
from virtfn.model import DesiredPf, Netdev, PciAddress, PciId, Pf, Vf, VfBaseline, VfSettings

ADDRESS = PciAddress.parse("0000:01:00.0")
MAC = "52:54:00:aa:00:00"
WANT = DesiredPf(ADDRESS, 4)


def pf(*, device: str = "10c9", mac: str = MAC, vfs: int = 0) -> Pf:
    return Pf(
        ADDRESS,
        PciId("8086", device),
        driver="igb",
        netdev=Netdev("eth0", 2, mac, 1500, False, permanent_mac=mac),
        total_vfs=7,
        drivers_autoprobe=True,
        vfs=tuple(
            Vf(
                PciAddress.parse(f"0000:01:10.{index}"),
                index,
                PciId("8086", "10ca"),
                driver="igbvf",
                settings=VfSettings(mac=f"52:54:00:00:00:0{index}"),
            )
            for index in range(vfs)
        ),
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def test_baseline_is_how_the_pf_was_before_the_first_touch(journal: Journal) -> None:
    journal.begin(pf(vfs=2), None, WANT)
    records, problems = journal.load({ADDRESS: pf()})
    assert problems == ()
    baseline = records[ADDRESS].baseline
    assert (baseline.num_vfs, baseline.mtu, baseline.link_up, baseline.release) == (2, 1500, False, True)
    assert [(vf.index, vf.driver, vf.mac) for vf in baseline.vfs] == [
        (0, "igbvf", "52:54:00:00:00:00"),
        (1, "igbvf", "52:54:00:00:00:01"),
    ]


def test_first_baseline_stays_whatever_comes_later(journal: Journal) -> None:
    first = journal.begin(pf(), None, WANT)
    record = journal.applied(first, DesiredPf(ADDRESS, 4))
    assert journal.begin(pf(vfs=4), record, WANT) is record
    records, _ = journal.load({ADDRESS: pf(vfs=4)})
    assert records[ADDRESS].baseline.num_vfs == 0
    assert records[ADDRESS].applied == DesiredPf(ADDRESS, 4)


def test_drivers_that_are_owed_stay_on_record_until_the_apply_is_done(journal: Journal) -> None:
    owed = (VfBaseline(3, driver=None),)
    record = journal.begin(pf(), None, WANT, owed=owed)
    assert journal.load({ADDRESS: pf()})[0][ADDRESS].owed == owed
    record = journal.applied(record, WANT)
    assert (record.owed, record.applied) == ((), WANT)
    record = journal.begin(pf(vfs=4), record, WANT, owed=owed)
    assert journal.load({ADDRESS: pf()})[0][ADDRESS].owed == owed
    assert journal.applied(record, WANT).owed == ()


def test_parameters_that_a_newer_virtfn_changes_are_in_an_older_record_before_it_does(journal: Journal) -> None:
    seen = replace(pf(), params={"steering": "dmfs"})
    record = journal.begin(seen, None, WANT)
    assert record.baseline.params == {"steering": "dmfs"}
    journal.begin(replace(pf(vfs=4), params={"steering": "smfs", "roce": False}), record, WANT)
    assert journal.load({ADDRESS: pf()})[0][ADDRESS].baseline.params == {"steering": "dmfs", "roce": False}


@pytest.mark.parametrize(("was", "params"), [("dmfs", {"flow_steering_mode": "dmfs"}), (None, {})])
def test_a_record_of_before_parameters_had_names_is_read(
    journal: Journal, was: str | None, params: dict[str, str]
) -> None:
    journal.applied(journal.begin(pf(), None, WANT), WANT)
    path = journal.folder / f"{ADDRESS}.json"
    data = json.loads(path.read_text())
    for part in ("baseline", "applied"):
        del data[part]["params"]
        data[part]["steering_mode"] = was if part == "baseline" else None
    path.write_text(json.dumps(data))
    records, problems = journal.load({ADDRESS: pf()})
    assert problems == ()
    assert records[ADDRESS].baseline.params == params
    assert records[ADDRESS].applied == WANT


def test_record_knows_who_manages_the_pf_now(journal: Journal) -> None:
    record = journal.begin(pf(vfs=2), None, replace(WANT, externally_managed=True))
    assert record.baseline.externally_managed
    record = journal.begin(pf(vfs=7), record, WANT)
    assert (record.baseline.externally_managed, record.baseline.num_vfs) == (False, 2)
    assert journal.load({ADDRESS: pf()})[0][ADDRESS] == record


def test_forgotten_pf_is_gone(journal: Journal) -> None:
    journal.begin(pf(), None, WANT)
    journal.forget(ADDRESS)
    assert journal.load({ADDRESS: pf()}) == ({}, ())
    journal.forget(ADDRESS)  # a second time is nothing


def test_missing_folder_is_an_empty_journal(journal: Journal) -> None:
    assert journal.load({}) == ({}, ())
    assert not journal.folder.exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": 1}', "\x00\x00", '{"baseline": {"address": "0000:01:00.0", "num_vfs": 0}}'],
)
def test_torn_or_foreign_file_is_reported_and_set_aside(journal: Journal, text: str) -> None:
    journal.begin(pf(), None, WANT)
    path = journal.folder / f"{ADDRESS}.json"
    path.write_text(text)
    records, problems = journal.load({ADDRESS: pf()})
    assert records == {}
    assert [problem.object for problem in problems] == [path.name]
    assert problems[0].severity == "warning"
    moved = journal.set_aside({ADDRESS: pf()})
    assert [m.read_text() for m in moved] == [text]
    assert not path.exists()
    assert journal.load({ADDRESS: pf()}) == ({}, ())


def test_record_of_another_version_is_not_trusted(journal: Journal) -> None:
    journal.begin(pf(), None, WANT)
    path = journal.folder / f"{ADDRESS}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    _, problems = journal.load({ADDRESS: pf()})
    assert "version 2" in problems[0].message


@pytest.mark.parametrize("now", [pf(device="1572"), pf(mac="52:54:00:bb:00:00")], ids=["other model", "other card"])
def test_record_of_another_card_in_the_slot_is_not_trusted(journal: Journal, now: Pf) -> None:
    journal.begin(pf(), None, WANT)
    records, problems = journal.load({ADDRESS: now})
    assert records == {}
    assert "another card" in problems[0].message
    assert len(journal.set_aside({ADDRESS: now})) == 1


def test_record_of_a_card_that_is_away_is_kept(journal: Journal) -> None:
    journal.begin(pf(), None, WANT)
    records, problems = journal.load({})
    assert (set(records), problems) == ({ADDRESS}, ())
    assert journal.set_aside({}) == ()


def test_renamed_file_is_not_trusted(journal: Journal) -> None:
    journal.begin(pf(), None, WANT)
    (journal.folder / f"{ADDRESS}.json").rename(journal.folder / "0000:02:00.0.json")
    records, problems = journal.load({ADDRESS: pf()})
    assert records == {}
    assert len(problems) == 1


def test_files_set_aside_do_not_overwrite_each_other(journal: Journal) -> None:
    for text in ("a", "b"):
        journal.folder.mkdir(exist_ok=True)
        (journal.folder / f"{ADDRESS}.json").write_text(text)
        journal.set_aside({})
    assert sorted(path.read_text() for path in journal.folder.iterdir()) == ["a", "b"]


def test_leftover_of_a_write_that_was_cut_off_is_not_a_record(journal: Journal) -> None:
    journal.begin(pf(), None, WANT)
    (journal.folder / f"{ADDRESS}.new").write_text('{"half":')
    records, problems = journal.load({ADDRESS: pf()})
    assert (set(records), problems) == ({ADDRESS}, ())
    journal.applied(records[ADDRESS], DesiredPf(ADDRESS, 1))
    assert not (journal.folder / f"{ADDRESS}.new").exists()


def test_journal_that_cannot_be_written_stops_the_work(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file in the way")
    with pytest.raises(JournalError, match=r"0000:01:00\.0"):
        Journal(tmp_path / "journal").begin(pf(), None, WANT)


def test_only_one_process_at_a_time(journal: Journal) -> None:
    with journal.locked(), pytest.raises(JournalError, match="another virtfn"), Journal(journal.folder).locked():
        pass
    with journal.locked():
        pass
