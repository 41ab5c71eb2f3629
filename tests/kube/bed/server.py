"""One Kubernetes API server with its etcd, on the loopback, for as long as a `with` block.

There is no controller manager: nothing makes service accounts of a new namespace, deletes the pods of a deleted owner,
or ends the deletion of a namespace. Tests that want such a thing do it themselves.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import trustme
from kube.bed.assets import Assets
from kube.bed.process import Program, free_ports
from kubernetes import client

from bed.command import BedError, run_text

LOOPBACK = "127.0.0.1"
FROM_A_GUEST = "10.0.2.2"  # QEMU's user network has the host's loopback there
NOWHERE = "192.0.2.1"  # RFC 5737; an API server wants to advertise an address that is not of the loopback
MEMORY = Path("/dev/shm")
ISSUER = "https://kubernetes.default.svc"
READY = ("/readyz", "/api/v1/namespaces/kube-system", "/api/v1/namespaces/default")
"""Answered with 200 when it can be worked with: it makes its namespaces after it has called itself ready."""
START_LIMIT = 120.0
STOP_GRACE = 5.0  # with a watch open, it would take a minute
ATTEMPTS = 3
PREFIX = "virtfn-kube-"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom the server knows by a token."""

    name: str
    token: str
    groups: tuple[str, ...] = ()


ADMIN = User("admin", "token-of-admin", ("system:masters",))
STRANGER = User("stranger", "token-of-stranger")
ALICE = User("alice", "token-of-alice", ("people",))
BOB = User("bob", "token-of-bob", ("people",))
USERS = (ADMIN, STRANGER, ALICE, BOB)
"""Nobody but the admin may do anything until a test binds a role to a name or a group."""


class ApiServer:
    """etcd and kube-apiserver. Addresses, certificate and data stay the same when the server is stopped and started."""

    def __init__(self, assets: Assets, *, arguments: Sequence[str] = ()) -> None:
        """`arguments` are added to those of kube-apiserver."""
        self.assets = assets
        self._arguments = tuple(arguments)
        self._made: list[Path] = []
        self._kubeconfigs = itertools.count(1)
        self.authority = trustme.CA()
        """Whose certificate the server has; a proxy in front of it may have one too."""

    # --- its life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> ApiServer:
        self._directory = self._make_directory(Path(tempfile.gettempdir()))
        self._data = self._directory / "data"
        if not self._etcd_can_skip_fsync() and MEMORY.is_dir():
            self._data = self._make_directory(MEMORY) / "data"
        self._etcd = Program("etcd", self._directory / "etcd.log")
        self._server = Program("kube-apiserver", self._directory / "kube-apiserver.log")
        try:
            self._write_files()
            self._start_both()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End both programs and remove their data."""
        self._server.kill()
        self._etcd.kill()
        while self._made:
            shutil.rmtree(self._made.pop(), ignore_errors=True)

    def stop(self, *, grace: float = STOP_GRACE) -> None:
        """End the API server, but not etcd, and wait for its end: clients see refused connections."""
        self._server.stop(grace=grace)

    def kill(self) -> None:
        """The same without a farewell: open watches are cut."""
        self._server.kill()

    def start(self) -> None:
        """Start it again, on the same port and data, and wait until it is ready. Only in the main thread."""
        self._server.start(self._server_argv())
        self._wait_until_ready()

    @property
    def running(self) -> bool:
        """Whether the API server's process is there."""
        return self._server.running

    def pids(self) -> tuple[int, int]:
        """Of etcd and of the API server. Raises BedError when one does not run."""
        return self._etcd.pid, self._server.pid

    def log(self) -> str:
        """All that the API server has said so far."""
        return self._server.log.read_text(encoding="utf-8", errors="replace")

    # --- how to reach it --------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """`https://127.0.0.1:port`."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def port(self) -> int:
        """Of the loopback."""
        return self._ports[0]

    @property
    def ca_file(self) -> Path:
        """The certificate to trust, PEM."""
        return self._directory / "ca.pem"

    @property
    def version(self) -> tuple[int, int]:
        """(1, 20) for Kubernetes 1.20; known before the server is started."""
        return version_of(self.assets)

    def kubeconfig(self, user: User | str = ADMIN, *, server: str = "", path: Path | None = None) -> Path:
        """A kubeconfig file for a user, or for a bare token; `server` is another address of it, say a proxy's."""
        token = user if isinstance(user, str) else user.token
        path = path or self._directory / f"kubeconfig-{next(self._kubeconfigs)}"
        cluster = {"server": server or self.url, "certificate-authority": str(self.ca_file)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bed",
            "clusters": [{"name": "bed", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "user"}}],
        }
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return path

    def client(self, user: User | str = ADMIN, *, server: str = "") -> client.ApiClient:
        """The official client for a user, or for a bare token. The caller closes it (it is a context manager)."""
        configuration = client.Configuration()
        configuration.host = server or self.url
        configuration.ssl_ca_cert = str(self.ca_file)
        configuration.api_key["authorization"] = user if isinstance(user, str) else user.token
        configuration.api_key_prefix["authorization"] = "Bearer"
        return client.ApiClient(configuration)

    def server_certificate(self) -> ssl.SSLContext:
        """For somebody who stands in for the server: a certificate of the same authority for the same addresses."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(*_names()).configure_cert(context)
        return context

    # --- inside -----------------------------------------------------------------------------------------------------

    def _make_directory(self, below: Path) -> Path:
        """A folder that is named for this process; those of tests that were killed are removed."""
        for path in below.glob(f"{PREFIX}*-*"):
            owner = path.name.removeprefix(PREFIX).partition("-")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                shutil.rmtree(path, ignore_errors=True)
        self._made.append(Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=below)))
        return self._made[-1]

    def _write_files(self) -> None:
        self.authority.cert_pem.write_to_path(self.ca_file)
        certificate = self.authority.issue_cert(*_names())
        certificate.private_key_pem.write_to_path(self._directory / "server.key")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(self._directory / "server.pem", append=True)
        signing = self.authority.issue_cert("service-accounts")
        signing.private_key_pem.write_to_path(self._directory / "accounts.key")
        lines = (f'{user.token},{user.name},{user.name},"{",".join(user.groups)}"\n' for user in USERS)
        (self._directory / "tokens.csv").write_text("".join(lines), encoding="utf-8")

    def _start_both(self) -> None:
        """On ports that were free a moment ago; when somebody else was quicker, on others."""
        for attempt in range(1, ATTEMPTS + 1):
            self._ports = free_ports(3)
            self._etcd.start(self._etcd_argv())
            self._server.start(self._server_argv())
            try:
                self._wait_until_ready()
                return
            except BedError:
                taken = "address already in use" in self._etcd.tail(200) + self._server.tail(200)
                if not taken or attempt == ATTEMPTS:
                    raise
                self._server.kill()
                self._etcd.kill()
                shutil.rmtree(self._data, ignore_errors=True)
                for program in (self._server, self._etcd):
                    program.log.unlink()

    def _etcd_argv(self) -> list[str | Path]:
        _, clients, peers = (f"http://{LOOPBACK}:{port}" for port in self._ports)
        argv: list[str | Path] = [self.assets.etcd, "--name=bed", "--data-dir", self._data]
        argv += [f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"]
        argv += [f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"]
        argv += [f"--initial-cluster=bed={peers}"]
        return argv + (["--unsafe-no-fsync"] if self._etcd_can_skip_fsync() else [])

    def _server_argv(self) -> list[str | Path]:
        here = self._directory
        return [
            self.assets.kube_apiserver,
            f"--etcd-servers=http://{LOOPBACK}:{self._ports[1]}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={NOWHERE}",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.port}",
            f"--tls-cert-file={here / 'server.pem'}",
            f"--tls-private-key-file={here / 'server.key'}",
            f"--cert-dir={here}",
            f"--token-auth-file={here / 'tokens.csv'}",
            f"--service-account-key-file={here / 'accounts.key'}",
            f"--service-account-signing-key-file={here / 'accounts.key'}",
            f"--service-account-issuer={ISSUER}",
            f"--api-audiences={ISSUER}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            *self._arguments,
        ]

    def _etcd_can_skip_fsync(self) -> bool:
        return "--unsafe-no-fsync" in run_text([self.assets.etcd, "--help"], timeout=60)

    def _wait_until_ready(self) -> None:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        headers = {"Authorization": f"Bearer {ADMIN.token}"}
        requests = [urllib.request.Request(f"{self.url}{path}", headers=headers) for path in READY]
        deadline = time.monotonic() + START_LIMIT
        said = "nothing"
        while True:
            try:
                for request in requests:
                    with opener.open(request, timeout=10) as answer:
                        answer.read()
                return
            except urllib.error.HTTPError as error:
                with error:
                    said = error.read().decode(errors="replace")
            except OSError as error:
                said = str(error)
            ended = [program.name for program in (self._etcd, self._server) if not program.running]
            if ended or time.monotonic() > deadline:
                why = f"{' and '.join(ended)} ended" if ended else f"not ready after {START_LIMIT:.0f} s"
                logs = "\n".join(program.tail() for program in (self._etcd, self._server))
                raise BedError(f"the API server did not start: {why}; it says: {said}\n{logs}")
            time.sleep(0.1)


def version_of(assets: Assets) -> tuple[int, int]:
    """Which Kubernetes a folder's binary is of, by its own word."""
    said = run_text([assets.kube_apiserver, "--version"], timeout=60)
    found = re.search(r"v(\d+)\.(\d+)", said)
    if found is None:
        raise BedError(f"{assets.kube_apiserver} --version says {said!r}")
    return int(found[1]), int(found[2])


def claims(token: str) -> dict[str, object]:
    """What a service account's token says of itself; its signature is not looked at."""
    part = token.split(".")[1]
    decoded: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def _names() -> tuple[str, ...]:
    return (LOOPBACK, "localhost", FROM_A_GUEST)
