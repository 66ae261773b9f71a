"""Celery tasks of the audit queue: any number of workers ask the chunks of a run; they share the audit's folder.

    celery -A slimrank.serving.queue.celery_app worker -Q audit -I connector.audit.ask.tasks --concurrency 1

Audit tasks have their own queue and their own workers. In a rerank worker, an audit would wait for an answer that only that
worker can give. A task is idempotent: it does nothing if the file of its chunk exists. So a lost or doubled task does no harm;
``enqueue`` sends only the missing chunks. Each worker limits itself to its share of the requests per second.
"""

from pathlib import Path

from celery import Celery, shared_task

from connector.audit.ask.access import Access
from connector.audit.ask.run import Asker, keep_states, run_chunk
from connector.audit.folder import Folder

QUEUE = "audit"


@shared_task(name="connector.audit_chunk", ignore_result=True)  # type: ignore[untyped-decorator]
def audit_chunk(folder: str, number: int, workers: int) -> None:
    """Ask both sides all queries of one chunk."""
    made = Folder(Path(folder))
    spec = made.spec.model_copy(update={"requests_per_second": made.spec.requests_per_second / workers})
    with Access().reach(spec) as sides:
        run_chunk(made, number, Asker(spec, sides))


def enqueue(app: Celery, folder: Folder, access: Access, *, workers: int) -> int:
    """Send every missing chunk to the audit queue; return their number.

    Raises:
        EngineError: a side changed since the audit began.
    """
    with access.reach(folder.spec) as sides:
        keep_states(folder, sides)
    missing = folder.missing_chunks()
    for number in missing:
        app.send_task("connector.audit_chunk", (str(folder.path.resolve()), number, workers), queue=QUEUE)
    return len(missing)
