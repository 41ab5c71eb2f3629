"""The client of Open vSwitch's database: against a server that misbehaves, and the real one where it is found."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from virtfn.host import ovsdb_values as ovs
from virtfn.host.bridge_reader import TABLES
from virtfn.host.ovsdb import SocketOvsDb

SOCKET = "run/openvswitch/db.sock"
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
SELECT = [{"op": "select", "table": "Bridge", "where": []}]
Script = Sequence[bytes]
"""What the server sends, in pieces; an empty one waits for a message of the client's."""


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path: that of a socket may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="ovs-") as folder:
        (Path(folder) / SOCKET).parent.mkdir(parents=True)
        yield Path(folder)


@pytest.fixture
def serve(root: Path) -> Iterator[Callable[..., list[bytes]]]:
    """A server for one connection, which does what the script says and remembers what it was sent."""
    threads = []

    def start(*script: bytes, path: str = SOCKET) -> list[bytes]:
        server = socket.socket(socket.AF_UNIX)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        server.bind(str(root / path))
        server.listen()
        heard: list[bytes] = []

        def run() -> None:
            with server, server.accept()[0] as connection:
                connection.settimeout(5)
                heard.append(connection.recv(1 << 20))
                for piece in script:
                    if piece:
                        connection.sendall(piece)
                        time.sleep(0.01)
                    else:
                        heard.append(connection.recv(1 << 20))

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        return heard

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def answer(result: Any, *, error: Any = None, number: Any = 0) -> bytes:
    return json.dumps({"id": number, "result": result, "error": error}).encode()


def test_where_no_socket_is_there_is_no_database(root: Path) -> None:
    assert SocketOvsDb(root).select(TABLES) is None
    assert SocketOvsDb(root / "nowhere").select(TABLES) is None
    with pytest.raises(FileNotFoundError):
        SocketOvsDb(root).transact(SELECT)


def test_a_socket_that_a_dead_server_left(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / SOCKET))
    assert SocketOvsDb(root).select(TABLES) is None


def test_the_request(root: Path, serve: Callable[..., list[bytes]]) -> None:
    heard = serve(answer([{"rows": [{"name": "br-a"}]}]))
    assert SocketOvsDb(root).select({"Bridge": ("name",)}) == {"Bridge": [{"name": "br-a"}]}
    operation = {"op": "select", "table": "Bridge", "where": [], "columns": ["name"]}
    assert json.loads(heard[0]) == {"method": "transact", "params": ["Open_vSwitch", operation], "id": 0}


def test_the_other_place_of_the_socket(root: Path, serve: Callable[..., list[bytes]]) -> None:
    serve(answer([{"rows": []}]), path="var/run/openvswitch/db.sock")
    assert SocketOvsDb(root).transact(SELECT) == [{"rows": []}]


def test_an_answer_in_pieces_among_probes(root: Path, serve: Callable[..., list[bytes]]) -> None:
    probe = json.dumps({"method": "echo", "params": ["hello"], "id": "probe"}).encode()
    whole = answer([{"rows": [{"name": "brücke}"}]}])
    update = json.dumps({"method": "update", "params": [], "id": None}).encode()
    heard = serve(probe, b"", update + whole[:20], whole[20:-4], whole[-4:])
    assert SocketOvsDb(root).transact(SELECT) == [{"rows": [{"name": "brücke}"}]}]
    assert json.loads(heard[1]) == {"result": ["hello"], "error": None, "id": "probe"}


@pytest.mark.parametrize(
    ("said", "gist"),
    [
        (b"", "hung up"),
        (b'{"id": 0, "resu', "hung up"),
        (b"garbage", "no JSON"),
        (b"[1]", "no JSON"),
        (answer(None), "no result"),
        (answer(None, error="unknown database"), "unknown database"),
        (answer([{"error": "unknown column", "details": "No column x"}]), "No column x"),
        (answer([None]), "cannot be read"),
    ],
)
def test_what_is_no_answer(root: Path, serve: Callable[..., list[bytes]], said: bytes, gist: str) -> None:
    serve(*([said] if said else []))
    with pytest.raises(OSError, match=gist) as caught:
        SocketOvsDb(root).select({"Bridge": ("name",)})
    assert caught.value.errno == errno.EPROTO


def test_no_answer_at_all(root: Path, serve: Callable[..., list[bytes]]) -> None:
    serve(b'{"id": 0', b"")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        SocketOvsDb(root, timeout=0.2).select({"Bridge": ("name",)})
    assert time.monotonic() - began < 5


def test_values() -> None:
    assert ovs.items(["set", [["uuid", "a"], ["uuid", "b"]]]) == ["a", "b"]
    assert (ovs.items(["uuid", "a"]), ovs.items("x"), ovs.items(["set", []])) == (["a"], ["x"], [])
    assert (ovs.text(["set", []]), ovs.text("x"), ovs.number(["set", []]), ovs.number(7)) == ("", "x", None, 7)
    assert ovs.pairs(ovs.as_map({"b": "2", "a": "1"})) == {"a": "1", "b": "2"}
    assert ovs.pairs("no map") == {}


# --- the real one -----------------------------------------------------------------------------------------------------


@pytest.fixture
def real(root: Path) -> Iterator[SocketOvsDb]:
    """An ovsdb-server of this test's own, without ovs-vswitchd."""
    programs = {name: shutil.which(name, path=PATH) for name in ("ovsdb-tool", "ovsdb-server")}
    tool, server = programs["ovsdb-tool"], programs["ovsdb-server"]
    if tool is None or server is None or not SCHEMA.exists():
        pytest.skip("Open vSwitch is not installed here; tests/vm has it")
    subprocess.run([tool, "create", str(root / "conf.db"), str(SCHEMA)], check=True, timeout=30)
    words = [server, f"--remote=punix:{root / SOCKET}", f"--unixctl={root / 'ctl'}", str(root / "conf.db")]
    with (root / "log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 30
            while SocketOvsDb(root).select({}) is None:  # its socket is there a moment before it listens
                assert process.poll() is None, (root / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield SocketOvsDb(root)
        finally:
            process.terminate()


def test_the_real_server_and_the_simulated_one_give_the_same_answers(real: SocketOvsDb) -> None:
    from virtfn.testing import FakeHost

    conversation: list[list[dict[str, Any]]] = [
        [{"op": "insert", "table": "Open_vSwitch", "row": {}}],
        [
            {"op": "insert", "table": "Interface", "uuid-name": "i", "row": {"name": "br-a", "type": "internal"}},
            {
                "op": "insert",
                "table": "Port",
                "uuid-name": "p",
                "row": {"name": "br-a", "interfaces": ["named-uuid", "i"]},
            },
            {
                "op": "insert",
                "table": "Bridge",
                "uuid-name": "b",
                "row": {"name": "br-a", "ports": ["named-uuid", "p"], "external_ids": ["map", [["a", "1"]]]},
            },
            {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["bridges", "insert", ["set", [["named-uuid", "b"]]]], ["next_cfg", "+=", 1]],
            },
            {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]},
        ],
        [
            {
                "op": "wait",
                "timeout": 0,
                "table": "Bridge",
                "where": [["external_ids", "includes", ["map", [["a", "2"]]]]],
                "columns": ["name"],
                "until": "==",
                "rows": [{"name": "br-a"}],
            },
            {"op": "comment", "comment": "not reached"},
        ],
        [
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [["name", "==", "br-a"]],
                "mutations": [
                    ["external_ids", "delete", ["set", ["a", "nosuch"]]],
                    ["external_ids", "insert", ["map", [["b", "2"]]]],
                    ["external_ids", "insert", ["map", [["b", "3"]]]],
                ],
            },
            {"op": "select", "table": "Bridge", "where": [], "columns": ["name", "external_ids", "fail_mode"]},
        ],
        [{"op": "update", "table": "Open_vSwitch", "where": [], "row": {"bridges": ["set", []]}}],
        [
            {"op": "select", "table": table, "where": [], "columns": ["name"]}
            for table in ("Bridge", "Port", "Interface")
        ],
        [{"op": "select", "table": "Bridge", "where": [], "columns": ["nosuch"]}],
        [{"op": "select", "table": "Nosuch", "where": []}],
    ]
    with FakeHost() as host:
        host.ovs.answers = True
        for operations in conversation:
            theirs, ours = real.transact(operations), host.kernel.ovsdb.transact(operations)
            assert _plain(theirs) == _plain(ours), operations


def test_the_real_server_has_the_columns_that_are_read(real: SocketOvsDb) -> None:
    assert real.select(TABLES) == {table: [] for table in TABLES}
    with pytest.raises(OSError, match="nosuch"):
        real.select({"Bridge": ("nosuch",)})


def _plain(results: Sequence[Any]) -> list[Any]:
    """Without what differs from one server to another: UUIDs, places and wording of errors, what was not reached."""
    found: list[Any] = []
    for result in results:
        if result is None:
            break
        if "error" in result:
            found.append({"error": "refused" if result["error"] != "timed out" else "timed out"})
        else:
            found.append({"uuid": True} if "uuid" in result else result)
    return found
