"""Measure, through the cluster, how many hits a gateway scores in time. The pipeline's window is set by it.

With a wider window every search would wait until the deadline, and the last hits would get no score. The documents are made up.
They are long, so that the result also holds for shorter documents, and new each time, so that no score comes from a cache.
"""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from connector.cluster import Cluster, Refusal
from connector.opensearch import bodies
from connector.opensearch import install as opensearch
from connector.opensearch.judging_processors import judges_of, sample_factor
from connector.opensearch.pipelines import find_pipeline, is_ours, merged
from connector.opensearch.predict import scores_of
from slimrank.evaluation import made_up_texts
from slimrank.scoring import UNSCORED
from slimrank.types import Json

PAGE = 10
"""The size of a search that names no size."""
WIDEST = 5.0
"""As a multiple of the page; more hits were seldom worth the time."""
SHARE = 0.5
"""The part of the deadline that a window may take on an idle gateway. The rest is for longer documents and other searches."""
WORDS_A_DOCUMENT = 300
"""About 400 tokens, as an abstract has. A gateway that cuts documents needs no more time for longer ones."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many documents were sent, how many of them were scored, and in how many seconds."""

    scored: int
    documents: int
    seconds: float

    def factor(self, deadline_seconds: float) -> float:
        """Return the window as a multiple of the page that fits into ``SHARE`` of the deadline, in steps of 0.5, from 1 to
        ``WIDEST``."""
        hits = SHARE * deadline_seconds * self.scored / max(self.seconds, 1e-3)
        return min(WIDEST, max(1.0, int(2 * hits / PAGE) / 2))


def measure(
    score: Callable[[str, list[str]], list[float]], *, unscored: float, clock: Callable[[], float] = time.monotonic
) -> Depth:
    """Let the gateway score as many documents as the widest window holds.

    Args:
        score: Returns the scores of documents for a query, through the cluster.
        unscored: A score of this value or less means that the document was not scored in time.
    """
    chance = random.Random(secrets.token_bytes(8))
    documents = made_up_texts.documents(chance, round(WIDEST * PAGE), WORDS_A_DOCUMENT)
    begin = clock()
    scores = score(made_up_texts.query(chance, 4), documents)
    return Depth(sum(each > unscored for each in scores), len(documents), clock() - begin)


def window_of(cluster: Cluster, pipeline: str) -> float | None:
    """Return the window of an installed pipeline as a multiple of the page; None if there is no such pipeline."""
    try:
        present = find_pipeline(cluster, pipeline)
    except Refusal:  # an engine without search pipelines; install reports it
        return None
    return sample_factor(present) if present else None


def install(cluster: Cluster, plan: opensearch.InstallPlan, *, oversample: float | None = None) -> list[str]:
    """Install with the given window, else with the window of the earlier installation, else with one that the gateway scores in
    time.

    Raises:
        EngineError, ConfigError: see ``opensearch.install``.
    """
    kept = window_of(cluster, plan.pipeline_name)
    done = opensearch.install(cluster, replace(plan, oversample=oversample or kept or WIDEST))
    if oversample is None and kept is None and not cluster.dry_run:
        seconds = bodies.deadline_ms(plan.read_timeout_seconds) / 1000
        done.append(fit(cluster, plan.pipeline_name, deadline_seconds=seconds))
    return done


def fit(cluster: Cluster, pipeline: str, *, deadline_seconds: float, clock: Callable[[], float] = time.monotonic) -> str:
    """Narrow the window of an installed pipeline to the hits that its gateway scores in time; return what was done."""
    body = find_pipeline(cluster, pipeline) or {}
    judge = next(iter(judges_of(body)))
    if sample_factor(body) <= 1:
        return "window: the page alone"

    def score(query: str, documents: list[str]) -> list[float]:
        return scores_of(cluster, judge.model_id, query, documents, by_field=bool(judge.query_path))

    try:
        found = measure(score, unscored=UNSCORED, clock=clock)
    except Refusal as refusal:
        return (
            f"window: {sample_factor(body):g} times the page; how many hits the gateway scores in time "
            f"could not be measured ({refusal.reason})"
        )
    factor = found.factor(deadline_seconds)
    if factor != sample_factor(body):
        cluster.write("PUT", f"/_search/pipeline/{pipeline}", with_factor(body, factor))
    measured = f"{found.scored} of {found.documents} documents of {WORDS_A_DOCUMENT} words were scored in {found.seconds:.1f} s"
    return f"window: {factor:g} times the page ({measured}); use --oversample to change it"


def with_factor(pipeline: Json, factor: float) -> Json:
    """Return the pipeline with another oversampling factor; 1 removes our processors. Other processors are not changed."""
    responses = [
        each for each in pipeline["response_processors"] if is_ours(each) and (factor > 1 or "truncate_hits" not in each)
    ]
    return merged(
        pipeline, {"request_processors": bodies.oversampling(factor) if factor > 1 else [], "response_processors": responses}
    )
