"""Where the API server's binaries are looked for, and what is said when it cannot be started."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from virtfn.errors import NotConfigured, Unavailable
from virtfn.testing.api_server import ApiServer, find_binaries


def put(folder: Path, *names: str, text: str = "#!/bin/sh\nexit 1\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    return folder


def test_the_folder_that_is_named_goes_before_the_cache(tmp_path: Path) -> None:
    named = put(tmp_path / "named", "kube-apiserver", "etcd")
    put(tmp_path / ".cache" / "virtfn-kube" / "assets-1.20.2-r1", "kube-apiserver", "etcd")
    found = find_binaries({"KUBEBUILDER_ASSETS": str(named), "HOME": str(tmp_path)})
    assert (found.kube_apiserver, found.etcd) == (named / "kube-apiserver", named / "etcd")


def test_the_newest_whole_folder_of_the_cache_is_taken(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    put(cache / "assets-1.9.1-r1", "kube-apiserver", "etcd")
    wanted = put(cache / "assets-1.20.2-r1", "kube-apiserver", "etcd")
    put(cache / "assets-1.30.0-r1", "etcd")
    put(cache / "partial-x", "kube-apiserver", "etcd")
    assert find_binaries({"VIRTFN_KUBE_CACHE": str(cache)}).etcd == wanted / "etcd"
    assert find_binaries({"VIRTFN_KUBE_CACHE": str(cache), "KUBEBUILDER_ASSETS": ""}).etcd == wanted / "etcd"


@pytest.mark.parametrize("names", [(), ("etcd",), ("kube-apiserver",)])
def test_what_a_named_folder_lacks_is_told_and_nothing_else_is_taken(tmp_path: Path, names: tuple[str, ...]) -> None:
    named = put(tmp_path / "named", *names)
    put(tmp_path / ".cache" / "virtfn-kube" / "assets-1.20.2-r1", "kube-apiserver", "etcd")
    with pytest.raises(NotConfigured, match=f"KUBEBUILDER_ASSETS: {named} has no ") as caught:
        find_binaries({"KUBEBUILDER_ASSETS": str(named), "HOME": str(tmp_path)})
    lacking = str(caught.value).partition("(")[0]
    for name in ("kube-apiserver", "etcd"):
        assert (f"no {name}" in lacking) == (name not in names)


def test_a_file_that_cannot_be_run_is_none(tmp_path: Path) -> None:
    named = put(tmp_path, "kube-apiserver", "etcd")
    (named / "etcd").chmod(0o644)
    with pytest.raises(NotConfigured, match="has no etcd"):
        find_binaries({"KUBEBUILDER_ASSETS": str(named)})


def test_without_any_it_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match=r"KUBEBUILDER_ASSETS is not set, and .*virtfn-kube has none .*kube-deps"):
        find_binaries({"HOME": str(tmp_path)})


def test_a_server_that_ends_at_once_is_told_with_its_log_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    named = put(tmp_path / "named", "etcd", text="#!/bin/sh\nexec sleep 60\n")
    put(named, "kube-apiserver", text="#!/bin/sh\necho no flag of that name\nexit 1\n")
    before = set(Path("/proc").glob("[0-9]*"))
    server = ApiServer(find_binaries({"KUBEBUILDER_ASSETS": str(named)}))
    with pytest.raises(Unavailable, match=r"(?s)kube-apiserver ended.*no flag of that name"), server:
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["named"]
    own = f"virtfn-api-server-{os.getpid()}-"
    left = set(Path("/proc").glob("[0-9]*")) - before
    assert not any(own in _words(path) for path in left)


def _words(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
