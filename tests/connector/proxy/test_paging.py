"""All pages of a search are cut from one order, even if the scorer scores another number of hits each time."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.connector.proxy.conftest import RunningProxy
from tests.connector.proxy.searches import SEARCH, best_first, ids, many


def page(proxy: RunningProxy, start: int, size: int = 3) -> list[int]:
    return ids(proxy.search({**SEARCH, "from": start, "size": size}))


def test_ten_pages_under_a_deadline_show_every_hit_once(proxy: RunningProxy) -> None:
    walked: list[int] = []
    for place in range(10):
        proxy.scorer.depth = 4 + 5 * (place % 3)
        walked += page(proxy, 3 * place)
    assert sorted(walked) == list(range(30))
    assert walked == [3, 2, 1, 0, *range(4, 30)]  # the order of the first page
    assert len(proxy.scorer.asked) == 1


def test_pages_requested_at_the_same_time_share_one_order(proxy: RunningProxy) -> None:
    proxy.scorer.seconds = 0.2
    with ThreadPoolExecutor(6) as pool:
        walked = [each for found in pool.map(lambda place: page(proxy, 3 * place), range(6)) for each in found]
    assert walked == best_first(20)[:18]
    assert len(proxy.scorer.asked) == 1


def test_if_the_first_page_was_not_reranked_later_pages_are_not_either_and_say_so(proxy: RunningProxy) -> None:
    proxy.scorer.is_down = True
    first = page(proxy, 0)
    proxy.scorer.is_down = False
    second = proxy.search({**SEARCH, "from": 3, "size": 3})
    assert first + ids(second) == list(range(6))
    assert second.headers["x-slimrank"].startswith("degraded; reason=first page not reranked: ")
    assert page(proxy, 0) + page(proxy, 3) == best_first(20)[:6]  # a new search tries again


def test_the_order_of_shown_pages_is_kept_if_the_scorer_goes_down(proxy: RunningProxy) -> None:
    first = page(proxy, 0)
    proxy.scorer.is_down = True
    assert first + page(proxy, 3) == best_first(20)[:6]


def test_another_query_or_document_gives_another_window(proxy: RunningProxy) -> None:
    page(proxy, 0)
    page(proxy, 3)
    proxy.search({"query": {"match": {"body": "shoe"}}, "from": 3})
    proxy.search({**SEARCH, "from": 3, "_source": ["title"]})
    assert [query for query, _, _ in proxy.scorer.asked] == ["red", "shoe"]


@pytest.mark.parametrize(("depth", "said"), [(None, "20/20"), (4, "4/20")])
def test_a_header_says_how_many_of_the_hits_were_scored(proxy: RunningProxy, depth: int | None, said: str) -> None:
    proxy.scorer.depth = depth
    assert proxy.search(SEARCH).headers["x-slimrank-scored"] == said


def test_partially_scored_searches_are_counted(proxy: RunningProxy) -> None:
    proxy.search(SEARCH)
    proxy.scorer.depth = 4
    proxy.search({"query": {"match": {"body": "shoe"}}})
    assert proxy.metric('slimrank_proxy_partial_total{rule="products"} 1.0')


def test_the_header_of_many_searches_has_an_entry_for_each(proxy: RunningProxy) -> None:
    proxy.scorer.depth = 4
    answer = many(proxy, {"index": "products"}, SEARCH, {"index": "other"}, SEARCH)
    assert answer.headers["x-slimrank-scored"] == "4/20, -"


def test_a_search_that_is_not_reranked_has_no_such_header(proxy: RunningProxy) -> None:
    proxy.scorer.is_down = True
    assert "x-slimrank-scored" not in proxy.search(SEARCH).headers
    assert "x-slimrank-scored" not in proxy.search(SEARCH, "/other/_search").headers
