"""The commands of ``slimrank connect``: install slimrank into a search engine, check the installation, remove it.

Errors are raised as ``SlimrankError``; the main command prints each as one line.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from connector.cluster import Cluster
from connector.connection import Out, connected
from connector.elasticsearch import check as elasticsearch_check
from connector.elasticsearch import install as elasticsearch
from connector.findings import Finding
from connector.opensearch import install as opensearch
from connector.opensearch import window_size
from connector.opensearch.bodies import READ_TIMEOUT_SECONDS
from connector.opensearch.check import check as check_installation
from connector.opensearch.deep_check import deep as look_for_traps
from connector.opensearch.roles import install_roles, remove_roles
from slimrank.errors import ConfigError, DataError
from slimrank.files import parse_json, read_text

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Connect a search engine, so that its searches are reranked.",
)
opensearch_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="A search pipeline with a reranker, in OpenSearch 2.12 and later."
)
elasticsearch_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="An inference endpoint, in Elasticsearch 8.19, 9.1 and later, licensed."
)
app.add_typer(opensearch_app, name="opensearch")
app.add_typer(elasticsearch_app, name="elasticsearch")

Gateway = Annotated[
    str, typer.Option(envvar="SLIMRANK_GATEWAY_URL", help="URL of the slimrank gateway, as the cluster's nodes reach it.")
]
Fields = Annotated[list[str], typer.Option(help="Field of the documents to judge. Repeat the option for more fields.")]
Name = Annotated[str, typer.Option(help="Name of the objects to create in the cluster.")]
Pipeline = Annotated[str, typer.Option(help="Name of the search pipeline. Default: the value of --name.")]
Model = Annotated[str, typer.Option(help="Model to ask the gateway for. Default: the gateway's default model.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="SLIMRANK_API_KEY", help="Key that the cluster sends to the gateway. Leave it out if the gateway asks for no key."
    ),
]
Oversample = Annotated[
    float | None,
    typer.Option(
        min=1.0,
        help="How many hits to rerank, as a multiple of the page; 1 reranks the page alone. Default: the value of the earlier "
        "installation, or as many as the gateway scores in half of its deadline, at most 5.",
    ),
]
ReadTimeout = Annotated[
    int,
    typer.Option(
        min=1, help="Longest wait for the gateway, in whole seconds. After that the search returns the first-stage order."
    ),
]
QueryPath = Annotated[
    str,
    typer.Option(
        help="Path of the query text in every search, such as query.match.title.query. With it, searches need no ext.rerank, "
        "and hits keep their first-stage score."
    ),
]
DeadlineMs = Annotated[
    int, typer.Option(min=1, help="The gateway's deadline in milliseconds. After that the search returns the first-stage order.")
]
FirstStageOrder = Annotated[
    bool | None,
    typer.Option(
        "--first-stage-order/--no-first-stage-order",
        help="Whether the model may use the order of the hits. It is the first-stage order if a search asks one shard only. "
        "Default: yes if no index has more than one shard.",
    ),
]
Hybrid = Annotated[bool, typer.Option("--hybrid", help="Normalise the scores of hybrid queries before they are reranked.")]
Replace = Annotated[bool, typer.Option("--replace", help="Create everything again, for example after the key has changed.")]
DryRun = Annotated[bool, typer.Option("--print", help="Print every call instead of sending it.")]
Query = Annotated[str, typer.Option(help="Text to search for in --index.")]


def _shown(api_key: str | None, dry_run: bool) -> str | None:
    """Return the key to send, or None if there is no key. A dry run replaces the key, so that no secret is printed."""
    return None if not api_key else "<API_KEY>" if dry_run else api_key


def _read_searches(path: Path) -> list[dict[str, Any]]:
    """Read one search, or the lines of an ``_msearch``.

    Raises:
        ConfigError: the file cannot be read, or holds neither of the two.
    """
    try:
        text = read_text(path)
    except DataError as error:
        raise ConfigError(f"asked to check the search in {path}, but the file cannot be read: {error}") from error
    try:
        found = [parse_json(text)]
    except ValueError:
        try:
            found = [parse_json(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise ConfigError(f"{path} is neither a JSON object nor _msearch lines: {error}") from error
    if not found or not all(isinstance(search, dict) for search in found):
        raise ConfigError(f"{path} holds no search bodies; a search body is a JSON object")
    return found


@opensearch_app.command("install")
@connected
def install_opensearch(
    cluster: Cluster,
    out: Out,
    gateway: Gateway,
    field: Fields,
    name: Name = "slimrank",
    pipeline: Pipeline = "",
    model: Model = "",
    api_key: ApiKey = None,
    oversample: Oversample = None,
    read_timeout: ReadTimeout = READ_TIMEOUT_SECONDS,
    query_path: QueryPath = "",
    hybrid: Hybrid = False,
    replace: Replace = False,
    dry_run: DryRun = False,
) -> None:
    """Create or update the trusted-endpoint setting, the connector, the model and the search pipeline.

    Example: slimrank connect opensearch install --gateway http://slimrank:8080 --field title --field body

    Then search with ?search_pipeline=slimrank, and put the query's text into ext.rerank.query_context.query_text.
    """
    plan = opensearch.InstallPlan(
        gateway=gateway,
        fields=field,
        name=name,
        pipeline=pipeline,
        model=model,
        api_key=_shown(api_key, dry_run),
        read_timeout_seconds=read_timeout,
        replace=replace,
        query_path=query_path,
        hybrid=hybrid,
    )
    out.lines(window_size.install(cluster, plan, oversample=oversample), cluster)


@opensearch_app.command("check")
@connected
def check_opensearch(
    cluster: Cluster,
    out: Out,
    name: Name = "slimrank",
    pipeline: Pipeline = "",
    index: Annotated[str, typer.Option(help="Index to search. Default: a throw-away index.")] = "",
    query: Query = "",
    deep: Annotated[bool, typer.Option("--deep", help="Also look for every known trap.")] = False,
    body: Annotated[
        Path | None, typer.Option(help="With --deep: file with a search body, or with the lines of an _msearch.")
    ] = None,
) -> None:
    """Run one predict call and one search, and report each fault with its cure. The exit code is 1 if there is a fault.

    Example: slimrank connect opensearch check --index products --query "red shoes"

    Example: slimrank connect opensearch check --deep --index products --body search.json
    """
    findings = check_installation(cluster, name=name, pipeline=pipeline, index=index, query=query)
    if deep and findings[0].state == "ok":
        searches = _read_searches(body) if body else []
        is_msearch = len(searches) > 1
        found = look_for_traps(cluster, name=name, pipeline=pipeline, index=index, searches=searches, is_msearch=is_msearch)
        findings += found or [Finding("traps", "ok", "none of the known traps")]
    out.findings(findings)


@opensearch_app.command("remove")
@connected
def remove_opensearch(
    cluster: Cluster, out: Out, name: Name = "slimrank", pipeline: Pipeline = "", dry_run: DryRun = False
) -> None:
    """Remove everything that install created, and restore the settings that it changed.

    Example: slimrank connect opensearch remove
    """
    out.lines(opensearch.remove(cluster, name=name, pipeline=pipeline), cluster)


@opensearch_app.command("roles")
@connected
def roles_opensearch(
    cluster: Cluster,
    out: Out,
    name: Name = "slimrank",
    remove: Annotated[bool, typer.Option("--remove", help="Remove them.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Create two least-privilege roles for the security plugin: one for installing, one for searching.

    Example: slimrank connect opensearch roles --user admin
    """
    work = remove_roles if remove else install_roles
    out.lines(work(cluster, name=name), cluster)


@elasticsearch_app.command("install")
@connected
def install_elasticsearch(
    cluster: Cluster,
    out: Out,
    gateway: Gateway,
    name: Name = "slimrank",
    model: Model = "",
    api_key: ApiKey = None,
    deadline_ms: DeadlineMs = 5000,
    first_stage_order: FirstStageOrder = None,
    replace: Replace = False,
    dry_run: DryRun = False,
) -> None:
    """Create or update the inference endpoint. Elastic requires an Enterprise or trial licence.

    Example: slimrank connect elasticsearch install --gateway http://slimrank:8080

    Then search with the text_similarity_reranker retriever; its inference_id is slimrank.
    """
    plan = elasticsearch.InstallPlan(gateway, name, model, _shown(api_key, dry_run), deadline_ms, first_stage_order)
    out.lines(elasticsearch.install(cluster, plan, replace=replace), cluster)


@elasticsearch_app.command("check")
@connected
def check_elasticsearch(
    cluster: Cluster,
    out: Out,
    name: Name = "slimrank",
    index: Annotated[str, typer.Option(help="Also search this index.")] = "",
    field: Annotated[str, typer.Option(help="Field of --index to search in and to judge.")] = "",
    query: Query = "",
) -> None:
    """Check the licence and the endpoint, call the endpoint once, and report each fault. The exit code is 1 if there is a fault.

    Example: slimrank connect elasticsearch check --index products --field title --query "red shoes"
    """
    out.findings(elasticsearch_check.check(cluster, name=name, index=index, field=field, query=query))


@elasticsearch_app.command("remove")
@connected
def remove_elasticsearch(cluster: Cluster, out: Out, name: Name = "slimrank", dry_run: DryRun = False) -> None:
    """Remove the inference endpoint.

    Example: slimrank connect elasticsearch remove
    """
    out.lines(elasticsearch.remove(cluster, name=name), cluster)
