"""Groups from a live index: its documents, its own hits, and the messages of its errors."""

import json
import random
from pathlib import Path

import httpx
import pytest

from slimrank.errors import ConfigError, DataError, EngineRefused, EngineUnavailable
from training.config import CollectionConfig, PrepareConfig, read_config
from training.data.groups import Mining, made_groups
from training.data.live import LiveIndex, open_index
from training.data.synthetic import from_titles

SOURCES = {f"d{n}": {"title": f"the long river number {n}", "text": [f"It has {n} bridges.", "Boats go."]} for n in range(9)}


class Engine:
    """An engine with one index: a search finds all documents, the last first, and a scroll gives three hits a page."""

    def __init__(self, distribution: str | None = "opensearch") -> None:
        self.asked: list[httpx.Request] = []
        self._version = {"number": "3.5.0"} | ({"distribution": distribution} if distribution else {})
        self._left = list(SOURCES)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        body = json.loads(request.content or b"{}")
        if request.url.path == "/":
            return httpx.Response(200, json={"version": self._version})
        if request.method == "DELETE":
            return httpx.Response(200, json={})
        if request.url.path == "/gone/_search":
            return httpx.Response(404, text="no such index [gone]")
        if "multi_match" in body.get("query", {}):
            best = list(reversed(SOURCES))[: body["size"]]
            return httpx.Response(200, json={"hits": {"hits": [{"_id": d, "_score": 9.0} for d in best]}})
        page, self._left = self._left[:3], self._left[3:]
        hits = [{"_id": doc_id, "_source": SOURCES[doc_id]} for doc_id in page]
        return httpx.Response(200, json={"_scroll_id": "s", "hits": {"hits": hits}})


def index(engine: Engine, name: str = "rivers", fields: tuple[str, ...] = ("title", "text")) -> LiveIndex:
    return LiveIndex(httpx.Client(transport=httpx.MockTransport(engine), base_url="http://engine:9200"), name, fields)


def test_a_live_index_gives_its_documents_and_closes_its_scroll() -> None:
    engine = Engine()
    documents = index(engine).collection().documents
    assert list(documents) == list(SOURCES)
    assert documents["d3"].content == "the long river number 3\nIt has 3 bridges.\nBoats go."
    assert engine.asked[-1].method == "DELETE"


def test_no_more_documents_are_read_than_asked_for() -> None:
    assert len(index(Engine()).collection(most=4).documents) == 4


def test_negatives_are_the_engines_own_hits() -> None:
    live = index(Engine())
    collection = live.collection(most=7)
    queries = from_titles(list(collection.documents.values()), 3, random.Random(1))
    groups = list(made_groups(collection, queries, live, Mining(), random.Random(1)))
    assert len(groups) == 3
    assert all(set(group.doc_ids) <= set(collection.documents) for group in groups)


@pytest.mark.parametrize(("distribution", "wanted"), [("opensearch", "_none"), (None, None)])
def test_a_default_search_pipeline_is_switched_off_if_the_engine_has_pipelines(
    distribution: str | None, wanted: str | None
) -> None:
    engine = Engine(distribution)
    index(engine).search("river", 5)
    assert engine.asked[-1].url.params.get("search_pipeline") == wanted


def test_a_wrong_field_an_error_and_a_dead_engine_are_refused_with_a_message() -> None:
    with pytest.raises(EngineRefused, match=r"404 no such index \[gone\]"):
        index(Engine(), "gone").search("river", 5)
    with pytest.raises(DataError, match="no document of index rivers has text in body; name other fields"):
        index(Engine(), fields=("body",)).collection()

    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(EngineUnavailable, match="connection refused"):
        LiveIndex(httpx.Client(transport=httpx.MockTransport(down), base_url="http://engine:9200"), "rivers", ["text"])


def test_a_secret_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    entry = CollectionConfig(engine="http://engine:9200", index="rivers", fields=["text"], api_key_file=tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot read the secret"):
        open_index(entry)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{index: rivers}", "collections.0: .*engine, fields is missing"),
        ("{engine: 'no address', index: rivers, fields: [text]}", "collections.0.engine: .*URL"),
        ("{titles: 3}", "needs folder, csv, or engine"),
        ("{folder: rivers, user: me}", "user and password_file go together"),
        ("{folder: rivers, title: 3}", "collections.0.title: Extra inputs"),
        ("{folder: rivers, titles: many}", "collections.0.titles: .*integer"),
        ("rivers", "collections.0: .*dictionary"),
    ],
)
def test_an_invalid_entry_is_refused_with_its_fault(tmp_path: Path, entry: str, message: str) -> None:
    path = tmp_path / "prepare.yaml"
    path.write_text(f"collections: [{entry}]")
    with pytest.raises(ConfigError, match=message):
        read_config(path, PrepareConfig)


@pytest.mark.parametrize("path", sorted(Path("training/configs").glob("prepare*.yaml")), ids=lambda path: path.stem)
def test_every_committed_configuration_is_valid(path: Path) -> None:
    assert read_config(path, PrepareConfig).collections


def test_a_configuration_takes_what_it_lacks_from_the_one_it_extends(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 5\ndepth: 30\ncollections: [{folder: rivers}]")
    (tmp_path / "more.yaml").write_text("extends: base.yaml\ndepth: 40")
    config = read_config(tmp_path / "more.yaml", PrepareConfig)
    assert (config.seed, config.depth, len(config.collections)) == (5, 40, 1)


def test_a_configuration_that_extends_one_that_extends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("extends: base.yaml")
    with pytest.raises(ConfigError, match=r"base\.yaml extends .*base\.yaml, which itself extends another file"):
        read_config(tmp_path / "base.yaml", PrepareConfig)
