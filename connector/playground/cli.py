"""The command ``slimrank playground``: starts the page with a source and a model.

Without an engine the page searches the documentation of Python; without a gateway it scores in its own process.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from rich.console import Console
from starlette.applications import Starlette
from starlette.routing import Mount

from connector.playground.documents import read_documents
from connector.playground.policy import Policy
from connector.playground.rankers import EmbeddedRanker, GatewayRanker, Ranker
from connector.playground.routes import JudgedQuery, Playground, make_playground
from connector.playground.sources import CorpusSource, EngineAddress, EngineSource, Source
from connector.urls import require_url
from slimrank import manifest, settings, store
from slimrank.errors import ConfigError
from slimrank.evaluation.beir import Collection, read_collection, read_unjudged, splits
from slimrank.evaluation.python_docs import corpus
from slimrank.files import open_text, plain_name
from slimrank.serving.gateway.protocol import options
from slimrank.serving.gateway.server import listen
from slimrank.settings import Settings
from slimrank.telemetry import configure_logging

DEFAULT_PORT = 8090


def playground(
    engine: Annotated[
        str | None, typer.Option(help="URL of OpenSearch or Elasticsearch; default the demo corpus in memory.")
    ] = None,
    index: Annotated[str | None, typer.Option(help="Index to search, with --engine.")] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="Field to search and score, with --engine; can be given several times, the title first."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="User of the engine.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File that holds the user's password.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File that holds an API key of the engine.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept any certificate of the engine.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="BEIR folder, judged or not, with queries and, without --engine, documents; or a file of documents."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of --data.")] = "test",
    model: Annotated[
        Path | None,
        typer.Option(
            help=f"Model folder, or the name of a shipped model, which is made on first use; default {settings.DEFAULT_MODEL_NAME}."
        ),
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(help="URL of a running gateway that scores; default a model in this process.")
    ] = None,
    gateway_key_file: Annotated[Path | None, typer.Option(help="File that holds an API key of the gateway.")] = None,
    audits: Annotated[Path | None, typer.Option(help="Folder of audit folders, shown at /audits.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = DEFAULT_PORT,
    allow_own_index: Annotated[
        bool,
        typer.Option(
            "--allow-own-index", help="Let every visitor name an index; the server then calls the URLs that they enter."
        ),
    ] = False,
) -> None:
    """Run a search page that shows the first stage beside the reranked list, with moves, times and nDCG@10.

    Example: slimrank playground --engine http://localhost:9200 --index products --field title --field description
    """
    current = settings.load(model=model)
    configure_logging(current.log_level)
    console = Console(stderr=True)
    if audits and not audits.is_dir():
        raise ConfigError(
            f"asked to show the audits in {audits}, which is not a folder; name the folder that holds the audit folders"
        )
    address = _address(engine, index, field, user, password_file, api_key_file, insecure)
    with console.status("Loading the model"):
        ranker, is_trained = _ranker(current, gateway, _secret(gateway_key_file))
    with console.status("Reading the documents"):
        source, judged = _source(current, address, data, split)
    page = Playground(
        source=source,
        ranker=ranker,
        policy=Policy(host, own_index_for_all=allow_own_index),
        judged=judged,
        is_trained=is_trained,
        timeout_seconds=current.timeout_seconds,
        audits=audits.resolve() if audits else None,
    )
    listener = listen(host, port)
    shown = "localhost" if host in ("0.0.0.0", "::") else host  # a name that a browser can open
    console.print(f"Playground: [bold]http://{shown}:{listener.getsockname()[1]}/[/]")
    with listener:
        uvicorn.Server(uvicorn.Config(make_app(page), **options())).run([listener])


def make_app(page: Playground) -> Starlette:
    """Return the page as an application that starts and stops the ranker."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await page.ranker.start()
        yield
        await page.ranker.stop()

    return Starlette(routes=[Mount("/", make_playground(page))], lifespan=lifespan)


def example_queries(collection: Collection) -> list[JudgedQuery]:
    """Return the queries that have a relevant document; all queries if the collection has no judgments."""
    return [
        JudgedQuery(query_id, text, collection.qrels.get(query_id, {}))
        for query_id, text in collection.queries.items()
        if not collection.qrels or any(collection.qrels[query_id].values())
    ]


def _address(
    engine: str | None,
    index: str | None,
    fields: list[str] | None,
    user: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    insecure: bool,
) -> EngineAddress | None:
    if engine is None:
        if index or fields or user:
            raise ConfigError("an index, fields or a user were given, but no engine; add --engine URL")
        return None
    require_url(engine, "asked to search the engine", "http://localhost:9200")
    if not index or not fields:
        raise ConfigError(f"--engine {engine} needs --index NAME and at least one --field NAME")
    return EngineAddress(
        engine.rstrip("/"), index, tuple(fields), user, _secret(password_file), _secret(api_key_file), verify_tls=not insecure
    )


def _secret(file: Path | None) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() if file else None
    except OSError as error:
        raise ConfigError(f"cannot read the secret in {file}: {error.strerror}") from error


def _source(current: Settings, address: EngineAddress | None, data: Path | None, split: str) -> tuple[Source, list[JudgedQuery]]:
    if address is not None:
        return EngineSource(address), example_queries(_collection(data, split)) if data else []
    if data is not None:
        collection, name = _collection(data, split), data.name
    else:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        place = current.home_folder / "demo" / f"python-{version}"
        corpus.build(place)
        collection, name = read_collection(place, "test"), f"Python {version} documentation"
    return CorpusSource(collection.documents, label=f"{name} · {len(collection.documents):,} documents"), example_queries(
        collection
    )


def _collection(data: Path, split: str) -> Collection:
    """Read a BEIR folder, or a file of documents without judgments."""
    if data.is_file():
        with open_text(data) as file:
            documents = read_documents(file.read(), plain_name(data), most=None)
        return Collection(data.name, {document.doc_id: document for document in documents}, {}, {})
    return read_collection(data, split) if splits(data) else read_unjudged(data)


def _ranker(current: Settings, gateway: str | None, api_key: str | None) -> tuple[Ranker, bool | None]:
    if gateway is not None:
        require_url(gateway, "asked to score through the gateway", "http://localhost:8080")
        return GatewayRanker(gateway, api_key=api_key), None
    from slimrank.engine.model import Model

    model = Model.from_settings(current)
    return EmbeddedRanker(model), manifest.read(store.model_folder(current)).trained
