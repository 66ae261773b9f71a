"""Celery tasks of the audit queue: chunks of a run, by any number of workers that share the audit's folder.

    celery -A slimrank.serving.queue worker -Q audit -I connector.tasks --concurrency 1

On a queue and in workers of their own: an audit that calls the gateway from the worker that must answer it would starve
itself. A task is idempotent (its chunk has a file, or is made), so losing or doubling one does no harm; `enqueue` sends those
that are missing. Each worker throttles itself to its share of the requests per second.
"""

from pathlib import Path

from celery import Celery, shared_task

from connector.audit.access import Access
from connector.audit.folder import Folder
from connector.audit.run import Asker, keep_states, run_chunk

QUEUE = "audit"


@shared_task(name="connector.audit_chunk", ignore_result=True)  # type: ignore[untyped-decorator]
def audit_chunk(folder: str, number: int, workers: int) -> None:
    """Ask both sides the queries of one chunk."""
    made = Folder(Path(folder))
    spec = made.spec.model_copy(update={"requests_per_second": made.spec.requests_per_second / workers})
    with Access().reach(spec) as sides:
        run_chunk(made, number, Asker(spec, sides))


def enqueue(app: Celery, folder: Folder, access: Access, *, workers: int) -> int:
    """Send every chunk that is missing to the audit queue; return how many.

    Raises:
        EngineError: a side changed since the audit began.
    """
    with access.reach(folder.spec) as sides:
        keep_states(folder, sides)
    missing = folder.missing_chunks()
    for number in missing:
        app.send_task("connector.audit_chunk", (str(folder.path.resolve()), number, workers), queue=QUEUE)
    return len(missing)
