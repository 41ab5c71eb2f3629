"""The controller: what policies and configuration of a cluster come to, on its nodes and for its pods.

One module a reconciler; `app` runs them. Reconcilers decide with `virtfn.policy` and write with `virtfn.kube`; what
they all are given is in `services`.
"""
