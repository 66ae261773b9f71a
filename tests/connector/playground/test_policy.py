import pytest

from connector.playground.policy import Policy
from slimrank.serving.gateway.browsers import is_same_origin

HERE = {"host": "localhost:8090"}


def test_a_visitor_at_this_machine_may_name_an_index() -> None:
    assert Policy("127.0.0.1").may_name_index(client="127.0.0.1", headers=HERE)
    assert Policy("::1").may_name_index(client="::1", headers={"host": "[::1]:8090"})


@pytest.mark.parametrize(
    ("listens_on", "client", "headers"),
    [
        ("0.0.0.0", "127.0.0.1", HERE),
        ("127.0.0.1", "10.0.0.7", HERE),
        ("127.0.0.1", None, HERE),
        ("127.0.0.1", "127.0.0.1", {"host": "evil.example:8090"}),
        ("127.0.0.1", "127.0.0.1", {"host": "127.0.0.1.evil.example"}),
        ("127.0.0.1", "127.0.0.1", HERE | {"x-forwarded-for": "10.0.0.7"}),
        ("127.0.0.1", "127.0.0.1", {}),
    ],
)
def test_other_visitors_may_not_name_an_index(listens_on: str, client: str | None, headers: dict[str, str]) -> None:
    assert not Policy(listens_on).may_name_index(client=client, headers=headers)


def test_the_operator_can_allow_everyone_to_name_an_index() -> None:
    policy = Policy("0.0.0.0", own_index_for_all=True)
    assert policy.may_name_index(client="10.0.0.7", headers={"host": "search.example"})


def test_on_a_loopback_address_only_requests_to_loopback_names_are_answered() -> None:
    assert Policy("127.0.0.1").is_our_name(HERE)
    assert not Policy("127.0.0.1").is_our_name({"host": "rebound.example:8090"})
    assert Policy("0.0.0.0").is_our_name({"host": "search.example"})


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({}, True),
        ({"host": "localhost:8090", "origin": "http://localhost:8090", "sec-fetch-site": "same-origin"}, True),
        ({"host": "localhost:8090", "origin": "http://evil.example"}, False),
        ({"host": "localhost:8090", "origin": "null"}, False),
        ({"host": "localhost:8090", "sec-fetch-site": "cross-site"}, False),
        ({"host": "localhost:8090", "sec-fetch-site": "same-site"}, False),
    ],
)
def test_requests_from_other_sites_are_recognised(headers: dict[str, str], is_ours: bool) -> None:
    assert is_same_origin(headers) is is_ours
