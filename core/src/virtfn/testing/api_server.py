"""A real Kubernetes API server with its etcd, on the loopback, for as long as a `with` block: for demos and benches.

The binaries are found where the ecosystem puts them: `KUBEBUILDER_ASSETS` names a folder with kube-apiserver and etcd.
Without it, what `make kube-deps` has built is taken. The server makes its certificate itself, so that nothing but the
two binaries is needed. There is no kubelet and no controller manager: pods are objects and nothing more.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from virtfn.errors import NotConfigured, Unavailable

ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
CACHE_VARIABLE: Final = "VIRTFN_KUBE_CACHE"

_ADMIN: Final = "admin"
_LOOPBACK: Final = "127.0.0.1"
_NOWHERE: Final = "192.0.2.1"  # RFC 5737; the server wants to advertise an address that is not of the loopback
_ISSUER: Final = "https://kubernetes.default.svc"
_READY: Final = ("/readyz", "/api/v1/namespaces/kube-system", "/api/v1/namespaces/default")
"""Answered with 200 when it can be worked with: it makes its namespaces after it has called itself ready."""
_START_SECONDS: Final = 60.0
_TURN: Final = 0.1
_ATTEMPTS: Final = 3
_TAIL: Final = 15


@dataclass(frozen=True, slots=True)
class Binaries:
    """What is run."""

    kube_apiserver: Path
    etcd: Path


def find_binaries(environment: Mapping[str, str]) -> Binaries:
    """The binaries of this machine. Raises `NotConfigured` saying what to do when there are none."""
    advice = (
        f"name a folder that holds kube-apiserver and etcd in {ASSETS_VARIABLE}, or build them once in ten minutes: "
        "make kube-deps, in a checkout of virtfn"
    )
    named = environment.get(ASSETS_VARIABLE)
    if named:
        found = Binaries(Path(named).resolve() / "kube-apiserver", Path(named).resolve() / "etcd")
        if lacking := [path.name for path in (found.kube_apiserver, found.etcd) if not _can_run(path)]:
            raise NotConfigured(f"{ASSETS_VARIABLE}: {named} has no {' and no '.join(lacking)} ({advice})")
        return found
    cache = Path(environment.get(CACHE_VARIABLE) or Path(environment.get("HOME", "/"), ".cache", "virtfn-kube"))
    folders = sorted(cache.glob("assets-*"), key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)])
    for folder in reversed(folders):
        found = Binaries(folder / "kube-apiserver", folder / "etcd")
        if _can_run(found.kube_apiserver) and _can_run(found.etcd):
            return found
    raise NotConfigured(f"there is no API server: {ASSETS_VARIABLE} is not set, and {cache} has none ({advice})")


def _can_run(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


class ApiServer:
    """etcd and kube-apiserver in a folder that is removed with them.

    :param arguments: added to those of kube-apiserver.
    """

    def __init__(self, binaries: Binaries, *, arguments: Sequence[str] = ()) -> None:
        self._binaries = binaries
        self._arguments = tuple(arguments)
        self._token = secrets.token_hex(16)
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._folder = Path(
                undo.enter_context(tempfile.TemporaryDirectory(prefix=f"virtfn-api-server-{os.getpid()}-"))
            )
            self._data = self._folder / "data"
            memory = Path("/dev/shm")  # etcd waits for the disk at every write
            if memory.is_dir() and os.access(memory, os.W_OK | os.X_OK):
                self._data = Path(
                    undo.enter_context(tempfile.TemporaryDirectory(prefix=f"virtfn-etcd-{os.getpid()}-", dir=memory))
                )
            self._etcd = undo.enter_context(_Program(self._folder / "etcd.log"))
            self._server = undo.enter_context(_Program(self._folder / "kube-apiserver.log"))
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._start()
                    break
                except Unavailable:
                    taken = "address already in use" in self._etcd.said() + self._server.said()
                    if not taken or attempt == _ATTEMPTS:
                        raise
                    self._server.end()
                    self._etcd.end()
            self._closing = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    @property
    def url(self) -> str:
        """`https://127.0.0.1:port`."""
        return f"https://{_LOOPBACK}:{self._port}"

    @property
    def ca_file(self) -> Path:
        """The certificate to trust, PEM."""
        return self._folder / "apiserver.crt"

    def kubeconfig(self) -> Path:
        """A file with which one may do everything; it goes with the server."""
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "virtfn",
            "clusters": [{"name": "virtfn", "cluster": cluster}],
            "users": [{"name": _ADMIN, "user": {"token": self._token}}],
            "contexts": [{"name": "virtfn", "context": {"cluster": "virtfn", "user": _ADMIN}}],
        }
        path = self._folder / "kubeconfig.json"
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return path

    # --- inside -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        (self._folder / "tokens.csv").write_text(f"{self._token},{_ADMIN},{_ADMIN},system:masters\n", encoding="utf-8")
        self._port, clients, peers = _free_ports(3)
        self._etcd.start(self._etcd_words(f"http://{_LOOPBACK}:{clients}", f"http://{_LOOPBACK}:{peers}"))
        self._server.start(self._server_words(f"http://{_LOOPBACK}:{clients}"))
        self._wait_until_ready()

    def _etcd_words(self, clients: str, peers: str) -> list[str]:
        return [
            *(str(self._binaries.etcd), "--name=virtfn", f"--data-dir={self._data}"),
            *(f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"),
            *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
            f"--initial-cluster=virtfn={peers}",
        ]

    def _server_words(self, etcd: str) -> list[str]:
        here = self._folder
        own_key = here / "apiserver.key"  # made by the server, with its certificate, before it is read
        return [
            str(self._binaries.kube_apiserver),
            f"--etcd-servers={etcd}",
            *(f"--bind-address={_LOOPBACK}", f"--secure-port={self._port}", f"--cert-dir={here}"),
            *(f"--advertise-address={_NOWHERE}", "--endpoint-reconciler-type=none"),
            f"--token-auth-file={here / 'tokens.csv'}",
            *(f"--service-account-key-file={own_key}", f"--service-account-signing-key-file={own_key}"),
            *(f"--service-account-issuer={_ISSUER}", f"--api-audiences={_ISSUER}"),
            *("--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"),
            "--disable-admission-plugins=ServiceAccount",
            *self._arguments,
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            said = self._ready()
            if not said:
                return
            ended = [program.name for program in (self._etcd, self._server) if not program.runs]
            if ended or time.monotonic() > deadline:
                why = f"{' and '.join(ended)} ended" if ended else f"not ready after {_START_SECONDS:.0f} s"
                logs = "\n".join(f"{program.name}: {program.said(_TAIL)}" for program in (self._etcd, self._server))
                raise Unavailable(f"{self.url}: the API server did not start ({why}; it says: {said})\n{logs}")
            time.sleep(_TURN)

    def _ready(self) -> str:
        """What is missing yet."""
        if not self.ca_file.is_file():
            return "no certificate yet"
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.ca_file)))
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trust)
            for path in _READY:
                with opener.open(urllib.request.Request(f"{self.url}{path}", headers=headers), timeout=10):
                    pass
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode(errors="replace")
        except OSError as error:  # a certificate that is half written is one, too
            return str(error)
        return ""


class _Program:
    """One program with its log. It is killed at the end: nothing of it is kept."""

    def __init__(self, log: Path) -> None:
        self.name = log.stem
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, words: Sequence[str]) -> None:
        # The kernel kills it when the thread that started it is gone, however that came about.
        setpriv = shutil.which("setpriv")
        bound = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        home = {"HOME": str(self._log.parent), "LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", "")}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [*bound, *words], cwd=self._log.parent, env=home, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def said(self, lines: int = 200) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


@contextmanager
def _folder(name: str, *, below: Path | None = None) -> Iterator[Path]:
    """A folder that tells whose it is, should it ever be left."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-{os.getpid()}-", dir=below) as folder:
        yield Path(folder)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on a moment before they are used; all different."""
    with ExitStack() as open_sockets:
        found = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind((_LOOPBACK, 0))
        return [each.getsockname()[1] for each in found]
