"""How many hits a gateway scores in time, measured through the cluster: so that the window of a pipeline suits the machine.

A window wider than that costs every search its whole deadline, and gives the hits behind it no score. Documents are made up, as
long as long ones are, so that shorter ones fit too, and new each time, so that no score is known already.
"""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from connector import bodies, opensearch
from connector.cluster import Cluster, Refusal
from connector.judges import judges_of, sample_factor
from connector.pipeline import find_pipeline, is_ours, merged
from connector.predict import scores_of
from slimrank import made_up

Json = dict[str, Any]

PAGE = 10
"""What a search asks for unless it says otherwise."""
WIDEST = 5.0
"""Times the page; more hits were seldom worth their time."""
SHARE = 0.5
"""Part of the deadline that a window may take of an idle gateway: the rest is for longer documents and for other searches."""
WORDS_A_DOCUMENT = 300
"""Some 400 tokens: a gateway that cuts documents takes no longer for any, and one that does not takes so long for an abstract."""


@dataclass(frozen=True, slots=True)
class Depth:
    """So many of the documents were scored in so many seconds."""

    scored: int
    documents: int
    seconds: float

    def factor(self, deadline_seconds: float) -> float:
        """Return how many times the page fits into a share of the deadline, in halves, from 1 to `WIDEST`."""
        hits = SHARE * deadline_seconds * self.scored / max(self.seconds, 1e-3)
        return min(WIDEST, max(1.0, int(2 * hits / PAGE) / 2))


def measure(
    score: Callable[[str, list[str]], list[float]], *, unscored: float, clock: Callable[[], float] = time.monotonic
) -> Depth:
    """Have a widest window of documents scored.

    Args:
        score: Returns the scores of documents for a query, through the cluster.
        unscored: A score of this or less means that there was no time for one.
    """
    chance = random.Random(secrets.token_bytes(8))
    documents = made_up.documents(chance, round(WIDEST * PAGE), WORDS_A_DOCUMENT)
    begin = clock()
    scores = score(made_up.query(chance, 4), documents)
    return Depth(sum(each > unscored for each in scores), len(documents), clock() - begin)


def window_of(cluster: Cluster, pipeline: str) -> float | None:
    """Return how many times the page an installed pipeline fetches; None where there is none."""
    try:
        present = find_pipeline(cluster, pipeline)
    except Refusal:  # an engine without search pipelines; install says so
        return None
    return sample_factor(present) if present else None


def install(cluster: Cluster, plan: opensearch.Plan, *, oversample: float | None = None) -> list[str]:
    """Install with the window that is given, else the one that was installed before, else one that the gateway scores in time.

    Raises:
        EngineError, ConfigError: as `opensearch.install` does.
    """
    kept = window_of(cluster, plan.pipeline_name)
    done = opensearch.install(cluster, replace(plan, oversample=oversample or kept or WIDEST))
    if oversample is None and kept is None and not cluster.dry_run:
        seconds = bodies.deadline_ms(plan.read_timeout_seconds) / 1000
        done.append(fit(cluster, plan.pipeline_name, deadline_seconds=seconds))
    return done


def fit(cluster: Cluster, pipeline: str, *, deadline_seconds: float, clock: Callable[[], float] = time.monotonic) -> str:
    """Narrow the window of an installed pipeline to what its gateway scores in time; return what was done."""
    body = find_pipeline(cluster, pipeline) or {}
    judge = next(iter(judges_of(body)))
    if sample_factor(body) <= 1:
        return "window: the page alone"

    def score(query: str, documents: list[str]) -> list[float]:
        return scores_of(cluster, judge.model_id, query, documents, by_field=bool(judge.query_path))

    try:
        found = measure(score, unscored=bodies.DEGRADED, clock=clock)
    except Refusal as refusal:
        return f"window: {sample_factor(body):g} times the page; what the gateway scores in time could not be measured ({refusal.reason})"
    factor = found.factor(deadline_seconds)
    if factor != sample_factor(body):
        cluster.write("PUT", f"/_search/pipeline/{pipeline}", with_factor(body, factor))
    measured = f"{found.scored} of {found.documents} documents of {WORDS_A_DOCUMENT} words were scored in {found.seconds:.1f} s"
    return f"window: {factor:g} times the page ({measured}); --oversample sets another"


def with_factor(pipeline: Json, factor: float) -> Json:
    """Return a pipeline that oversamples with another factor, the processors of others where they are; 1 takes ours out."""
    responses = [
        each for each in pipeline["response_processors"] if is_ours(each) and (factor > 1 or "truncate_hits" not in each)
    ]
    return merged(
        pipeline, {"request_processors": bodies.oversampling(factor) if factor > 1 else [], "response_processors": responses}
    )
