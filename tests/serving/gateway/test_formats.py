"""Every wire format, told by its keys and read as clients really write it; bodies as public clients were recorded to send them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.gateway import schemas
from slimrank.serving.gateway.bodies import read_object
from slimrank.serving.gateway.formats.fields import Body
from slimrank.serving.gateway.keys import new_key
from slimrank.serving.gateway.openapi import BODIES
from tests.doubles import FakeScorer
from tests.serving.conftest import over

QUERY, TEXTS = "lead pipe", ["gold ring", "a lead pipe", "pipe"]
ORDER = [1, 2, 0]
PROBABILITIES = [0.993287176810978, 0.499750000008959, 0.006679568882365]
SCORES = [4.997, -0.001, -5.002]
COHERE = {"query": QUERY, "documents": TEXTS}
TEI = {"query": QUERY, "texts": TEXTS}
NVIDIA = {"model": "any", "query": {"text": QUERY}, "passages": [{"text": text} for text in TEXTS]}
MIXEDBREAD = {"model": "any", "query": QUERY, "input": TEXTS}
VLLM = {"model": "any", "text_1": QUERY, "text_2": TEXTS}
FORMATS = {"cohere": COHERE, "tei": TEI, "nvidia": NVIDIA, "mixedbread": MIXEDBREAD, "vllm": VLLM}


def post(client: httpx.Client, body: Any, path: str = "/v1/rerank") -> Any:
    answer = client.post(path, content=json.dumps(body))
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(client: httpx.Client, body: Any, path: str = "/v1/rerank") -> str:
    answer = client.post(path, content=json.dumps(body))
    assert answer.status_code == 422, answer.text
    message: str = answer.json()["message"]
    return message


def order_of(answer: Any) -> list[int]:
    """Return the places of an answer's results, whatever its format."""
    if isinstance(answer, list):
        return [result["index"] for result in answer]
    if answer.get("object") == "list" and answer["data"][0].get("object") == "score":
        return sorted(range(len(answer["data"])), key=lambda place: -answer["data"][place]["score"])
    results = answer.get("results") or answer.get("rankings") or answer["data"]
    return [result["index"] for result in results]


def parsed(body: Any) -> Any:
    return schemas.parse(read_object(json.dumps(body).encode(), max_documents=100), max_documents=100)


# -- which format ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["documents", "texts", '"documents"', 'a "texts": b', "passages", "input", "text_1"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_keys_of_a_body_decide_and_never_a_word_in_its_texts(client: httpx.Client, name: str, word: str) -> None:
    told = json.loads(json.dumps(FORMATS[name]).replace(QUERY, json.dumps(word)[1:-1]))
    assert type(post(client, told)) is type(post(client, FORMATS[name]))
    plain = {"query": word, "texts": ["a"]}
    assert [result["index"] for result in post(client, plain)] == [0]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/v1/reranking", "/v1/ranking", "/score", "/v1/score"])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_route_takes_every_format_and_a_slash_too_much(client: httpx.Client, path: str, slash: str, name: str) -> None:
    assert order_of(post(client, FORMATS[name], path + slash)) == ORDER


def test_the_answer_in_each_format(client: httpx.Client) -> None:
    usage = {"prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}
    assert post(client, TEI) == [{"index": i, "score": value} for i, value in zip(ORDER, PROBABILITIES, strict=True)]
    assert post(client, NVIDIA, "/v1/ranking") == {
        "rankings": [{"index": i, "logit": pytest.approx(score, abs=1e-5)} for i, score in zip(ORDER, SCORES, strict=True)],
        "model": "fake",
        "usage": usage,
    }
    assert post(client, MIXEDBREAD | {"top_k": 2, "return_input": True}, "/v1/reranking") == {
        "object": "list",
        "model": "fake",
        "data": [
            {"index": i, "score": value, "object": "rank_result", "input": TEXTS[i]}
            for i, value in zip(ORDER[:2], PROBABILITIES[:2], strict=True)
        ],
        "usage": usage,
        "top_k": 2,
        "return_input": True,
    }
    scores = post(client, VLLM, "/v1/score")
    in_order = [PROBABILITIES[2], PROBABILITIES[0], PROBABILITIES[1]]
    assert scores.pop("id")
    assert scores == {
        "object": "list",
        "model": "fake",
        "data": [{"index": place, "object": "score", "score": value} for place, value in enumerate(in_order)],
        "usage": usage,
    }


@pytest.mark.parametrize("word", [{"truncation": True}, {"top_k": 3}], ids=["truncation", "top_k"])
def test_voyages_words_are_answered_with_voyages_list_too(client: httpx.Client, word: dict[str, Any]) -> None:
    answer = post(client, COHERE | word | {"return_documents": True})
    assert answer["object"] == "list"
    assert [result["index"] for result in answer["data"]] == ORDER == [result["index"] for result in answer["results"]]
    assert answer["data"][0] == {"index": 1, "relevance_score": PROBABILITIES[0], "document": "a lead pipe"}
    assert answer["results"][0]["document"] == {"text": "a lead pipe"}
    assert "data" not in post(client, COHERE)


@pytest.mark.parametrize(
    "names", [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")], ids=lambda n: n[0]
)
@pytest.mark.parametrize("query", [QUERY, [QUERY], [QUERY] * 3], ids=["text", "list", "repeated"])
def test_vllms_two_sides_have_four_names(client: httpx.Client, names: tuple[str, str], query: Any) -> None:
    assert order_of(post(client, {names[0]: query, names[1]: TEXTS}, "/score")) == ORDER
    assert len(post(client, {names[0]: query if isinstance(query, str) else query[:1], names[1]: "pipe"}, "/score")["data"]) == 1


def test_many_queries_of_vllms_are_refused_in_words(client: httpx.Client) -> None:
    assert "one query; send a request for each" in refusal(client, {"text_1": ["a", "b"], "text_2": ["c", "d"]}, "/score")
    assert "text_1 has 2 texts for 3 of text_2" in refusal(client, {"text_1": ["a", "a"], "text_2": ["b", "c", "d"]}, "/score")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"query": "q", "texts": "a"}, "texts should be a valid array, found a string"),
        ({"texts": ["a"]}, "query is missing; send an object with `query` and `texts`"),
        ({"query": "q", "passages": [{"body": "a"}]}, "passages.0 has none of the fields text"),
        ({"passages": [{"text": "a"}]}, "send an object with `query` and `passages`"),
        ({"query": "q", "input": ["a", 7]}, "input.1 should be a valid string, found a number (7)"),
        ({"text_1": "q"}, "text_2 is missing; send an object with `text_1` and `text_2`"),
        ({"text_1": "q", "text_2": [7]}, "text_2.0 should be a valid string"),
        ({"query": "q", "documents": [{"text": 7}]}, "documents.0.text should be a valid string, found a number (7)"),
    ],
)
def test_a_refusal_speaks_of_the_callers_own_fields(client: httpx.Client, body: Any, words: str) -> None:
    assert words in refusal(client, body)


@pytest.mark.parametrize("name", ["documents", "texts", "passages", "input", "text_2", "items"])
def test_too_many_documents_are_counted_in_every_format(name: str) -> None:
    first = {"text_2": "text_1", "items": "queries"}.get(name, "query")
    with pytest.raises(schemas.InvalidRequest, match=f"101 {name} are too many") as refused:
        parsed({first: "q", name: ["a"] * 101})
    assert refused.value.status == 413


# -- what harms nobody -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_null_is_a_field_left_out(body: type[Body]) -> None:
    fields = next(given for given in FORMATS.values() if schemas.body_of_keys(given) is body)
    nulls = {name: None for name, field in body.model_fields.items() if not field.is_required()}
    left_out, sent = parsed(fields), parsed({name: None for name in nulls} | fields)
    assert len(nulls) > 15
    for name in ("job", "top_n", "raw_scores", "returned", "must_fit", "deadline_ms", "on_failure", "first_stage_ranks"):
        assert getattr(sent, name) == getattr(left_out, name), name


@pytest.mark.parametrize("true", [True, "true", "True", "TRUE", "1", 1, 1.0], ids=repr)
@pytest.mark.parametrize("false", [False, "false", "False", "0", 0, 0.0], ids=repr)
def test_a_flag_is_one_however_it_is_written(true: Any, false: Any) -> None:
    assert parsed(COHERE | {"raw_scores": true, "return_documents": false}).raw_scores
    asked = parsed(COHERE | {"raw_scores": false, "return_documents": true, "first_stage_order": true})
    assert (asked.raw_scores, asked.returned, list(asked.first_stage_ranks)) == (False, TEXTS, [1, 2, 3])


@pytest.mark.parametrize("two", [2, 2.0, "2", "02"], ids=repr)
def test_a_count_is_one_however_it_is_written(two: Any) -> None:
    call = parsed(
        COHERE
        | {name: two for name in ("top_n", "depth", "deadline_ms", "max_tokens_per_doc")}
        | {"first_stage_ranks": [two] * 3}
    )
    assert (call.top_n, call.job.depth, call.deadline_ms, call.job.max_document_tokens) == (2, 2, 2, 2)
    assert call.first_stage_ranks == [2, 2, 2]


@pytest.mark.parametrize("value", [True, 1.5, "1.5", "two", "", 0, -1, [1], 10**30, "9" * 19], ids=repr)
def test_what_could_mean_two_things_is_no_count(client: httpx.Client, value: Any) -> None:
    assert "top_n should be" in refusal(client, COHERE | {"top_n": value})


@pytest.mark.parametrize("value", [2, -1, "yes", "", [], 0.5], ids=repr)
def test_what_could_mean_two_things_is_no_flag(client: httpx.Client, value: Any) -> None:
    assert "raw_scores should be a valid boolean" in refusal(client, COHERE | {"raw_scores": value})


@pytest.mark.parametrize(("priority", "taken"), [(0, "query"), (999, "query"), (-5, "query"), ("7", "query"), ("audit", "audit")])
def test_cohere_s_number_for_a_priority_is_taken_beside_our_words(priority: Any, taken: str) -> None:
    assert parsed(COHERE | {"priority": priority}).job.priority == taken


def test_a_priority_that_is_neither_is_refused(client: httpx.Client) -> None:
    assert "priority should be 'query' or 'audit'" in refusal(client, COHERE | {"priority": "high"})


def test_a_query_may_be_an_object_with_a_text(client: httpx.Client) -> None:
    assert order_of(post(client, COHERE | {"query": {"text": QUERY}})) == ORDER
    assert "query should be a valid string, found an object" in refusal(client, COHERE | {"query": {"image": "x"}})


def test_top_k_is_top_n_in_every_format(client: httpx.Client) -> None:
    for name, body in FORMATS.items():
        if name != "vllm":  # whose answer is a score for each text
            assert order_of(post(client, body | {"top_k": 2})) == ORDER[:2], name
            assert order_of(post(client, body | {"top_n": 1, "top_k": 2})) == ORDER[:1], name


def test_vllms_words_for_raw_scores_and_for_a_limit_are_honoured(client: httpx.Client) -> None:
    assert post(client, COHERE | {"use_activation": False})["results"][0]["relevance_score"] == pytest.approx(SCORES[0], abs=1e-5)
    assert parsed(COHERE | {"truncate_prompt_tokens": 7, "max_tokens_per_doc": 9}).job.max_document_tokens == 7
    assert parsed(COHERE | {"truncate_prompt_tokens": -1}).job.max_document_tokens == 0, "the model's own limit, not the server's"


# -- fields of documents -----------------------------------------------------------------------------------------------

ODD_NAMES = [
    "copy",
    "json",
    "schema",
    "dict",
    "model_fields",
    "model_dump",
    "model_config",
    "__class__",
    "__dict__",
    "keys",
    "text",
]


@pytest.mark.parametrize("key", ["documents", "input"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_rank_fields_are_the_documents_own_keys_whatever_they_are_called(client: httpx.Client, key: str, name: str) -> None:
    documents = [{name: text, "other": "lead pipe"} for text in TEXTS]
    assert order_of(post(client, {"query": QUERY, key: documents, "rank_fields": [name]})) == ORDER
    missing = {"query": QUERY, key: [{"other": "pipe"}], "rank_fields": [name]}
    assert f"{key}.0 has none of the fields {name}" in refusal(client, missing)


@pytest.mark.parametrize(("key", "flag"), [("documents", "return_documents"), ("input", "return_input")])
def test_a_document_comes_back_as_it_was_sent(client: httpx.Client, key: str, flag: str) -> None:
    sent = [
        {
            "title": "lead",
            "body": "pipe",
            "price": 1e300,
            "tiny": 1.25e-20,
            "big": 10**25,
            "tags": ["a", {"deep": None}],
            "é": "ü",
        },
        {"title": "gold"},
    ]
    answer = post(client, {"query": QUERY, key: sent, "rank_fields": ["title", "body"], flag: True})
    results = answer.get("results") or answer["data"]
    assert [result[key.removesuffix("s")] for result in results] == sent


def test_a_value_that_is_not_a_number_comes_back_as_null(client: httpx.Client) -> None:
    body = '{"query": "q", "documents": [{"text": "a", "price": NaN}], "return_documents": true}'
    answer = client.post("/v1/rerank", content=body)
    assert json.loads(answer.text, parse_constant=pytest.fail)["results"][0]["document"] == {"text": "a", "price": None}


# -- what is cut -------------------------------------------------------------------------------------------------------

LONG = "word " * 300


@pytest.mark.parametrize(
    "field",
    [{"truncation_direction": "Left"}, {"truncation_direction": "left"}, {"truncation_side": "left"}, {"truncate": "START"}],
)
@pytest.mark.parametrize("name", FORMATS)
def test_cutting_at_the_start_is_refused_and_not_ignored(client: httpx.Client, field: dict[str, str], name: str) -> None:
    assert "documents are cut at their end only" in refusal(client, FORMATS[name] | field)


@pytest.mark.parametrize(
    "field", [{"truncation_direction": "Right"}, {"truncation_side": "right"}, {"truncate": "END"}, {"truncate": True}]
)
def test_a_request_to_cut_at_the_end_is_accepted(client: httpx.Client, field: dict[str, Any]) -> None:
    assert post(client, COHERE | {"documents": [LONG, "pipe"]} | field)["meta"]["truncated_documents"] == [0]


@pytest.mark.parametrize("field", [{"truncate": False}, {"truncate": "NONE"}, {"truncate": "none"}, {"truncation": False}])
def test_where_nothing_may_be_cut_a_long_document_is_an_error(client: httpx.Client, field: dict[str, Any]) -> None:
    assert order_of(post(client, COHERE | field)) == ORDER
    words = refusal(client, COHERE | field | {"documents": ["pipe", LONG, LONG], "first_stage_ranks": [3, 2, 1]})
    assert words.startswith("document 1 and 1 more are longer than the model reads")
    soft = COHERE | field | {"documents": [LONG], "on_failure": "first_stage"}
    assert "document 0 is longer" in refusal(client, soft)


# -- routes that are asked before --------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_models_are_listed_for_whoever_asks_before_reranking(client: httpx.Client, slash: str) -> None:
    listed = client.get(f"/v1/models{slash}").json()
    (model,) = listed["data"]
    assert (listed["object"], model["id"], model["object"], model["owned_by"]) == ("list", "fake", "model", "slimrank")
    assert isinstance(model["created"], int)
    for name in ("fake", "whatever/it-is called"):  # one model answers to any name
        described = client.get(f"/v1/models/{name}{slash}").json()
        assert (described["id"], described["model_type"]) == ("fake", "rerank")


def test_info_says_that_this_is_a_reranker(client: httpx.Client) -> None:
    info = client.get("/info").json()
    assert (info["model_id"], list(info["model_type"])) == ("fake", ["reranker"])
    assert info["max_client_batch_size"] == 10_000


@pytest.mark.parametrize("path", ["/v1/rerank/", "/healthz/", "/readyz/", "/info/"])
def test_a_slash_too_much_is_no_redirect(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json=COHERE) if "rerank" in path else client.get(path)
    assert answer.status_code == 200
    assert client.get("/nothing/").status_code == 404


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """Yield a client of a gateway with keys, and a key for each of: all models, none of ours, once a minute."""
    made = {name: new_key(name) for name in ("all", "other", "seldom")}
    entries = [
        made["all"][1],
        made["other"][1].model_copy(update={"models": ["another"]}),
        made["seldom"][1].model_copy(update={"requests_per_minute": 1}),
    ]
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [entry.model_dump(exclude_none=True) for entry in entries]}))
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer())), api_keys_file=path) as client:
        yield client, {name: f"Bearer {key}" for name, (key, _) in made.items()}


def test_a_caller_with_a_key_gets_the_list_of_models(guarded: tuple[httpx.Client, dict[str, str]]) -> None:
    client, keys = guarded
    for path in ("/info", "/v1/models", "/v1/models/fake"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"authorization": keys["all"]}).status_code == 200
    other = {"authorization": keys["other"]}
    assert client.get("/v1/models", headers=other).json()["data"] == []
    assert [client.get(path, headers=other).status_code for path in ("/info", "/v1/models/fake")] == [403, 403]


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_before_the_body_is_read_has_words_for_every_format(
    guarded: tuple[httpx.Client, dict[str, str]], name: str
) -> None:
    client, keys = guarded
    seldom = {"authorization": keys["seldom"]}
    assert client.post("/rerank", json=FORMATS[name], headers=seldom).status_code == 200
    unknown, often = client.post("/rerank", json=FORMATS[name]), client.post("/rerank", json=FORMATS[name], headers=seldom)
    assert (unknown.status_code, often.status_code) == (401, 429)
    for answer, kind in ((unknown, "Unauthorized"), (often, "Overloaded")):
        body = answer.json()
        assert body["message"] == body["detail"] == body["error"] != ""
        assert body["error_type"] == kind
