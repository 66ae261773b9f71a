"""Callers share what there is: a key is charged for what it asks, has its share of the backlog, and learns nothing of another's."""

from pathlib import Path

import numpy as np
import pytest

from slimrank.engine.cache import CachedScorer, InMemory
from slimrank.engine.jobs import Answer, Job
from slimrank.engine.model import Model
from slimrank.engine.turns import QUANTUM_SECONDS
from slimrank.errors import Overloaded
from slimrank.identity import ModelIdentity
from slimrank.serving.admission import SLICE_SECONDS, Admission, Ticket, outstanding_of, units_of
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.gateway.keys import KeyEntry, KeyRing, new_key
from slimrank.types import RerankRequest, Scored
from tests.doubles import FakeScorer
from tests.serving.conftest import over
from tests.serving.test_security import write_keys


def learnt(**limits: float) -> Admission:
    """Return an admission that knows of a model which takes a second for a thousand characters."""
    admission = Admission(**({"max_backlog_seconds": 10.0, "max_waiting": 1000} | limits))  # type: ignore[arg-type]
    for cost in (1000, 4000):
        admission._speeds["m"].learn(cost, cost / 1000)
    return admission


def admit(admission: Admission, seconds: float, caller: str, timeout_seconds: float = 60.0) -> Ticket:
    return admission.admit("m", round(1000 * seconds), timeout_seconds=timeout_seconds, caller=caller)


def test_one_callers_minute_of_work_refuses_no_other() -> None:
    admission = learnt()
    for _ in range(3):
        admission.here["m"].setdefault("hostile", []).append(40.0)
        admission.waiting += 1
    with pytest.raises(Overloaded):
        admit(admission, 20.0, "hostile")
    assert admit(admission, 0.1, "polite", timeout_seconds=2.0).wait_seconds < 2 * SLICE_SECONDS


def test_a_callers_own_large_request_holds_its_small_ones_for_a_second_each() -> None:
    admission = learnt()
    admit(admission, 40.0, "one")
    assert admit(admission, 0.1, "one", timeout_seconds=5.0).wait_seconds == pytest.approx(QUANTUM_SECONDS + 0.1, abs=0.05)


def test_who_has_his_share_of_the_places_is_refused_and_another_let_in() -> None:
    admission = learnt(max_waiting=10)
    for _ in range(10):
        admit(admission, 0.001, "hostile")
    with pytest.raises(Overloaded):
        admit(admission, 0.001, "hostile")
    admit(admission, 0.001, "polite")


def test_what_other_gateways_show_counts_by_caller_and_nonsense_does_not() -> None:
    shown = {"m": {"hostile": [40.0], "odd": "x", "older": [1.0, None, "x", -3, 1e9]}, "old": 2.5, "bad": [1]}
    assert outstanding_of(shown) == {"m": {"hostile": [40.0], "older": [1.0]}, "old": {"": [2.5]}}
    assert outstanding_of([1]) == outstanding_of(None) == {}
    admission = learnt()
    admission.elsewhere = outstanding_of(shown)
    admission.waiting = 1
    with pytest.raises(Overloaded):
        admit(admission, 20.0, "hostile", timeout_seconds=30.0)
    assert admit(admission, 0.1, "polite").wait_seconds < 1.0


def test_a_slice_of_somebody_elses_teaches_nothing_about_large_requests() -> None:
    admission = learnt()
    for _ in range(200):
        ticket = admit(admission, 0.01, "small")
        admission.release(ticket)
        admission.correct(ticket, 0.3)
    ticket = admit(admission, 38.0, "large")
    assert 37.9 <= ticket.wait_seconds < 2 * 38, "thirty times what was estimated, and yet no sign that the estimate is wrong"


def test_what_was_known_already_teaches_nothing_of_what_scoring_takes() -> None:
    admission = learnt()
    known = Scored(np.zeros(10, dtype=np.float32), np.zeros(10, dtype=np.bool_), False, 0, cached=10)
    before = admission._speeds["m"].seconds(3000)
    for _ in range(20):
        admission.learn(Ticket("m", "", 3000, 3.0, 3.0), Answer(known, ModelIdentity("m"), infer_seconds=0.001))
    assert admission._speeds["m"].seconds(3000) == before


@pytest.mark.parametrize(
    ("job", "units"),
    [
        (Job(RerankRequest("q", ["a"] * 100)), 1),
        (Job(RerankRequest("q", ["a"] * 101)), 2),
        (Job(RerankRequest("q", ["a"] * 10_000)), 100),
        (Job(RerankRequest("q", ["a"] * 10_000), depth=50), 1),
        (Job(RerankRequest("q", ["a" * 2_000_000] * 10)), 1),
        (Job(RerankRequest("q", ["a" * 2_000_000] * 10), long_document="max_passage"), 7),
    ],
)
def test_a_request_counts_as_many_as_its_documents_and_passages_make(job: Job, units: int) -> None:
    assert units_of(job) == units


def test_a_key_waits_for_what_it_owes(tmp_path: Path) -> None:
    key, entry = new_key("shop")
    now = [0.0]
    write_keys(tmp_path / "keys.json", entry.model_copy(update={"requests_per_minute": 60.0}))
    ring = KeyRing(tmp_path / "keys.json", clock=lambda: now[0])
    admitted = ring.admit(f"Bearer {key}")
    assert isinstance(admitted, KeyEntry)
    ring.charge(admitted, 100)
    for now[0] in (5.0, 30.0, 85.0):
        with pytest.raises(Overloaded, match="wait"):
            ring.admit(f"Bearer {key}")
    now[0] = 95.0
    assert ring.admit(f"Bearer {key}")


def test_a_key_learns_from_no_count_what_another_has_had_scored(tmp_path: Path) -> None:
    keys = {name: new_key(name) for name in ("one", "other")}
    write_keys(tmp_path / "keys.json", *(entry for _, entry in keys.values()))
    scorer = FakeScorer()
    model = Model(ModelIdentity("fake"), CachedScorer(scorer, "fake", [InMemory(entries=100, seconds=60)]))
    body = {"query": "secret plan", "documents": ["the secret plan", "nothing"]}
    with over(EmbeddedBackend(model), api_keys_file=tmp_path / "keys.json") as client:

        def tokens(name: str) -> int:
            answer = client.post("/v1/rerank", json=body, headers={"authorization": f"Bearer {keys[name][0]}"}).json()
            return int(answer["usage"]["prompt_tokens"])

        first = tokens("one")
        assert first > 0
        assert tokens("one") == 0
        assert tokens("other") == first
        assert scorer.calls == 2
