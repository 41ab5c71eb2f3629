"""The laws that every plugin keeps, tried on a ground. They need hypothesis: `pip install 'virtfn[testing]'`."""

from virtfn.testing.laws.reaching import CONVERGENCE, IDEMPOTENCE
from virtfn.testing.laws.surviving import CRASH, ERRORS
from virtfn.testing.laws.trial import Broken, Law, Trial, Unable

LAWS: tuple[Law, ...] = (CONVERGENCE, IDEMPOTENCE, CRASH, ERRORS)
"""All of them, in the order they are reported."""

__all__ = ["LAWS", "Broken", "Law", "Trial", "Unable"]
