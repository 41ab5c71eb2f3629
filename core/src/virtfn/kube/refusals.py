"""What the API server says when it says no, as an error of our tree that names the object and what to do.

The body of a refusal is a `Status` object (API conventions, "Response Status Kind"); a proxy in between may answer with
anything, so nothing here trusts the body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from virtfn.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    EvictionBlocked,
    Forbidden,
    Gone,
    InvalidObject,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)

LONGEST_QUOTE = 1000
"""Characters of the server's own words that go into a message."""


def read_status(data: bytes) -> Mapping[str, Any]:
    """The body as a `Status`, or an empty one if it is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of the header `Retry-After`; None where it is absent or a date, which no API server sends."""
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isascii() and value.isdigit() else None


def causes_of(status: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """`details.causes`: each with `field`, `reason` and `message`, where given."""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    return tuple(cause for cause in causes or () if isinstance(cause, Mapping)) if isinstance(causes, list) else ()


def refusal(
    status: Mapping[str, Any], *, code: int, subject: str, verb: str, body: bytes = b"", wait: float | None = None
) -> ClusterError:
    """The error for an answer of HTTP code `code` (or for an ERROR event of a watch, which carries the same `Status`).

    :param subject: the object, as `Resource.subject` names it.
    :param verb: what was tried, for the message.
    :param body: the raw answer, quoted where it is no `Status`.
    :param wait: what `Retry-After` said, in seconds.
    """
    word = status.get("reason") or ""
    said = str(status.get("message") or body.decode("utf-8", "replace").strip() or f"HTTP {code}")[:LONGEST_QUOTE]

    def message(what: str, *, advice: str) -> str:
        return f"{subject}: {verb} {what} ({said}; {advice})"

    if code == 404:
        advice = "create it, or install its CRD, if it should be there"
        return NotFound(message("found nothing", advice=advice), subject=subject, status=code)
    if code == 409 and word == "AlreadyExists":
        advice = "read it and change it instead"
        return AlreadyExists(message("found another one", advice=advice), subject=subject, status=code)
    if code == 409:
        advice = "read it again and decide again"
        return Conflict(message("came too late", advice=advice), subject=subject, status=code)
    if code == 401:
        advice = "check the token or certificate, and the clock of this machine"
        return Unauthorized(message("was not let in", advice=advice), subject=subject, status=code)
    if code == 403:
        advice = "give the service account a role that allows it, or ask who wrote the admission policy"
        return Forbidden(message("is not allowed", advice=advice), subject=subject, status=code)
    if code == 410 or word == "Expired":
        advice = "list again"
        return Gone(message("asked for something too old", advice=advice), subject=subject, status=code)
    budgets = [cause for cause in causes_of(status) if cause.get("reason") == "DisruptionBudget"]
    if code == 429 and budgets:
        # Only the causes name the budget.
        named = "; ".join(str(cause["message"]) for cause in budgets if cause.get("message"))[:LONGEST_QUOTE]
        advice = f"{named}; " * bool(named) + "it is tried again when other pods are ready"
        text = message("is held up by a disruption budget", advice=advice)
        return EvictionBlocked(text, subject=subject, status=code, retry_after=wait)
    if code == 429:
        text = message("was put off", advice="try later; a priority level of its own helps if this is frequent")
        return TooManyRequests(text, subject=subject, status=code, retry_after=wait)
    if code in (400, 405, 406, 413, 415, 422):
        causes = tuple((str(cause.get("field", "")), str(cause.get("message", ""))) for cause in causes_of(status))
        text = message("was refused", advice="the object or the request must change")
        return InvalidObject(text, subject=subject, status=code, causes=causes)
    if code >= 500:
        text = message("failed on the server", advice="it is tried again; look at the API server's log if this stays")
        return Unavailable(text, subject=subject, status=code, retry_after=wait)
    text = message(f"was answered with HTTP {code}", advice="check the server's address and what is in between")
    return ClusterError(text, subject=subject, status=code)
