"""How much of a document is read where a request does not say: what the process is set to, which on a CPU is a cut."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from slimrank import Reranker
from slimrank.engine.jobs import Answer, Job
from slimrank.engine.model import Model
from slimrank.errors import InvalidRequest
from slimrank.identity import ModelIdentity
from slimrank.serving.admission import cost_of
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.gateway.schemas import parse
from slimrank.serving.queue import messages
from slimrank.serving.queue.queued_backend import _tokens_read
from slimrank.settings import CPU_DOCUMENT_TOKENS, Settings, load
from slimrank.types import RerankRequest, Scored
from tests.command import slimrank
from tests.serving.conftest import over
from tests.tiny import loaded

TOKENS = 20
SENTENCE = "Nothing of that kind is told in this sentence. "
LONG = SENTENCE * 4 + "Titan is the largest moon of Saturn. " + SENTENCE * 200
DOCUMENTS = [LONG, "a moon", SENTENCE * 6]
BODY = {"query": "largest moon", "documents": DOCUMENTS, "raw_scores": True}


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return loaded(tiny_model, document_tokens=TOKENS)


@pytest.fixture(scope="module")
def client(model: Model) -> Iterator[httpx.Client]:
    with over(EmbeddedBackend(model)) as http:
        yield http


def scores(model: Model, **job: Any) -> list[float]:
    found: list[float] = model.score(Job(RerankRequest("largest moon", DOCUMENTS), **job)).scored.scores.tolist()
    return found


def answered(client: httpx.Client, **fields: Any) -> tuple[list[float], dict[str, Any]]:
    answer = client.post("/v1/rerank", json=BODY | fields).json()
    return answer["scores"], answer["meta"]


def test_a_cpu_cuts_documents_unless_it_is_told_otherwise_and_a_gpu_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().tokens_read == CPU_DOCUMENT_TOKENS == 96
    assert [Settings(provider=provider).tokens_read for provider in ("cuda", "tensorrt")] == [0, 0]
    assert (load(document_tokens=0).tokens_read, load(document_tokens=48, provider="cuda").tokens_read) == (0, 48)
    monkeypatch.setenv("SLIMRANK_DOCUMENT_TOKENS", "64")
    assert load().tokens_read == 64


def test_a_model_that_settings_name_reads_what_they_say(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        by_default = Model.from_settings(Settings(model=tiny_model, home=tmp_path))
        both = Model.from_settings(Settings(model=tiny_model, cascade_model=tiny_model, home=tmp_path, document_tokens=9))
    assert (by_default.document_tokens, both.document_tokens) == (96, 9)
    said = [record.getMessage() for record in caplog.records if "document_tokens" in record.getMessage()]
    assert [line.split("document_tokens=")[1] for line in said] == ["96", "9"]


def test_a_request_that_does_not_say_is_read_as_the_process_is_set_and_no_document_is_named_for_it(model: Model) -> None:
    request = RerankRequest("largest moon", DOCUMENTS)
    default, asked = model.score(Job(request)), model.score(Job(request, max_document_tokens=TOKENS))
    assert default.scored.scores.tolist() == asked.scored.scores.tolist()
    assert (default.document_tokens, asked.document_tokens) == (TOKENS, 0)
    assert default.scored.truncated.tolist() == [False, False, False]
    assert asked.scored.truncated.tolist() == [True, False, True]


def test_a_request_may_ask_for_more_than_the_process_is_set_to(model: Model, tiny_model: Path) -> None:
    whole = loaded(tiny_model)
    answer = model.score(Job(RerankRequest("largest moon", DOCUMENTS), max_document_tokens=4096))
    assert answer.scored.scores.tolist() == scores(whole) == scores(model, max_document_tokens=0) != scores(model)
    assert answer.scored.truncated.tolist() == [True, False, False]  # the first is longer than the model reads
    assert answer.document_tokens == 0


def test_passages_are_read_to_the_end_and_a_window_within_the_cut(model: Model, tiny_model: Path) -> None:
    whole = loaded(tiny_model)
    assert scores(model, long_document="max_passage") == scores(whole, long_document="max_passage")
    best = [split.passages[0] for split in model.texts(Job(RerankRequest("largest moon", DOCUMENTS), document_window="best"))]
    assert "Titan" in best[0]
    assert max(Reranker.load(tiny_model, threads=1).encoder("best").count_tokens(best)) <= TOKENS


def test_an_answer_says_once_what_documents_were_cut_to(client: httpx.Client, model: Model) -> None:
    found, meta = answered(client)
    assert found == pytest.approx(scores(model), abs=1e-6)
    assert (meta["document_tokens"], meta["truncated_documents"]) == (TOKENS, [])
    assert client.get("/info").json()["document_tokens"] == TOKENS


@pytest.mark.parametrize("fields", [{"max_tokens_per_doc": 4096}, {"truncate_prompt_tokens": -1}])
def test_a_limit_that_a_client_sends_is_kept(client: httpx.Client, model: Model, fields: dict[str, int]) -> None:
    found, meta = answered(client, **fields)
    assert found == pytest.approx(scores(model, max_document_tokens=0), abs=1e-6)
    assert "document_tokens" not in meta
    assert meta["truncated_documents"] == [0]


@pytest.mark.parametrize("fields", [{"truncate": False}, {"truncate": "NONE"}, {"truncation": False}])
def test_a_request_that_wants_nothing_cut_gets_documents_read_whole(
    client: httpx.Client, model: Model, fields: dict[str, object]
) -> None:
    assert client.post("/v1/rerank", json=BODY | fields).status_code == 422
    short = {"documents": DOCUMENTS[1:]} | fields
    found, _ = answered(client, **short)
    assert found == pytest.approx(scores(model, max_document_tokens=0)[1:], abs=1e-6)


def test_formats_without_meta_are_read_alike(client: httpx.Client, model: Model) -> None:
    texts = {"query": "largest moon", "texts": DOCUMENTS, "raw_scores": True}
    found = {each["index"]: each["score"] for each in client.post("/rerank", json=texts).json()}
    assert found == pytest.approx(dict(enumerate(scores(model))), abs=1e-6)
    pair = {"text_1": "largest moon", "text_2": DOCUMENTS, "use_activation": False}
    listed = [each["score"] for each in client.post("/score", json=pair).json()["data"]]
    assert listed == pytest.approx(scores(model), abs=1e-6)


def test_what_a_worker_is_set_to_reaches_its_gateway() -> None:
    scored = Scored(np.zeros(1, dtype=np.float32), np.zeros(1, dtype=np.bool_), False, 1)
    answer = Answer(scored, ModelIdentity("m"), document_tokens=TOKENS)
    assert messages.answer_of(json.loads(messages.encode_answer("1", answer)), documents=1).document_tokens == TOKENS
    old = {name: value for name, value in json.loads(messages.encode_answer("1", answer)).items() if name != "document_tokens"}
    assert messages.answer_of(old, documents=1).document_tokens == 0
    assert messages.served_by({"model": "m", "document_tokens": 9}) == ("m", 9)
    assert messages.served_by({"model": "m"}) == ("m", 0)
    for sign in ({"model": "m", "document_tokens": "9"}, {"model": "m", "document_tokens": -1}, {"document_tokens": 9}, 9):
        with pytest.raises(ValueError, match="sign of life"):
            messages.served_by(sign)
    signs = [messages.Serves("a", 9), messages.Serves("a", 20), messages.Serves("b", 9), messages.Serves("b", 0)]
    assert _tokens_read(signs) == _tokens_read(signs[::-1]) == {"a": 20, "b": 0}


def test_the_jobs_limit_goes_to_the_worker_and_none_stays_none() -> None:
    for fields, limit in (({}, None), ({"max_tokens_per_doc": 7}, 7), ({"truncate": False}, 0)):
        job = parse({"query": "a", "documents": ["b"]} | fields, max_documents=9).job
        assert messages.decode_job(messages.encode_job(job)).max_document_tokens == limit


def test_the_cost_of_a_request_counts_only_the_text_that_is_read() -> None:
    request = RerankRequest("q", ["x" * 5000])
    whole, cut = cost_of(Job(request)), cost_of(Job(request), document_tokens=TOKENS)
    assert cut == cost_of(Job(request, max_document_tokens=TOKENS)) < whole
    assert cost_of(Job(request, max_document_tokens=0), document_tokens=TOKENS) == whole
    assert cost_of(Job(request, long_document="max_passage"), document_tokens=TOKENS) > whole


def test_the_library_and_the_command_cut_where_they_are_told(model: Model, tiny_model: Path, tmp_path: Path) -> None:
    reranker = Reranker.load(tiny_model, threads=1)
    hits = {hit.index: hit for hit in reranker.rank("largest moon", DOCUMENTS, document_tokens=TOKENS)}
    assert [hits[place].score for place in range(3)] == pytest.approx(scores(model), abs=1e-5)
    assert [hits[place].truncated for place in range(3)] == [True, False, True]
    with pytest.raises(InvalidRequest, match="document_tokens must be at least 1"):
        reranker.rank("q", ["d"], document_tokens=0)
    file = tmp_path / "documents.jsonl"
    file.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS), encoding="utf-8")
    done = slimrank("rank", file, "--query", "largest moon", "--model", tiny_model, "--document-tokens", TOKENS)
    printed = {line["index"]: line["score"] for line in map(json.loads, done.out.splitlines())}
    assert [printed[place] for place in range(3)] == pytest.approx(scores(model), abs=1e-5)
