"""Every command of every page: its options exist, and it is run here or listed in ``not_run`` with the reason."""

import contextlib
import itertools
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from slimrank.__main__ import app
from tests.connector.fake_elasticsearch import FakeElasticsearch
from tests.connector.fake_opensearch import FakeOpenSearch
from tests.connector.served import serving
from tests.docs.not_run import NOT_RUN, PYTHON_NOT_RUN
from tests.docs.pages import LOG, PAGES, ROOT, blocks, commands
from tests.docs.reader import COLOURS, THINGS, at, moved, place, run, run_here, serve, write_audit
from tests.nodes import process

__all__ = ["place"]

GUIDES = ROOT / "docs" / "guides"

# Commands that serve: they run until this path answers.
SERVES = {
    "slimrank serve --embedded --port 8080": "/readyz",
    "slimrank serve --embedded --model models/shop": "/readyz",
    "slimrank serve --embedded --model models/minilm": "/readyz",
    "slimrank serve --embedded --model /srv/models/slimrank-135m": "/readyz",
    "slimrank serve --embedded --cascade-model models/shallow --cascade-keep 30": "/readyz",
    "SLIMRANK_MODEL=models/minilm slimrank serve --embedded": "/readyz",
    "slimrank playground": "/api/about",
    ".venv/bin/slimrank playground": "/api/about",
    "slimrank playground --data collections/shop": "/api/about",
    "slimrank playground --audits audits": "/audits",
    "slimrank playground --host 0.0.0.0 --allow-own-index": "/api/about",
    "slimrank playground --engine http://localhost:9200 --index products --field title --field text --gateway http://localhost:8080": "/api/about",
    "slimrank proxy --upstream http://localhost:9200 --port 9201 --rules rules.yaml --scorer http://localhost:8080": "/_slimrank/health",
}
# Commands that end, in the order in which they depend on each other, and words of their output.
ENDS = {
    "slimrank doctor": "all hashes are correct",
    "slimrank audit example": "queries:",
    "slimrank keys add shop --file keys.json --model slimrank-135m --requests-per-minute 600": "sr-",
    "slimrank keys list --file keys.json": "slimrank-135m",
    "slimrank keys remove shop --file keys.json": "nobody is let in",
    "slimrank train clicks --queries ubi_queries.jsonl --events ubi_events.jsonl --corpus collections/shop --out collections/shop-clicks": "queries",
    "slimrank evaluate --data collections/shop --split test --depth 50": "nDCG@10",
    "slimrank evaluate --data collections/shop --split test --depth 50 --queries 100 --seed 7 --document-tokens 96 --json": "pairs_per_second",
    "slimrank evaluate --data COLLECTION --depth 30 --queries 100 --cuts 48,64,96,128,192,320": "320",
    "slimrank evaluate --data collections/shop --depth 100 --cascade-model models/shallow --cascade-keep 30": "nDCG@10",
    "slimrank evaluate --model models/other --data collections/shop --depth 30": "nDCG@10",
    "slimrank frontier runs/frontier --data collections/shop --hits 10,30 --cuts 48,64,96 --plot frontier.svg": "gain over BM25",
    "slimrank frontier runs/frontier --without-times --json": "on_frontier",
    "printf 'Red running shoes\\nRed shoe polish\\n' | slimrank rank --query \"shoes for jogging\" --text -": "Red shoe polish",
    "slimrank export BASE --adapter runs/adapter --out models/shop --trained": "models/shop",
    "slimrank export BASE --adapter runs/adapter --trained --precision fp16 --out models/shop-gpu": "models/shop-gpu",
    "slimrank export BASE --adapter runs/shallow --layers 12 --trained --out models/shallow": "models/shallow",
    "slimrank export cross-encoder/ms-marco-MiniLM-L6-v2 --precision int8 --out models/minilm": "models/minilm",
    "slimrank export BAAI/bge-reranker-base --precision auto --out models/bge": "models/bge",
    "slimrank export mixedbread-ai/mxbai-rerank-base-v2 --prompt mxbai-rerank-v2 --precision auto --trained --out models/mxbai": "models/mxbai",
    "slimrank export Qwen/Qwen3-Reranker-0.6B --prompt qwen3-reranker --precision auto --trained --out models/qwen3": "models/qwen3",
    "slimrank verify models/shop": "",
    "slimrank bench curves --json": "seconds_by_threads",
    "slimrank evaluate --model models/shop --data collections/shop --split test --depth 50": "nDCG@10",
    "slimrank evaluate --model models/minilm --data collections/scifact --depth 30": "nDCG@10",
}
# Options that a tiny model does not support, or that take minutes and are tested by tests/onnx_export and tests/connector/audit.
TINY = {"--layers 12": "--layers 1", "--precision auto": "--precision fp32", "calibrate audit": "calibrate audit --trials 100"}
# Commands that send a request to one of those that serve.
ASKS = {
    "curl -s http://localhost:8080/readyz": "ready",
    "curl -s http://localhost:8080/v1/rerank": "relevance_score",
    "curl -s localhost:8080/v1/rerank": "relevance_score",
}
# Commands to a cluster, in their order; a fake gives the answers that the real cluster gave.
CONNECTS_OPENSEARCH = {
    "slimrank connect opensearch install --gateway http://slimrank:8080 --field title --print": "PUT /_cluster/settings",
    "slimrank connect opensearch install --gateway http://slimrank:8080 --field title": "connector:",
    'slimrank connect opensearch check --index products --query "red shoes"': "ok",
    "slimrank connect opensearch install --gateway http://slimrank:8080 --field title --hybrid": "pipeline",
    "slimrank connect opensearch install --gateway http://slimrank:8080 --field title --query-path query.match.title.query": "pipeline",
    "slimrank connect opensearch roles --user admin": "slimrank_searcher",
    "slimrank connect opensearch remove": "removed",
}
CONNECTS_ELASTICSEARCH = {
    "slimrank connect elasticsearch install --gateway http://slimrank:8080 --print": "PUT /_inference",
    "slimrank connect elasticsearch install --gateway http://slimrank:8080": "endpoint",
    'slimrank connect elasticsearch check --index products --field title --query "red shoes"': "ok",
    "slimrank connect elasticsearch remove": "removed",
}
# Commands that send a request to an engine, or to a proxy in front of it.
ASKS_ENGINE = {
    "curl -s -X POST 'http://localhost:9200/products/_bulk?refresh=true'": '"errors":false',
    "curl -si http://localhost:9201/products/_search": "x-slimrank: reranked",
}
# Commands of an audit, in their order, on two indices of a real engine; the second one is reranked.
AUDITS = {
    "slimrank audit plan audit.yaml --out audit": "next: slimrank audit run audit",
    "slimrank audit run audit": "answers are in audit",
    "slimrank audit report audit": "audit/report.html",
    "slimrank audit sheet audit sheet.csv": "documents to grade",
    "slimrank audit calibrate audit": "false alarm",
    "slimrank audit sweep audit --depths 0,5,10,20": "nDCG@10",
}
# Commands of a gate, on two indices with the same content.
GATES = {
    "slimrank audit gate audit.yaml --out audit": "PASS",
    "slimrank audit gate audit.yaml --out audit --then swap --alias products": "alias products moved",
}
# Pages whose Python is run below.
PYTHON_IS_RUN = ("clients.md", "opensearch.md")
TABLES = (NOT_RUN, SERVES, ENDS, ASKS, CONNECTS_OPENSEARCH, CONNECTS_ELASTICSEARCH, ASKS_ENGINE, AUDITS, GATES)


def _bare(command: str) -> str:
    """Return a command without the settings before it."""
    return re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command)


def starting(command: str, table: dict[str, Any]) -> str | None:
    """Return the entry of a table for this command; for curl an entry has only the beginning, since bodies are long."""
    return next(
        (entry for entry in table if command == entry or (entry.startswith("curl") and command.startswith(f"{entry} "))), None
    )


@pytest.mark.parametrize("command", commands())
def test_a_command_is_run_or_its_reason_is_given(command: str) -> None:
    tables = [table for table in TABLES if starting(command, table)]
    assert len(tables) == 1, "put it into one of this file's tables, or into not_run with a reason"


def test_every_entry_of_the_tables_is_a_command_of_a_page() -> None:
    known = commands()
    entries = [entry for table in TABLES for entry in table]
    assert [entry for entry in entries if not any(starting(command, {entry: ""}) for command in known)] == []


@pytest.mark.parametrize("reason", sorted({*NOT_RUN.values(), *PYTHON_NOT_RUN.values()}))
def test_a_reason_not_to_run_a_command_names_tests_that_exist(reason: str) -> None:
    assert len(reason.split()) > 3
    assert [path for path in re.findall(r"tests/[\w/.]*\w", reason) if not (ROOT / path).exists()] == []


def test_every_page_is_checked_and_every_block_has_a_language() -> None:
    pages = {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*/*.md")}
    assert pages - set(PAGES) == set(LOG), "the log keeps what was typed once"
    for page in PAGES:
        fences = re.findall(r"^ *```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(fences[::2]) <= {"sh", "yaml", "json", "python", "text"}, f"{page.name}: commands stand in blocks of `sh`"
        assert set(fences[1::2]) <= {""}


@pytest.mark.parametrize(
    "command",
    [part.strip() for line in commands() for part in line.split("|") if re.search(r"^\S*slimrank ", _bare(part.strip()))],
)
def test_subcommands_and_options_exist_and_values_fit(command: str) -> None:
    words = shlex.split(_bare(command))
    current: Any = get_command(app)
    rest = words[1:]
    while hasattr(current, "get_command"):
        current = current.get_command(None, rest.pop(0))
        assert current is not None, command
    current.make_context(command, [word for word in rest if word])


# -- running them ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_commands_that_end_work_as_the_guides_say(place: Path) -> None:
    with at(place):
        for command, words in ENDS.items():
            said = run_here(moved(command, TINY)) if command.startswith("slimrank ") else run(command, place)
            assert words in said, command


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in SERVES if not re.search("models/(shop|minilm)", command)])
def test_commands_that_serve_start(command: str, place: Path) -> None:
    with serve(moved(command, {"/srv": f"{place}/srv"}), place, SERVES[command], process.free_port()):
        pass


@pytest.mark.slow
def test_a_users_own_models_are_served_and_the_gateway_answers_the_guides_requests(place: Path) -> None:
    with at(place):
        for command in [command for command in ENDS if re.search("--out models/(shop|minilm)( |$)", command)]:
            if not (place / shlex.split(command)[shlex.split(command).index("--out") + 1]).exists():
                run_here(command)
    for command in [command for command in SERVES if re.search("models/(shop|minilm)", command)]:
        port = process.free_port()
        with serve(command, place, SERVES[command], port):
            for asked in commands():
                if entry := starting(asked, ASKS):
                    assert ASKS[entry] in run(asked.replace("localhost:8080", f"127.0.0.1:{port}"), place)


@pytest.mark.parametrize(
    ("fake", "table"),
    [(FakeOpenSearch, CONNECTS_OPENSEARCH), (FakeElasticsearch, CONNECTS_ELASTICSEARCH)],
    ids=["opensearch", "elasticsearch"],
)
def test_commands_to_a_cluster_work_as_the_guides_say(fake: Any, table: dict[str, str], tmp_path: Path) -> None:
    cluster = fake()
    if isinstance(cluster, FakeOpenSearch):
        cluster.roles = {}
        cluster.indices["products"] = {"documents": {"1": {"title": "red shoes"}}, "settings": {}, "mappings": {}}
    with serving(cluster.answer) as url, at(tmp_path, SLIMRANK_ENGINE_URL=url, SLIMRANK_ENGINE_PASSWORD="secret"):
        for command, words in table.items():
            assert words in run_here(command), command


def test_every_page_with_python_is_run_or_its_reason_is_given() -> None:
    found = {page.name for page in PAGES if blocks(page, "python")}
    assert found == {*PYTHON_IS_RUN, *PYTHON_NOT_RUN}


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks(GUIDES / "clients.md", "python"))
def test_python_of_the_guides_prints_a_ranking(block: str, place: Path) -> None:
    (place / "example.py").write_text(block)
    assert "subprocess.run" in run("python example.py", place)


# -- on a real engine --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxied(opensearch: Any, place: Path) -> Iterator[dict[str, str]]:
    """Yield the replacements for the guides' addresses, with a gateway and a proxy in front of a real engine."""
    gateway, proxy = process.free_port(), process.free_port()
    here = {"http://localhost:9200": opensearch.url, "http://localhost:8080": f"http://127.0.0.1:{gateway}"}
    command = next(command for command in SERVES if command.startswith("slimrank proxy"))
    with ExitStack() as stack:
        stack.enter_context(serve("slimrank serve --embedded --port 8080", place, "/readyz", gateway))
        stack.enter_context(serve(moved(command, here), place, "/_slimrank/health", proxy))
        yield here | {"http://localhost:9201": f"http://127.0.0.1:{proxy}"}


@pytest.mark.slow
@pytest.mark.engine
def test_the_engine_commands_of_the_guides_index_search_and_rerank(proxied: dict[str, str], place: Path) -> None:
    for entry, words in ASKS_ENGINE.items():
        command = next(command for command in commands() if starting(command, {entry: ""}))
        answer = run(moved(command, proxied), place)
        assert words in answer.replace(" :", ":"), answer
    [block] = blocks(GUIDES / "opensearch.md", "python")
    (place / "search.py").write_text(moved(block, proxied))
    assert "shoe" in run("python search.py", place)


@pytest.fixture
def audited(proxied: dict[str, str], place: Path) -> str:
    """Return the guide's specification for two indices with the same content, the first one behind the guide's alias."""
    url = proxied["http://localhost:9200"]
    lines = "".join(
        f'{{"index":{{"_id":"p{i}"}}}}\n{{"title":"{colour} {thing}","text":"A {colour} {thing}."}}\n'
        for i, (colour, thing) in enumerate(itertools.product(COLOURS, THINGS))
    )
    process.HTTP.delete(f"{url}/products")  # another command of the guides made an index with the alias's name
    for name in ("products_v1", "products_v2"):
        content_type = {"content-type": "application/x-ndjson"}
        answer = process.HTTP.post(f"{url}/{name}/_bulk?refresh=true", content=lines, headers=content_type)
        assert answer.json()["errors"] is False
    process.HTTP.post(f"{url}/_aliases", json={"actions": [{"add": {"index": "products_v1", "alias": "products"}}]})
    return moved(blocks(GUIDES / "audits.md", "yaml")[0], proxied)


@pytest.mark.slow
@pytest.mark.engine
def test_the_audit_commands_of_the_guide_work_in_their_order(
    audited: str, proxied: dict[str, str], place: Path, tmp_path: Path
) -> None:
    spec = yaml.safe_load(audited)
    spec["after"]["rerank"] = {"url": proxied["http://localhost:8080"], "fields": ["title", "text"], "rank_window_size": 9}
    write_audit(tmp_path, yaml.safe_dump(spec))
    with at(place), contextlib.chdir(tmp_path):
        for command, words in AUDITS.items():
            assert words in run_here(moved(command, TINY), codes=(0, 1)), command  # 1: the report warns of many changes


@pytest.mark.slow
@pytest.mark.engine
def test_the_gate_of_the_guide_passes_and_moves_the_alias(audited: str, place: Path, tmp_path: Path) -> None:
    write_audit(tmp_path, audited)
    with at(place), contextlib.chdir(tmp_path):
        for command, words in GATES.items():
            assert words in run_here(command), command
