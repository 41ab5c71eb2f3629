"""A TLS connection that fails leaves no file open.

CPython before 3.11.8 and 3.12.2 keeps the socket of a connection that the peer resets after TCP and before TLS
(python/cpython#113280): a load balancer without a server behind it does that, and a server that is killed. Nobody but
the traceback knows the socket then, so the file is open until the collector comes by, and meanwhile come more.
"""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def closed_on_failure() -> Iterator[None]:
    """For a connection's beginning: what TLS sockets a failure in it has come through are closed when it leaves."""
    try:
        yield
    except Exception as error:
        for each in _sockets(error):
            each.close()
        raise


def _sockets(error: BaseException) -> Iterator[ssl.SSLSocket]:
    step: BaseException | None = error
    while step is not None:
        for frame, _ in traceback.walk_tb(step.__traceback__):
            if isinstance(found := frame.f_locals.get("self"), ssl.SSLSocket):
                yield found
        step = step.__context__
