import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.proxy.splice import apply, find_hits, reordered, without_extension

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
HITS = st.lists(
    st.fixed_dictionaries({"_id": st.text(), "_score": st.floats(0, 10), "_source": st.dictionaries(st.text(), VALUES)}),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)  # the machine may be busy
@given(HITS, st.randoms(use_true_random=False), st.sampled_from([None, 2]), st.booleans())
def test_any_answer_is_reordered_like_by_parsing_and_writing_it_again(
    hits: list, random: object, indent: int | None, ascii: bool
) -> None:
    answer = {"took": 1, "hits": {"total": {"value": 9}, "max_score": 1.0, "hits": hits}, "aggregations": {"hits": [1]}}
    text = json.dumps(answer, indent=indent, ensure_ascii=ascii)
    found = find_hits(text)
    assert found is not None
    places = list(range(len(hits)))
    random.shuffle(places)  # type: ignore[attr-defined]
    scores = [place / 8 for place in range(len(hits))]
    expected = json.loads(text)
    expected["hits"]["hits"] = [
        {**hits[place], "_score": scores[place], "_first_stage_score": hits[place]["_score"], "_first_stage_rank": place + 1}
        for place in places
    ]
    expected["hits"]["max_score"] = max(scores)
    assert json.loads(apply(text, reordered(text, found, places, scores, shows_first_stage=True))) == expected


@pytest.mark.parametrize(
    ("hit", "left"),
    [
        ('{"fields":{"a":[1]},"_id":"1"}', '{"_id":"1"}'),
        ('{"_id":"1","fields":{"a":[1]}}', '{"_id":"1"}'),
        ('{"_id":"1" , "fields" : {"a":[1]} , "z":2}', '{"_id":"1" , "z":2}'),
        ('{"fields":{"a":[1]}}', "{}"),
        ('{"fields":{"b":[1.10],"a":[1],"c":[2]}}', '{"fields":{"b":[1.10],"c":[2]}}'),
        ('{"fields":{"b":[1.10]}}', '{"fields":{"b":[1.10]}}'),
        ('{"fields":{"a":[1]},"highlight":{"a":["x"]},"z":1}', '{"z":1}'),
        ('{"_id":"1","fields":{"a":[1]},"highlight":{"a":["x"]}}', '{"_id":"1"}'),
        ('{"fields":{"a":[1]},"y":1,"highlight":{"a":["x"],"b":["y"]}}', '{"y":1,"highlight":{"b":["y"]}}'),
        ('{"a":1,"fields":{"a":[1]},"highlight":{"a":["x"]},"z":1.10}', '{"a":1,"z":1.10}'),
        ('{"fields":{"seller":[{"name":["x"]}],"sell":[1]}}', '{"fields":{"sell":[1]}}'),
    ],
)
def test_only_added_fields_are_removed(hit: str, left: str) -> None:
    text = '{"hits":{"hits":[' + hit + "]}}"
    found = find_hits(text)
    assert found is not None
    assert (
        apply(text, reordered(text, found, [0], None, {"fields": ["a", "seller.name"], "highlight": ["a"]}))
        == '{"hits":{"hits":[' + left + "]}}"
    )


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ('{"a":1,"ext":{"slimrank":{}}}', '{"a":1}'),
        ('{"ext":{"slimrank":{}},"a":1.10}', '{"a":1.10}'),
        ('{"ext":{"slimrank":{}}}', "{}"),
        ('{"ext":{"slimrank":{},"b":1}}', '{"ext":{"b":1}}'),
        ('{"ext":{"b":1,"slimrank":{}}}', '{"ext":{"b":1}}'),
        ('{ "ext" : {"b":1 , "slimrank" : [] , "c":2} }', '{ "ext" : {"b":1 , "c":2} }'),
        ('{"ext":3}', '{"ext":3}'),
        ('{"a":{"ext":{"slimrank":{}}}}', '{"a":{"ext":{"slimrank":{}}}}'),
    ],
)
def test_only_our_extension_is_removed(body: str, left: str) -> None:
    assert without_extension(body) == left


@pytest.mark.parametrize("text", ["", "{", "[]", '{"hits"}', '{"hits":{"hits":[{]}}', "{" * 100_000, '{"hits":' * 50_000])
def test_a_text_that_is_not_an_answer_is_refused_or_has_no_hits(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert find_hits(text) is None
