"""A playground in a thread, with a small corpus and a fake ranker, and the queries of its tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import sleep

import uvicorn

from connector.playground.cli import make_app
from connector.playground.policy import Policy
from connector.playground.rankers import EmbeddedRanker, Ranker
from connector.playground.routes import JudgedQuery, Playground
from connector.playground.sources import CorpusSource, FirstStage, Source
from slimrank.engine.model import Model
from slimrank.errors import EngineUnavailable
from slimrank.evaluation.beir import Document
from slimrank.identity import ModelIdentity
from slimrank.serving.gateway.protocol import options
from tests.doubles import FakeScorer

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> ${7*7} {{7*7}}"
DOCUMENTS = [
    Document("sockets", "listen(backlog)", "Listen for connections. A network server must listen before it can accept."),
    Document("copytree", "copytree(src, dst)", "Copy a whole directory tree. The directory must not exist. " * 8),
    Document("rmtree", "rmtree(path)", "Delete an entire directory tree; path must point to a directory."),
    Document("rmdir", "rmdir(path)", "Remove a directory, which must be empty."),
    Document("mkdir", "mkdir(path)", "Create a directory."),
    Document("unlink", "unlink(path)", "Remove a file, never a directory. " + "Long words follow each other here. " * 60),
    Document("hostile", HOSTILE, f"A hostile directory {HOSTILE} with markup"),
    Document("a b\tc", "", "An id with white space, no title, and a 🐍 emoji 🐍 before the word directory."),
]
JUDGED = [
    JudgedQuery("delete-tree", "delete a directory tree", {"rmtree": 2, "rmdir": 1, "mkdir": 0}),
    JudgedQuery("copy-tree", "copy a whole directory", {"copytree": 2}),
]


class BrokenSource:
    """A first stage that is down."""

    label = "a broken engine"

    async def search(self, query: str, size: int) -> FirstStage:
        """Fail."""
        raise EngineUnavailable("nothing answers at http://localhost:9200; is the engine up and the URL right?")


def corpus() -> CorpusSource:
    """Return a source over the documents."""
    return CorpusSource({document.doc_id: document for document in DOCUMENTS}, label="eight documents")


def fake_ranker(seconds: float = 0.0, *, fusion_weight: float = 0.0) -> EmbeddedRanker:
    """Return a ranker that counts words."""
    return EmbeddedRanker(Model(ModelIdentity("fake", fusion_weight=fusion_weight), FakeScorer(seconds=seconds)))


def playground(
    *,
    source: Source | None = None,
    ranker: Ranker | None = None,
    policy: Policy | None = None,
    judged: Sequence[JudgedQuery] = tuple(JUDGED),
    is_trained: bool | None = True,
    audits: Path | None = None,
) -> Playground:
    """Return a playground over the documents and the fake ranker, unless other parts are given."""
    policy = policy or Policy("127.0.0.1")
    return Playground(source or corpus(), ranker or fake_ranker(), policy, judged, is_trained, audits=audits)


@contextmanager
def running(page: Playground) -> Iterator[str]:
    """Serve a playground until the block ends; yield its URL."""
    server = uvicorn.Server(uvicorn.Config(make_app(page), port=0, **options()))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(timeout=10)
