"""The laws that every plugin keeps, tried on a ground. They need hypothesis: `pip install 'virtfn[testing]'`."""

from virtfn.testing.laws.keeping import CLAIM, CONTRACT, PURITY
from virtfn.testing.laws.leaving import ISOLATION, RELEASE
from virtfn.testing.laws.reaching import CONVERGENCE, IDEMPOTENCE
from virtfn.testing.laws.surviving import CRASH, ERRORS
from virtfn.testing.laws.telling import HONEST_DISRUPTION, SERIALISABLE
from virtfn.testing.laws.trial import Broken, Law, Trial, Unable

LAWS: tuple[Law, ...] = (
    CONTRACT,
    CLAIM,
    PURITY,
    CONVERGENCE,
    IDEMPOTENCE,
    CRASH,
    RELEASE,
    ISOLATION,
    HONEST_DISRUPTION,
    ERRORS,
    SERIALISABLE,
)
"""All of them, in the order they are reported."""

__all__ = ["LAWS", "Broken", "Law", "Trial", "Unable"]
