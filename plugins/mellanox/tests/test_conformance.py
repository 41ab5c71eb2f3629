from dataclasses import replace
from typing import ClassVar

from virtfn.testing import Profile, load_profile
from virtfn.testing.conformance import Conformance


class TestConformance(Conformance):
    plugin = "15b3"


def _without_roce(name: str) -> Profile:
    """Somebody switches RoCE off at each boot, so that VFs with RDMA take a reload of the driver."""
    profile = load_profile(name)
    params = dict(profile.devlink.params)
    params["enable_roce"] = replace(params["enable_roce"], value=False)
    return replace(profile, name=f"{name}-without-roce", devlink=replace(profile.devlink, params=params))


class TestWithoutRoce(Conformance):
    plugin = "15b3"
    profiles: ClassVar = [_without_roce("connectx-5")]
    examples = 0
