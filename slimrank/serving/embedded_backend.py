"""The backend of ``slimrank serve --embedded``: the model in the gateway's own process."""

import asyncio
import time

from slimrank.engine.jobs import Answer, Job
from slimrank.engine.model import Model
from slimrank.engine.scoring_loop import ScoringLoop
from slimrank.errors import DeadlineExceeded
from slimrank.serving import traces


class EmbeddedBackend:
    """Scores in one dedicated thread, so that the event loop stays free."""

    def __init__(self, model: Model) -> None:
        self._loop = ScoringLoop(model)

    def choose_model(self, wanted: str | None) -> str:
        """Return the one model there is, whatever it is called by."""
        return self._loop.model.identity.name

    def models(self) -> list[str]:
        """Return the name of the one model there is."""
        return [self._loop.model.identity.name]

    def document_tokens(self, model: str) -> int:
        """Return what the model is set to; see ``Backend``."""
        return self._loop.model.document_tokens

    def failing(self) -> list[str]:
        """Return the scoring thread where it does not come back; see ``Backend``."""
        return ["scoring"] if self._loop.is_stuck else []

    async def start(self) -> None:
        """Start the scoring thread."""
        self._loop.start()

    async def stop(self) -> None:
        """Finish the job in hand and end the thread."""
        await asyncio.to_thread(self._loop.stop)

    async def score(self, job: Job, *, timeout_seconds: float, grace_seconds: float = 0.0) -> Answer:
        """Return the answer; see ``Backend``.

        Args:
            grace_seconds: How long after that a partial answer is waited for: the slice in hand may end late.
        """
        future, arrival_ns = self._loop.submit(job, timeout_seconds=timeout_seconds), time.time_ns()
        try:
            async with asyncio.timeout(timeout_seconds + grace_seconds):
                answer = await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {timeout_seconds:.2f} s; send fewer documents, or allow more time"
            ) from error
        traces.scored(traces.here(), arrival_ns, answer)
        return answer
