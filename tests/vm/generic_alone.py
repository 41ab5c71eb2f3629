"""virtfn with the generic plugin alone. Run it in place of `virtfn`.

igb has no eswitch of its own, and its vendor's plugin knows that; with the shim it has one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtfn.registry import Registry


def generic_alone(_ids: object) -> Registry:
    """In place of `virtfn.registry.load_registry`."""
    from virtfn.registry import Registry
    from virtfn_generic import GenericPlugin

    return Registry.for_testing({"generic": GenericPlugin})


def leave_vendors_out() -> None:
    """For the rest of this process."""
    from virtfn.node import Node

    defaults = Node.__init__.__kwdefaults__
    assert "registry" in defaults
    defaults["registry"] = generic_alone


if __name__ == "__main__":
    from virtfn.cli.main import main

    leave_vendors_out()
    sys.exit(main())
