"""Every error that a caller can meet has its place in the one table."""

from slimrank import errors
from slimrank.serving.gateway.answers import error_body
from slimrank.serving.gateway.failures import failure_of


def all_of(kind: type[Exception]) -> set[type[Exception]]:
    """Return a kind and those below it that any process may meet; other packages have errors of their own."""
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return {kind}.union(*map(all_of, children))


def test_every_scoring_error_has_a_status_of_its_own() -> None:
    kinds = all_of(errors.ScoringError) | {errors.InvalidRequest}
    assert len({failure_of(kind("x")).status for kind in kinds}) == len(kinds)
    assert all(failure_of(kind("why")).message == "why" for kind in kinds)


def test_other_errors_say_nothing_of_their_cause() -> None:
    failure = failure_of(KeyError("/etc/secret"))
    assert failure.status == 500
    assert "secret" not in failure.message


def test_every_kind_of_failure_has_a_body_that_callers_of_each_format_read() -> None:
    for kind in all_of(errors.ScoringError) | {errors.InvalidRequest, KeyError}:
        failure = failure_of(kind("x"))
        body = error_body(failure, request_id="1")
        assert body["message"] == body["detail"] == body["error"] == failure.message
        assert body["type"] == failure.kind
        assert body["error_type"] in ("Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Unauthorized")
