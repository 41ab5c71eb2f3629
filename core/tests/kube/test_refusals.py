"""Refusals: the kind of error, and that nothing in a body can break the reading of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn import errors
from virtfn.kube.refusals import read_status, refusal, retry_after


@pytest.mark.parametrize(
    ("code", "word", "kind", "retryable"),
    [
        (400, "BadRequest", errors.InvalidObject, False),
        (401, "Unauthorized", errors.Unauthorized, True),
        (403, "Forbidden", errors.Forbidden, False),
        (404, "NotFound", errors.NotFound, True),
        (409, "Conflict", errors.Conflict, True),
        (409, "AlreadyExists", errors.AlreadyExists, True),
        (410, "Gone", errors.Gone, True),
        (410, "Expired", errors.Gone, True),
        (415, "UnsupportedMediaType", errors.InvalidObject, False),
        (422, "Invalid", errors.InvalidObject, False),
        (429, "TooManyRequests", errors.TooManyRequests, True),
        (500, "InternalError", errors.Unavailable, True),
        (503, "ServiceUnavailable", errors.Unavailable, True),
        (504, "Timeout", errors.Unavailable, True),
        (302, "", errors.ClusterError, True),
    ],
)
def test_each_code_is_an_error_of_its_own(code: int, word: str, kind: type, retryable: bool) -> None:
    status = {"kind": "Status", "reason": word, "message": "because"}
    error = refusal(status, code=code, subject="pods x/p", verb="GET")
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.status == code
    assert error.subject == "pods x/p"
    assert str(error).startswith("pods x/p: GET ")
    assert "(because; " in str(error)


def test_long_words_are_cut() -> None:
    assert len(str(refusal({}, code=502, subject="pods", verb="GET", body=b"x" * 100_000))) < 1300


@given(body=st.binary(max_size=40) | st.sampled_from([b'{"kind":"Status","details":3}', b'{"kind":"Status"}', b"[]"]))
def test_no_body_breaks_it(body: bytes) -> None:
    for code in (404, 409, 422, 429, 500):
        assert refusal(read_status(body), code=code, subject="pods", verb="GET", body=body).status == code


@given(
    st.dictionaries(
        st.sampled_from(["reason", "message", "details", "code"]),
        st.none() | st.integers() | st.lists(st.none() | st.text() | st.dictionaries(st.just("field"), st.none())),
    )
)
def test_no_status_breaks_it(status: dict[str, object]) -> None:
    for code in (404, 409, 422, 429, 500):
        refusal(status, code=code, subject="pods", verb="GET")
        refusal({"details": status, **status}, code=code, subject="pods", verb="GET")


@pytest.mark.parametrize(("value", "seconds"), [("3", 3.0), (" 10 ", 10.0), ("", None), ("soon", None), ("-1", None)])
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}) == seconds
    assert retry_after({}) is None
