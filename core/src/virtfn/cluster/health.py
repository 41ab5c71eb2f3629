"""The HTTP endpoints of controller and daemon: `/healthz`, `/readyz` and `/metrics`.

Alive means that nothing hangs that only a restart can mend, such as a watch whose thread is dead. Ready means that the
process does what it is for. What is wrong is told by name in the answer, so that `kubectl describe pod` shows it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from virtfn.cluster.metrics import CONTENT_TYPE

logger = logging.getLogger(__name__)

Check = Callable[[], str]
"""What is wrong, as one line; empty if nothing is."""

_REQUEST_SECONDS: Final = 10.0


class HealthServer:
    """Serves on a thread of its own until `stop`.

    :param address: to listen on; empty for all addresses.
    :param port: 0 for any that is free; see `port`.
    :param live: checks by name, of `/healthz`.
    :param ready: checks by name, of `/readyz`.
    :param metrics: the text for `/metrics`.
    :raises OSError: the port is taken.
    """

    def __init__(
        self,
        *,
        address: str,
        port: int,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
        metrics: Callable[[], bytes],
    ) -> None:
        pages = {"/healthz": live, "/livez": live, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            timeout = _REQUEST_SECONDS
            server_version = "virtfn"
            sys_version = ""

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(HTTPStatus.OK, metrics(), CONTENT_TYPE)
                elif path in pages:
                    code, text = _judge(pages[path])
                    self._answer(code, text.encode(), "text/plain; charset=utf-8")
                else:
                    self._answer(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain; charset=utf-8")

            def _answer(self, code: HTTPStatus, body: bytes, kind: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
                logger.debug(format, *args)

        self._server = ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _judge(checks: Mapping[str, Check]) -> tuple[HTTPStatus, str]:
    lines, bad = [], False
    for name, check in checks.items():
        try:
            wrong = check()
        except Exception as error:  # a check that fails has found something
            logger.exception("check %s failed", name)
            wrong = repr(error)
        bad = bad or bool(wrong)
        lines.append(f"{name}: {wrong or 'ok'}")
    code = HTTPStatus.SERVICE_UNAVAILABLE if bad else HTTPStatus.OK
    return code, "\n".join(lines or ["ok"]) + "\n"
