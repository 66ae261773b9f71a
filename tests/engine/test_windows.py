"""The best window of a document is the one that shares most with the query, whole sentences at no more tokens than its head."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from connector.gateway_client import GatewayScorer
from slimrank import Reranker
from slimrank.engine.jobs import Job
from slimrank.engine.model import Model
from slimrank.engine.window_scorer import WindowScorer
from slimrank.engine.windows import MOST_CHARACTERS, windows
from slimrank.errors import InvalidRequest
from slimrank.evaluation import beir
from slimrank.serving.gateway.schemas import parse
from slimrank.serving.queue.messages import decode_job, encode_job
from slimrank.types import RerankRequest
from tests.command import slimrank
from tests.tiny import loaded

FILLER = "Nothing of that kind is told in this sentence. "
LONG = FILLER * 30 + "Titan is the largest moon of Saturn. " + FILLER * 30


def by_words(texts: Sequence[str], most: int) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """Cut texts to a number of words, as the model's cutter does to tokens."""
    words = [text[: most * 24].split(" ") for text in texts]
    return [" ".join(each[:most]) for each in words], np.array([len(each) > most for each in words], dtype=np.bool_)


def window(query: str, documents: list[str], most: int = 20) -> list[str]:
    return windows(query, documents, most, by_words)[0]


def test_it_begins_where_the_query_is_spoken_of_and_holds_whole_sentences() -> None:
    (found,) = window("largest moon", [LONG])
    assert found.startswith("Titan is the largest moon of Saturn. ") or "moon of Saturn. " in found
    assert found.endswith(". ")
    assert len(found.split()) <= 20


def test_words_count_by_their_stems() -> None:
    assert "Titan" in window("the moons", [LONG])[0]


def test_a_document_that_shares_nothing_or_fits_keeps_its_head() -> None:
    head = by_words([LONG], 20)[0]
    assert window("knitting", [LONG]) == head
    assert window("the of is", [LONG]) == head
    assert window("largest moon", ["A moon. A largest one."]) == ["A moon. A largest one."]


def test_a_short_first_line_stays_in_front() -> None:
    (found,) = window("largest moon", ["Planets\n" + LONG])
    assert found.startswith("Planets\n")
    assert "Titan is the largest moon" in found
    assert len(found.split(" ")) <= 20


def test_what_few_documents_hold_weighs_more_than_what_all_hold() -> None:
    common, rare = "Saturn and Saturn. ", "Here is Titan. "
    documents = [FILLER * 3 + common * 2 + FILLER * 5 + rare + FILLER * 3, *[FILLER * 9 + common] * 8]
    assert "Titan" in window("saturn titan", documents, 12)[0]
    alone = window("saturn", documents, 12)[0]
    assert "Saturn" in alone


def test_it_does_not_depend_on_which_documents_are_read_with_it() -> None:
    documents = [LONG.replace("largest moon", word) for word in ("largest moon", "moon", "second ring", "saturn")]
    together = windows("largest moon of saturn", documents, 20, by_words)[0]
    apart = [windows("largest moon of saturn", [document], 20, by_words, of=documents)[0][0] for document in documents]
    assert together == apart


def test_scripts_without_spaces_have_windows_too() -> None:
    text = "今天天气很好。我们去公园玩。" * 10 + "土星最大的卫星是土卫六。" + "明天再来。" * 10

    def by_letters(texts: Sequence[str], most: int) -> tuple[list[str], npt.NDArray[np.bool_]]:
        return [each[:most] for each in texts], np.array([len(each) > most for each in texts], dtype=np.bool_)

    assert "土卫六" in windows("最大的卫星", [text], 15, by_letters)[0][0]


@pytest.mark.parametrize("text", ["moon " * 400_000, "m" * 2_000_000, "moon. " * 330_000, "." * 2_000_000, "\n" * 2_000_000])
def test_a_huge_document_or_query_costs_what_its_first_pages_cost(text: str) -> None:
    given: list[int] = []

    def watched(texts: Sequence[str], most: int) -> tuple[list[str], npt.NDArray[np.bool_]]:
        if given:
            given.extend(map(len, texts))
        given.append(0)
        return [each[:most] for each in texts], np.ones(len(texts), dtype=np.bool_)

    began = time.process_time()
    windows(text + " moon", [text] * 100, 200, watched)
    assert time.process_time() - began < 5
    assert max(given) <= 2 * MOST_CHARACTERS


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return loaded(tiny_model)


DOCUMENTS = [LONG, "Titan is the largest moon of Saturn.", LONG.replace("Titan", "Ganymede"), ""]


def test_a_model_reads_the_window_that_is_asked_for_within_the_tokens_allowed(model: Model, tiny_model: Path) -> None:
    request = RerankRequest("largest moon", DOCUMENTS)
    head = model.score(Job(request, max_document_tokens=60))
    best = model.score(Job(request, max_document_tokens=60, document_window="best"))
    assert best.scored.truncated.tolist() == head.scored.truncated.tolist() == [True, False, True, False]
    scores = best.scored.scores
    assert scores[1] == pytest.approx(head.scored.scores[1], abs=1e-5)
    assert abs(scores[0] - head.scored.scores[0]) > 1e-3
    reranker = Reranker.load(tiny_model, threads=1)
    read = [split.passages[0] for split in model.texts(Job(request, max_document_tokens=60, document_window="best"))]
    assert max(reranker.encoder("best").count_tokens(read)) <= 60
    assert "Titan" in read[0]
    local = WindowScorer(reranker.scorer, reranker.encoder("best"), "best", max_tokens=60).score("largest moon", DOCUMENTS)
    assert local.scores.tolist() == pytest.approx(scores.tolist(), abs=1e-5)


def test_without_a_limit_the_window_is_what_the_pair_has_room_for(model: Model, tiny_model: Path) -> None:
    documents = [FILLER * 200 + "Titan is the largest moon of Saturn. " + FILLER * 50, "moon"]
    answer = model.score(Job(RerankRequest("largest moon", documents), document_window="best"))
    assert answer.scored.truncated.tolist() == [True, False]
    hits = Reranker.load(tiny_model, threads=1).rank("largest moon", documents, document_window="best")
    assert {hit.index: hit.score for hit in hits} == pytest.approx(dict(enumerate(answer.scored.scores.tolist())), abs=1e-5)
    assert {hit.index: hit.truncated for hit in hits} == {0: True, 1: False}


def test_the_process_setting_counts_where_a_request_does_not_say(tiny_model: Path) -> None:
    best = loaded(tiny_model, document_window="best")
    request = RerankRequest("largest moon", DOCUMENTS)
    asked, said = (best.score(Job(request, max_document_tokens=60, document_window=way)) for way in ("best", None))
    assert asked.scored.scores.tolist() == said.scored.scores.tolist()
    head = best.score(Job(request, max_document_tokens=60, document_window="head"))
    assert head.scored.scores[0] != said.scored.scores[0]


def test_it_goes_from_every_wire_format_to_the_worker() -> None:
    for texts in ("documents", "texts"):
        call = parse({"query": "a", texts: ["b"], "document_window": "best"}, max_documents=9)
        assert decode_job(encode_job(call.job)).document_window == "best"
    with pytest.raises(InvalidRequest, match=r"document_window should be 'head' or 'best'"):
        parse({"query": "a", "documents": ["b"], "document_window": "tail"}, max_documents=9)


def test_the_client_asks_the_gateway_for_it() -> None:
    bodies: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 1.0}], "meta": {}})

    http = httpx.Client(transport=httpx.MockTransport(answer))
    for way, tokens in (("best", 48), (None, None)):
        GatewayScorer("http://gateway", http=http, document_window=way, document_tokens=tokens).score("a", ["b"])
    assert [(body.get("document_window"), body.get("max_tokens_per_doc")) for body in bodies] == [("best", 48), (None, None)]


def test_evaluate_measures_cuts_at_the_head_and_the_best_window(tiny_model: Path, tmp_path: Path) -> None:
    beir.write_documents(tmp_path / "set", [beir.Document(str(place), "", text) for place, text in enumerate(DOCUMENTS)])
    beir.write_queries(tmp_path / "set", {"q": "largest moon"})
    beir.write_qrels(tmp_path / "set", "test", {"q": {"1": 1}})
    given = ["--data", tmp_path / "set", "--model", tiny_model, "--depth", 3]
    done = slimrank("evaluate", *given, "--cuts", "20,400", "--scores-folder", tmp_path / "scores", "--json")
    assert done.code == 0, done.err
    (report,) = json.loads(done.out)
    small, large = report["cuts"]
    assert (small["tokens"], large["tokens"]) == (20, 400)
    assert small["share_cut"] > large["share_cut"]
    assert small["alone"].keys() == small["fused"].keys() == {"head", "best"}
    assert "set: nDCG@10 by the tokens of a document that are read" in slimrank("evaluate", *given, "--cuts", "20,400").out
    assert slimrank("evaluate", *given, "--cuts", "20,many").code != 0
    assert "takes no --document-window" in slimrank("evaluate", *given, "--cuts", "20", "--document-window", "best").err
    assert slimrank("evaluate", *given, "--document-window", "tail").code != 0
    assert slimrank("evaluate", *given, "--document-window", "best", "--document-tokens", 20, "--json").code == 0
