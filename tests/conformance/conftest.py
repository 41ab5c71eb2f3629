import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from virtfn import Plugin

_NAME = "virtfn_saboteurs"


def _load() -> Mapping[str, type[Plugin]]:
    """The saboteurs, from the file beside this one: test folders are no packages."""
    spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).with_name("saboteurs.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    found: Mapping[str, type[Plugin]] = module.SABOTEURS
    return found


@pytest.fixture(scope="session")
def saboteurs() -> Mapping[str, type[Plugin]]:
    return _load()
