"""The messages that a gateway and its workers exchange through Redis, always as JSON.

    gateway                          Redis                              worker
    SET   slimrank:job:<id>  PX t    the job: query and documents       GET + PTTL
    Celery task on rerank.<model>    ids only, never text               takes it
    BLMOVE slimrank:reply:<gateway>  claims and answers                 RPUSH
    MGET  slimrank:worker:*          who is alive, for which model      SET ... PX, twice a second
    SET + MGET slimrank:gateway:*    what all gateways have outstanding, in seconds of work, by model and caller
    ZADD + ZRANGE slimrank:models    which models have been served within a day: none is answered by another

A job's life in Redis *is* its deadline: the key expires by Redis' own clock, so hosts need not
agree on the time, and a gateway whose caller left deletes the key. A worker that finds no key has
nothing to do. A worker answers a fetched job with a *claim* first, so that the gateway knows whom
it waits for and can send the job again if that worker dies.
"""

import json
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import to_json

from slimrank.engine.jobs import Answer, Job
from slimrank.engine.redis_clients import KEY_PREFIX
from slimrank.errors import DeadlineExceeded, InvalidRequest, ModelNotReady, Overloaded, ScoringError, SlimrankError
from slimrank.identity import ModelIdentity
from slimrank.types import RerankRequest, Scored

WORKERS_KEY = KEY_PREFIX + "workers"
GATEWAYS_KEY = KEY_PREFIX + "gateways"
MODELS_KEY = KEY_PREFIX + "models"
MODELS_SECONDS = 86_400
"""How long a model without a worker is remembered."""
TASK_NAME = "slimrank.rerank"
REPLY_SECONDS = 60
"""How long a reply list is kept after its last answer if its gateway is gone."""

_ERRORS: dict[str, type[SlimrankError]] = {
    error.__name__: error for error in (InvalidRequest, Overloaded, ModelNotReady, DeadlineExceeded, ScoringError)
}


def job_key(request_id: str) -> str:
    """Return the key of one job."""
    return f"{KEY_PREFIX}job:{request_id}"


def reply_key(gateway_id: str) -> str:
    """Return the key of one gateway process' reply list."""
    return f"{KEY_PREFIX}reply:{gateway_id}"


def worker_key(worker_id: str) -> str:
    """Return the key of one worker process' sign of life."""
    return f"{KEY_PREFIX}worker:{worker_id}"


def gateway_key(gateway_id: str) -> str:
    """Return the key under which one gateway process shows the seconds of work that it has outstanding."""
    return f"{KEY_PREFIX}gateway:{gateway_id}"


def queue_name(model: str) -> str:
    """Return the Celery queue of one model."""
    return f"rerank.{model}"


def encode_job(job: Job) -> bytes:
    """Write a job."""
    return to_json(  # ten times as fast as json on long texts
        {
            "query": job.request.query,
            "documents": list(job.request.documents),
            "instruction": job.request.instruction,
            "max_document_tokens": job.max_document_tokens,
            "priority": job.priority,
            "depth": job.depth,
            "takes_partial": job.takes_partial,
            "long_document": job.long_document,
            "document_window": job.document_window,
            "caller": job.caller,
            "scope": job.scope,
            "is_suspect": job.is_suspect,
        }
    )


def decode_job(message: bytes) -> Job:
    """Read a job."""
    fields = json.loads(message)
    return Job(
        RerankRequest(fields["query"], fields["documents"], fields["instruction"]),
        max_document_tokens=fields["max_document_tokens"],
        priority=fields["priority"],
        # A gateway of an older release sends none of these.
        depth=fields.get("depth"),
        takes_partial=fields.get("takes_partial", False),
        long_document=fields.get("long_document", "truncate"),
        document_window=fields.get("document_window"),
        caller=str(fields.get("caller", "")),
        scope=str(fields.get("scope", "")),
        is_suspect=bool(fields.get("is_suspect", False)),
    )


def encode_claim(request_id: str, worker_id: str) -> bytes:
    """Write that a worker has taken a job."""
    return json.dumps({"id": request_id, "claimed_by": worker_id}).encode()


def encode_answer(request_id: str, answer: Answer) -> bytes:
    """Write an answer. float32 scores survive: JSON carries them as the float64 they equal."""
    scored = answer.scored
    return json.dumps(
        {
            "id": request_id,
            "scores": scored.scores.tolist(),
            "truncated": np.flatnonzero(scored.truncated).tolist(),
            "query_truncated": scored.query_truncated,
            "tokens": scored.tokens,
            "depth": scored.depth,
            "passages": scored.passages,
            "cached": scored.cached,
            "tokenise_seconds": scored.tokenise_seconds,
            "batch_tokens": list(scored.batch_tokens),
            "is_partial": answer.is_partial,
            "document_tokens": answer.document_tokens,
            "queue_seconds": answer.queue_seconds,
            "infer_seconds": answer.infer_seconds,
        }
        | answer.model.message(),
        allow_nan=False,
    ).encode()


def encode_error(request_id: str, error: SlimrankError) -> bytes:
    """Write an error of ours."""
    fields = {"type": type(error).__name__, "message": str(error), "status": getattr(error, "status", None)}
    return json.dumps({"id": request_id, "error": fields}).encode()


def decode_reply(message: bytes) -> dict[str, Any]:
    """Read a claim, an answer or an error; ``id`` is always there.

    Raises:
        ValueError: it is none of these.
    """
    try:
        reply: dict[str, Any] = json.loads(message)
    except RecursionError as error:
        raise ValueError("a reply of too many levels") from error
    if not isinstance(reply, dict) or not isinstance(reply.get("id"), str):
        raise ValueError("a reply without an id")
    if not isinstance(reply.get("claimed_by"), str | None):
        raise ValueError("a claim by nobody")
    return reply


class Serves(NamedTuple):
    """The facts that a worker publishes about itself."""

    model: str
    document_tokens: int = 0
    """Most tokens of a document that it reads where a request does not say; 0 = as many as the model takes."""


def served_by(sign: Any) -> Serves:
    """Return what a worker's sign of life says; a worker of an older release says its model alone.

    Raises:
        ValueError: it is none.
    """
    model, tokens = (sign.get("model"), sign.get("document_tokens", 0)) if isinstance(sign, dict) else (None, 0)
    if not isinstance(model, str) or not model or not isinstance(tokens, int) or tokens < 0:
        raise ValueError("a sign of life without a model")
    return Serves(model, tokens)


def answer_of(reply: dict[str, Any], *, documents: int) -> Answer:
    """Return the answer about so many documents that a reply holds.

    Raises:
        SlimrankError: the one that the reply holds.
        ScoringError: it holds neither an answer nor an error.
    """
    try:
        answer = _answer_of(reply)
        if answer.scored.scores.shape != (documents,):
            raise ValueError(f"scores of {len(answer.scored.scores)} documents, asked for {documents}")
        return answer
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ScoringError(f"the worker's answer cannot be read ({type(error).__name__}); are all of one release?") from error


def _answer_of(reply: dict[str, Any]) -> Answer:
    if fields := reply.get("error"):
        kind = _ERRORS.get(fields["type"], ScoringError)
        if kind is InvalidRequest:
            raise InvalidRequest(fields["message"], status=fields["status"] or 400)
        raise kind(fields["message"])
    truncated = np.zeros(len(reply["scores"]), dtype=np.bool_)
    truncated[reply["truncated"]] = True
    # A worker of an older release sends none of what is read with `get`.
    scored = Scored(
        np.asarray(reply["scores"], dtype=np.float32),
        truncated,
        reply["query_truncated"],
        reply["tokens"],
        depth=reply.get("depth"),
        passages=reply.get("passages"),
        cached=reply.get("cached", 0),
        tokenise_seconds=reply.get("tokenise_seconds", 0.0),
        batch_tokens=tuple(reply.get("batch_tokens", ())),
    )
    return Answer(
        scored,
        ModelIdentity.from_message(reply),
        queue_seconds=reply["queue_seconds"],
        infer_seconds=reply["infer_seconds"],
        is_partial=reply.get("is_partial", False),
        document_tokens=int(reply.get("document_tokens", 0)),
    )
