"""An API server of a few lines on loopback: objects in memory, and any answer that a test wants to give instead."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from kubernetes.client import Configuration

from virtfn.kube.access import connect
from virtfn.kube.client import KubeClient
from virtfn.kube.meter import Tally
from virtfn.kube.resource import Json, Resource
from virtfn.kube.transport import TransportSettings
from virtfn.testing.merge_patch import merged

PATIENCE = 30.0
WIDGETS = Resource("example.org", "v1", "widgets", "Widget")


class FakeClock:
    """Time that moves only when somebody waits, or a test says so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._time = 1000.0
        self.skew = timedelta(0)
        self.waits: list[float] = []
        self.on_wait: Callable[[float], None] = lambda seconds: None

    def monotonic(self) -> float:
        with self._lock:
            return self._time

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic()) + self.skew

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._time += seconds

    def wait(self, event: threading.Event, *, seconds: float) -> bool:
        if event.is_set():
            return True
        self.advance(seconds)
        self.waits.append(seconds)
        self.on_wait(seconds)
        return event.is_set()


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    peer: int


class Hold:
    """In a watch: say nothing until the test lets go (or ends)."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.reached = threading.Event()


class Cut:
    """In a watch: break the connection in the middle of the answer."""


@dataclass(frozen=True)
class Answer:
    """What to say. `body` is sent as JSON if it is not bytes; `chunks` make a long answer in pieces instead.

    `then` is called when it has been said.
    """

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    chunks: tuple[bytes | dict[str, Any] | Hold | Cut, ...] | None = None
    drop: bool = False
    then: Callable[[], None] = lambda: None


def refused(code: int, reason: str = "", message: str = "no", **more: Any) -> Answer:
    """A `Status`."""
    headers = more.pop("headers", {})
    return Answer(code, {"kind": "Status", "code": code, "reason": reason, "message": message, **more}, headers)


def watched(*chunks: bytes | dict[str, Any] | Hold | Cut, then: Callable[[], None] = lambda: None) -> Answer:
    """A watch with these lines."""
    return Answer(chunks=chunks, then=then)


def listed(*items: Json, version: str, more: str = "") -> Answer:
    """A page of a list."""
    return Answer(body={"items": list(items), "metadata": {"resourceVersion": version, "continue": more}})


def widget(name: str, *, version: str = "1", namespace: str = "there", uid: str = "", **rest: Any) -> Json:
    """An object."""
    metadata = {"name": name, "namespace": namespace, "resourceVersion": version, "uid": uid or f"uid-{name}"}
    return {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": metadata, **rest}


def event(kind: str, thing: Json) -> dict[str, Any]:
    """A line of a watch."""
    return {"type": kind, "object": thing}


class KubeServer:
    """Scripted answers first, then objects in memory with resource versions and preconditions."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.objects: dict[str, Json] = {}
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self._version = 100
        self._scripts: dict[tuple[str, str], deque[Answer]] = {}
        self._connections: set[Any] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                outer._connections.add(self.connection)

            def finish(self) -> None:
                outer._connections.discard(self.connection)
                super().finish()

            def log_message(self, *args: Any) -> None:
                pass

            def serve(self) -> None:
                outer._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that go away are what many tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, method: str, path: str, *answers: Answer) -> None:
        """Give these answers, one a request, before anything else."""
        with self.lock:
            self._scripts.setdefault((method, path), deque()).extend(answers)

    def asked(self, method: str, path: str | None = None) -> list[Request]:
        """The requests so far."""
        with self.lock:
            return [each for each in self.requests if each.method == method and path in (None, each.path)]

    def wait_until_idle(self) -> None:
        """Until this side of all connections is closed."""
        for _ in range(int(PATIENCE * 100)):
            if not self._connections:
                return
            self.closing.wait(0.01)
        raise TimeoutError(f"{len(self._connections)} connections are open")

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)
        for connection in list(self._connections):
            connection.close()

    # --- one request --------------------------------------------------------------------------------------------------

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        data = handler.rfile.read(length)
        request = Request(
            handler.command, unquote(url.path), dict(parse_qsl(url.query)), dict(handler.headers.items()),
            json.loads(data) if data else None, handler.client_address[1],
        )  # fmt: skip
        with self.lock:
            self.requests.append(request)
            script = self._scripts.get((request.method, request.path))
            answer = script.popleft() if script else None
        answer = answer or self._from_memory(request)
        if answer.drop:
            handler.close_connection = True
            answer.then()
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.chunks is not None:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            self._stream(handler, answer)
        else:
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        answer.then()

    def _stream(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        for chunk in answer.chunks or ():
            if isinstance(chunk, Hold):
                chunk.reached.set()
                while not chunk.go.wait(0.01) and not self.closing.is_set():
                    pass
                continue
            if isinstance(chunk, Cut):
                handler.close_connection = True
                return
            line = chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() + b"\n"
            handler.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")

    # --- objects in memory --------------------------------------------------------------------------------------------

    def _from_memory(self, request: Request) -> Answer:
        with self.lock:
            path = request.path.removesuffix("/status")
            live = self.objects.get(path)
            if request.method == "POST":
                path = f"{path}/{request.body['metadata']['name']}"
                if path in self.objects:
                    return refused(409, "AlreadyExists")
                return Answer(201, self._keep(path, {**request.body}))
            if live is None and request.headers.get("Content-Type") == "application/apply-patch+yaml":
                return Answer(201, self._keep(path, {**request.body}))
            if live is None:
                return refused(404, "NotFound", f"{path} not found")
            if request.method == "GET":
                return Answer(body=live)
            if request.method == "DELETE":
                wanted = (request.body or {}).get("preconditions", {})
                if any(live["metadata"].get(field) != value for field, value in wanted.items()):
                    return refused(409, "Conflict")
                del self.objects[path]
                return Answer(body={"kind": "Status", "status": "Success"})
            metadata = request.body.get("metadata", {})
            for name in ("resourceVersion", "uid"):
                if metadata.get(name) not in (None, "", live["metadata"].get(name)):
                    return refused(409, "Conflict", f"{name} is another one")
            made = request.body if request.method == "PUT" else merged(live, request.body)
            return Answer(body=self._keep(path, made))

    def _keep(self, path: str, thing: Json) -> Json:
        self._version += 1
        old = self.objects.get(path, {}).get("metadata", {})
        metadata = {"uid": old.get("uid", f"uid-{self._version}"), **thing["metadata"]}
        self.objects[path] = {**thing, "metadata": {**metadata, "resourceVersion": str(self._version)}}
        return self.objects[path]


class Kit:
    """What tests build things of, as this file cannot be imported."""

    Answer = Answer
    Hold = Hold
    Cut = Cut
    FakeClock = FakeClock
    refused = staticmethod(refused)
    watched = staticmethod(watched)
    listed = staticmethod(listed)
    widget = staticmethod(widget)
    event = staticmethod(event)
    widgets = WIDGETS
    patience = PATIENCE


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def random() -> Random:
    return Random(7)


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def server() -> Iterator[KubeServer]:
    made = KubeServer()
    yield made
    made.close()


@pytest.fixture
def client_of(server: KubeServer, clock: FakeClock, random: Random) -> Iterator[Callable[..., KubeClient]]:
    """Make a client of the server: `client_of(clock=..., configuration=..., settings=...)`."""
    made: list[KubeClient] = []

    def build(
        *, clock: Any = clock, configuration: Any = None, settings: TransportSettings | None = None
    ) -> KubeClient:
        configured = configuration or Configuration(host=server.url, no_proxy="*")
        client = connect(configured, user_agent="virtfn/test", clock=clock, random=random, settings=settings)
        made.append(client)
        return client

    yield build
    for client in made:
        client.close()


@pytest.fixture
def client(client_of: Callable[..., KubeClient]) -> KubeClient:
    return client_of()
