"""What a controller needs, on the official client's transport: reflector, store, queue, lease, apply, events.

It knows Kubernetes and nothing of network cards. The official client gives configuration, authentication and TLS; what
it offers beyond that (informer, leader election, models) is not used here, because a long-lived process needs paged
lists of custom resources, back-off, and a lease that cannot be held twice. Only this package imports `kubernetes`, and
only when a connection is made, so that the command line does not pay for it.
"""
