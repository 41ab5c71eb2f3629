"""The parts of the simulated ground. `virtfn.testing.fakehost` puts them together; nobody else needs them by name."""
