"""Bytes to and from the API server, on the official client's connection pool, authentication and TLS.

Its own call path costs several times the CPU of the request itself (each call copies, sanitises and re-serialises its
arguments), so requests go straight into the urllib3 pool that it set up. What stays the client's: certificates,
proxies, socket options, and the token with its refresh, which is asked for before every request.

A server that puts a request off (429 or 503 with `Retry-After`) is obeyed here, within bounds; every other failure goes
to the caller, who knows what the request was for.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError
from urllib3.exceptions import TimeoutError as SilenceError

from virtfn.errors import BadReply, Unauthorized, Unavailable
from virtfn.kube.clock import Clock
from virtfn.kube.refusals import read_status, refusal, retry_after
from virtfn.kube.resource import Json
from virtfn.kube.tls import closed_on_failure

logger = logging.getLogger(__name__)

JSON = "application/json"
READ_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How to talk to the API server. Times in seconds."""

    pool_size: int = 40
    """Connections kept open. More can be used at once, but are closed after one request."""

    connect_timeout: float = 5.0
    """For TCP and TLS together."""

    request_timeout: float = 30.0
    """Longest silence of the server during a request that says nothing else."""

    put_off_times: int = 4
    """How often one request waits because the server said `Retry-After`."""

    put_off_longest: float = 30.0
    """Longest such wait; a server that wants more is answered with the error."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer with a status below 300."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    subject: str

    def json(self) -> Json:
        """The body.

        :raises BadReply: if it is not a JSON object.
        """
        try:
            found = json.loads(self.data)
        except ValueError as error:
            raise BadReply(
                f"{self.subject}: the answer is not JSON ({error}; is there a proxy in between?)", subject=self.subject
            ) from error
        if not isinstance(found, dict):
            text = f"{self.subject}: the answer is {type(found).__name__}, not an object (check the server's address)"
            raise BadReply(text, subject=self.subject)
        return found


class Transport:
    """One API server, one identity. Used from many threads.

    :param configuration: a `kubernetes.client.Configuration` with host, TLS and authentication filled in.
    :param user_agent: how the server's audit log names this program.
    """

    def __init__(
        self,
        configuration: Any,
        *,
        user_agent: str,
        clock: Clock,
        random: Random,
        settings: TransportSettings | None = None,
    ) -> None:
        from kubernetes.client.rest import RESTClientObject  # half a second, only for those who connect

        self._settings = settings or TransportSettings()
        self._configuration = configuration
        self._configuration.connection_pool_maxsize = self._settings.pool_size
        self._configuration.keep_alive = True
        # It would look for a proxy in the environment whenever a token is asked for: a fifth of a request's time.
        self._configuration.proxy = self._configuration.proxy
        self._agent = user_agent
        self._clock = clock
        self._random = random
        self._auth_lock = threading.Lock()
        self._closed = threading.Event()
        self._manager = RESTClientObject(configuration).pool_manager
        host = urllib3.util.parse_url(configuration.host)
        self._pool = self._manager.connection_from_url(configuration.host)
        # A plain HTTP proxy wants the whole URL; everybody else the path, below what the configured address has of one.
        through_proxy = self._manager.proxy is not None and host.scheme == "http"
        self._prefix = (configuration.host if through_proxy else host.path or "").rstrip("/")

    @property
    def clock(self) -> Clock:
        """Whose time the waits are in."""
        return self._clock

    def request(
        self,
        method: str,
        *,
        path: str,
        subject: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
        repeatable: bool = False,
        patient: bool = True,
        before: Callable[[], None] | None = None,
    ) -> Reply:
        """Send one request and read the whole answer.

        :param timeout: seconds of silence after which it is given up.
        :param repeatable: doing it twice is the same as once, so that a kept connection which the server had closed
            meanwhile is no failure yet.
        :param patient: wait where the server says `Retry-After`; otherwise that is an error at once.
        :param before: called each time before it is sent, the first time and after such a wait; what it raises ends it.
        :raises ClusterError: the subclass tells what to do about it.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        url = self._url(path, query=query)
        put_off = 0
        while True:
            if before is not None:
                before()
            response = self._send(
                method, url=url, subject=subject, data=data, content_type=content_type, accept=accept,
                timeout=timeout or self._settings.request_timeout, repeatable=repeatable,
            )  # fmt: skip
            if response.status < 300:
                return Reply(response.status, response.headers, response.data, subject)
            wait = retry_after(response.headers)
            if (
                response.status in (429, 503)
                and wait is not None
                and patient
                and put_off < self._settings.put_off_times
            ):
                put_off += 1
                if wait <= self._settings.put_off_longest and not self._pause(wait):
                    continue
            raise refusal(
                read_status(response.data), code=response.status, subject=subject, verb=method, body=response.data,
                wait=wait,
            )  # fmt: skip

    def stream(
        self, *, path: str, subject: str, query: Mapping[str, str] | None = None, accept: str = JSON, quiet: float
    ) -> Stream:
        """Open an answer that comes in lines over a long time.

        :param quiet: seconds of silence after which it counts as dead.
        :raises ClusterError: as `request`; `Retry-After` is left to the caller.
        """
        response = self._send(
            "GET", url=self._url(path, query=query), subject=subject, data=None, content_type=JSON, accept=accept,
            timeout=min(quiet, self._settings.request_timeout), repeatable=True, whole=False,
        )  # fmt: skip
        if response.status < 300:
            # Only what follows may be slow; a server that does not even begin is noticed sooner.
            if (sock := getattr(response.connection, "sock", None)) is not None:
                sock.settimeout(quiet)
            return Stream(response, subject=subject)
        try:
            data = response.read(READ_SIZE)
        except HTTPError:
            data = b""
        finally:
            response.close()
        wait = retry_after(response.headers)
        raise refusal(read_status(data), code=response.status, subject=subject, verb="watch", body=data, wait=wait)

    def close(self) -> None:
        """Close idle connections and end waits. Requests after that fail as if the server were not there."""
        self._closed.set()
        self._pool.close()
        self._manager.clear()

    def _url(self, path: str, *, query: Mapping[str, str] | None) -> str:
        return f"{self._prefix}{path}?{urlencode(query)}" if query else f"{self._prefix}{path}"

    def _pause(self, seconds: float) -> bool:
        # The random part keeps those who were put off together from coming back together.
        return self._clock.wait(self._closed, seconds=seconds + self._random.random() * min(1.0, seconds))

    def _headers(self, *, subject: str, accept: str, content_type: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": self._agent, "Content-Type": content_type}
        try:
            with self._auth_lock:  # the refresh hooks of the official client change the configuration
                settings = self._configuration.auth_settings()
        except Exception as error:  # exec plugins, OIDC and token files each have errors of their own
            raise Unauthorized(
                f"{subject}: no token could be got ({error}; check the user in the kubeconfig)", subject=subject
            ) from error
        for setting in settings.values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers

    def _send(
        self,
        method: str,
        *,
        url: str,
        subject: str,
        data: bytes | None,
        content_type: str,
        accept: str,
        timeout: float,
        repeatable: bool,
        whole: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        headers = self._headers(subject=subject, accept=accept, content_type=content_type)
        limits = urllib3.Timeout(connect=min(self._settings.connect_timeout, timeout), read=timeout)
        again = repeatable
        while True:
            try:
                with closed_on_failure():
                    response: urllib3.BaseHTTPResponse = self._pool.urlopen(
                        method, url, body=data, headers=headers, retries=False, redirect=False, assert_same_host=False,
                        timeout=limits, preload_content=whole,
                    )  # fmt: skip
                return response
            except ProtocolError as error:
                if not again:
                    raise _unreachable(error, subject=subject, verb=method) from error
                again = False
                logger.debug("%s: %s: the connection was closed meanwhile, once more", subject, method)
            except HTTPError as error:
                raise _unreachable(error, subject=subject, verb=method) from error


class Stream:
    """Lines of one long answer. Read by one thread, closed by any."""

    def __init__(self, response: urllib3.BaseHTTPResponse, *, subject: str) -> None:
        self._response = response
        self._subject = subject
        self._closed = threading.Event()

    def chunks(self) -> Iterator[bytes]:
        """What came, as it comes; ends when the server closes, or after `close`.

        :raises Unavailable: when the connection broke or was silent for too long.
        """
        while not self._closed.is_set():
            try:
                chunk = self._response.read1(READ_SIZE)
            except (HTTPError, OSError, ValueError) as error:  # ValueError: read after close
                if self._closed.is_set():
                    return
                raise _unreachable(error, subject=self._subject, verb="watch") from error
            if not chunk:
                return
            yield chunk

    def close(self) -> None:
        """End it, also while another thread waits in `chunks`."""
        self._closed.set()
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError):
            logger.debug("%s: the watch was over already", self._subject)
        # The reader closes the rest: closing a response under a reader's feet may block.

    def release(self) -> None:
        """Free the connection; by the reading thread only."""
        self._closed.set()
        self._response.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _unreachable(error: Exception, *, subject: str, verb: str) -> Unavailable:
    if isinstance(error, SilenceError) and not isinstance(error, NewConnectionError):
        what = "had no answer in time"
        advice = "it is tried again; check the network to the API server if this stays"
    else:
        what = "did not reach the API server"
        advice = "it is tried again; check its address, the network, and the certificates if this stays"
    return Unavailable(f"{subject}: {verb} {what} ({error}; {advice})", subject=subject)
