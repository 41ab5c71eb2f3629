"""Files that are checked in and made from the code: they must be what the code makes today."""

from pathlib import Path

import pytest

from virtfn.model.crd import KINDS
from virtfn.model.schema import crd_file_name, crd_yaml, reference_markdown


def test_the_folder_of_definitions_holds_them_and_nothing_else(root: Path) -> None:
    names = {path.name for path in (root / "deploy" / "crds").glob("*.yaml")}
    assert names == {crd_file_name(kind) for kind in KINDS.values()}


@pytest.mark.parametrize("name", KINDS)
def test_definition_is_the_one_that_the_models_make(name: str, root: Path) -> None:
    path = root / "deploy" / "crds" / crd_file_name(KINDS[name])
    assert path.read_text(encoding="utf-8") == crd_yaml(KINDS[name]), "run `virtfn crds --output-dir deploy/crds`"


def test_reference_is_the_one_that_the_models_make(root: Path) -> None:
    text = (root / "docs" / "crd-reference.md").read_text(encoding="utf-8")
    assert text == reference_markdown(), "run `virtfn crds --markdown > docs/crd-reference.md`"
