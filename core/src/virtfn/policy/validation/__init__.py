"""What is wrong with an object of the API: one list of rules, each with an id, for admission, command line, conditions.

`validate(obj, cluster=Cluster(policies=..., nodes=..., states=...))` gives a `Verdict`; what is not known is left out,
and the rules that need it are named in `Verdict.skipped`. Pure: vendors' knowledge comes in as `VendorRules`.
"""

from virtfn.policy.validation.cluster import Cluster, VendorRules
from virtfn.policy.validation.defaults import default_patch, defaulted
from virtfn.policy.validation.engine import RULES, Operation, Skipped, Validator, Verdict, validate
from virtfn.policy.validation.rule import Need, Rule

__all__ = [
    "RULES",
    "Cluster",
    "Need",
    "Operation",
    "Rule",
    "Skipped",
    "Validator",
    "VendorRules",
    "Verdict",
    "default_patch",
    "defaulted",
    "validate",
]
