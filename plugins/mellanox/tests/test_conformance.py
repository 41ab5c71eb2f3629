from virtfn.testing.conformance import Conformance


class TestConformance(Conformance):
    plugin = "15b3"
