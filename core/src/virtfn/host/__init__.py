"""The only package that touches the machine. `virtfn.host.api` is what everybody else, plugins included, sees of it."""
