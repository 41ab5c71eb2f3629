"""Requests without a client that would mend what is broken: for tests of what comes over the wire."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kube.bed.server import ADMIN

PATIENCE = 30.0


@contextmanager
def opened(
    url: str,
    target: str,
    *,
    method: str = "GET",
    content: object = None,
    ca_file: Path | None = None,
    timeout: float = PATIENCE,
) -> Iterator[HTTPResponse]:
    """An answer as it comes, asked for by the admin. `timeout` (in seconds) is for each read, too."""
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "https":
        trust = ssl.create_default_context(cafile=str(ca_file))
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout, context=trust
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    headers = {"Authorization": f"Bearer {ADMIN.token}", "Content-Type": "application/json", "User-Agent": "bed/1"}
    try:
        connection.request(method, target, None if content is None else json.dumps(content), headers)
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def config_maps(namespace: str, **query: object) -> str:
    """Path and query for the config maps of a namespace: `config_maps("default", watch="true")`."""
    words = "&".join(f"{key}={value}" for key, value in query.items())
    return f"/api/v1/namespaces/{namespace}/configmaps?{words}"


def config_map(name: str, **data: str) -> dict[str, Any]:
    """A config map to be created."""
    return {"metadata": {"name": name}, "data": data}


def names(lines: list[bytes]) -> list[str]:
    """Names of the objects in some lines of a watch."""
    events = [json.loads(line) for line in lines]
    assert "ERROR" not in {event["type"] for event in events}, events
    return [event["object"]["metadata"]["name"] for event in events]
