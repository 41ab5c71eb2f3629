from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from virtfn.cli.exits import Exit
from virtfn.model.crd import KINDS
from virtfn.model.schema import custom_resource_definition, reference_markdown

Virtfn = Callable[..., Any]


def test_prints_all_definitions_as_one_stream(virtfn: Virtfn) -> None:
    ended = virtfn("crds")
    assert (ended.code, ended.err) == (Exit.OK, "")
    assert list(yaml.safe_load_all(ended.out)) == [custom_resource_definition(kind) for kind in KINDS.values()]


def test_writes_one_file_for_each_kind(virtfn: Virtfn, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    ended = virtfn(f"crds --output-dir {folder}")
    assert ended.code == Exit.OK
    assert ended.out.splitlines() == [str(folder / path.name) for path in written(ended.out)]
    found = {yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["names"]["kind"] for path in folder.iterdir()}
    assert found == set(KINDS)
    again = virtfn(f"crds --output-dir {folder}")
    assert again.out == ended.out


def written(out: str) -> list[Path]:
    return [Path(line) for line in out.splitlines()]


def test_a_folder_that_cannot_be_written_is_a_wrong_request(virtfn: Virtfn, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    ended = virtfn(f"crds --output-dir {tmp_path / 'file'}")
    assert ended.code == Exit.REQUEST
    assert f"{tmp_path / 'file'} cannot be written" in ended.err


def test_prints_the_reference(virtfn: Virtfn) -> None:
    assert virtfn("crds --markdown").out == reference_markdown()
