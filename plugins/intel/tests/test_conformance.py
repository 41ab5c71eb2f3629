from virtfn.testing.conformance import Conformance


class TestConformance(Conformance):
    plugin = "8086"
