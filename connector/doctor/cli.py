"""``slimrank doctor``: check this machine, its model and its services, and report what to do.

Every finding is *ok*, a *warning* (slimrank works nevertheless) or a *fault*; warnings and faults have a cure. If a setting or an
option names a service or a model, its absence is a fault; if only a default names it, a warning. The doctor changes nothing and
sends none of the user's texts. It needs no extra package: a package that is not installed is a finding too.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from connector.cluster import open_cluster
from connector.connection import Out
from connector.doctor.budgets import look_at_budgets
from connector.facts import Facts, read_facts, require_reranking
from connector.findings import Finding
from slimrank import __version__, cgroups, manifest, processor, settings, store
from slimrank.errors import ConfigError, ManifestError, PipelineNotInstalled, SlimrankError
from slimrank.options import JsonOption
from slimrank.settings import Settings

SECONDS = 5.0
OLDEST = (3, 11)
CPU_PROVIDER = "CPUExecutionProvider"
MEMORY_BYTES, CORE_BYTES = 400 * 2**20, 100 * 2**20
"""Memory that a worker needs besides the weights, and for the batch of each core, with a margin (docs/log/engine.md)."""
GIB = 2**30


def doctor(
    engine: Annotated[
        str | None,
        typer.Option(
            envvar="SLIMRANK_ENGINE_URL", help="URL of a search engine to check too; the report says how to connect it."
        ),
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(help="URL of a gateway that must answer. Default: try the URL in the settings.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model folder, or the name of a shipped model. Default: the model in the settings.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine, the model, Redis, the gateway and the engine, and report what to do. The exit code is 1 if there is a
    fault.

    Example: slimrank doctor --engine http://localhost:9200
    """
    current = settings.load(model=model)
    Out(as_json).findings(list(examine(current, engine=engine, gateway=gateway)))


def examine(current: Settings, *, engine: str | None = None, gateway: str | None = None) -> Iterator[Finding]:
    """Yield every finding: first the machine, then the model, then the services."""
    yield look_at_python()
    yield look_at_processor(processor.eight_bit_products())
    yield look_at_threads(current.threads, processor.cores())
    yield look_at_runtime()
    yield look_at_model(current)
    yield look_at_documents(current)
    yield look_at_memory(current, memory_bytes())
    yield _attempt("budgets", lambda: look_at_budgets(current))
    yield _attempt("redis", lambda: look_at_redis(current))
    yield look_at_gateway(current, gateway)
    if engine is not None:
        yield _attempt("engine", lambda: look_at_engine(engine))


def _attempt(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except SlimrankError as error:
        return Finding(name, "fault", str(error), "correct what the message names, and run this again")


# -- the machine -------------------------------------------------------------------------------------------------------


def look_at_python(found: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Check the Python version."""
    words = f"{'.'.join(map(str, found))} on {platform.system()} {platform.machine()}, slimrank {__version__}"
    if found < OLDEST:
        return Finding("python", "fault", words, f"slimrank needs Python {OLDEST[0]}.{OLDEST[1]} or newer")
    return Finding("python", "ok", words)


def look_at_processor(products: list[str] | None) -> Finding:
    """Check whether the processor has instructions that multiply 8-bit numbers."""
    words = f"{processor.describe()}, 8-bit products with {', '.join(products)}" if products else processor.describe()
    if products == []:
        return Finding(
            "processor",
            "warning",
            f"{words}: this processor has no instruction for 8-bit products, so int8 models run slower than they could",
            "give workers a processor, or virtual machines a processor type, with AVX-512 VNNI, AVX-VNNI or ARM's dot product",
        )
    return Finding("processor", "ok", words)


def look_at_threads(threads: int, available: float) -> Finding:
    """Compare the number of threads with the number of cores that this process may use."""
    words = f"this process may use {available:g} cores; SLIMRANK_THREADS is {threads or f'0, so {processor.physical_cores()}'}"
    if threads > available:
        return Finding(
            "threads",
            "warning",
            words,
            f"set SLIMRANK_THREADS={max(1, int(available))}: if there are more threads than cores, threads wait for each other",
        )
    return Finding("threads", "ok", words)


def memory_bytes() -> int | None:
    """Return the free memory within this container's limit; None if the system does not report it."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), free)
    except (ValueError, OSError, AttributeError):
        return None
    limit = cgroups.memory_limit()
    return free if limit is None else min(free, limit)


def look_at_memory(current: Settings, free: int | None) -> Finding:
    """Compare the free memory with what the model needs."""
    if free is None:
        return Finding("memory", "ok", "this system does not report how much memory is free")
    try:
        weights = sum(record.bytes for record in manifest.read(store.place_of(current.model, current)).files.values())
    except (ConfigError, ManifestError):
        return Finding("memory", "ok", f"{free / GIB:.1f} GiB are free")
    needed = weights + MEMORY_BYTES + CORE_BYTES * processor.lanes(current.threads, current.provider)
    words = f"{free / GIB:.1f} GiB are free; this model needs about {needed / GIB:.1f} GiB"
    if free < needed:
        return Finding("memory", "warning", words, "lower SLIMRANK_THREADS, export with --precision auto, or add memory")
    return Finding("memory", "ok", words)


def look_at_documents(current: Settings) -> Finding:
    """Report how many tokens of a document are read, because no other place reports that all documents are cut."""
    if not current.tokens_read:
        return Finding("documents", "ok", "as much of a document is read as the model takes (SLIMRANK_DOCUMENT_TOKENS)")
    why = "the default on a CPU" if current.document_tokens is None else "as it is set"
    return Finding(
        "documents",
        "ok",
        f"{current.tokens_read} tokens of a document are read, {why}, unless a request says otherwise (`max_tokens_per_doc`);"
        " SLIMRANK_DOCUMENT_TOKENS sets another number, 0 = as many as the model takes",
    )


def look_at_runtime(installed: Callable[[str], str | None] | None = None) -> Finding:
    """Report the version of ONNX Runtime and its execution providers."""
    of = installed or _version
    cpu, gpu = of("onnxruntime"), of("onnxruntime-gpu")
    if cpu and gpu:
        cure = "pip uninstall onnxruntime onnxruntime-gpu, then install one extra: serve or gpu"
        return Finding("runtime", "fault", f"onnxruntime {cpu} and onnxruntime-gpu {gpu} overwrite each other", cure)
    if not cpu and not gpu:
        return Finding(
            "runtime", "warning", "ONNX Runtime is not installed; nothing can be scored here", "pip install 'slimrank[serve]'"
        )
    import onnxruntime

    providers = [name for name in onnxruntime.get_available_providers() if name != "AzureExecutionProvider"]
    words = f"ONNX Runtime {cpu or gpu} with {', '.join(providers)}"
    if gpu and providers == [CPU_PROVIDER]:
        return Finding("runtime", "warning", words, "the GPU build found no CUDA; check the driver with nvidia-smi")
    return Finding("runtime", "ok", words)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


# -- the model ---------------------------------------------------------------------------------------------------------


def look_at_model(current: Settings) -> Finding:
    """Check the model folder as serving does, and the hash of every file."""
    try:
        folder = store.place_of(current.model, current)
        if name := store.not_made(current.model, current):
            cure = f"slimrank model pull {name} (minutes, once)"
            return Finding("model", "warning", f"the model {name} is not at {folder} yet", cure)
        found = manifest.check(folder)
    except (ConfigError, ManifestError) as error:
        return Finding("model", "fault", str(error), "correct what the message names; such a folder is not served")
    verified = found.verification
    words = f"{found.name} ({found.precision}) at {folder}, all hashes are correct"
    if verified:
        words += f", scores within {verified.max_score_difference:.2g} of {verified.reference} on {verified.pairs} pairs"
    if not found.trained:
        return Finding(
            "model",
            "warning",
            f"{words}; it was not trained to judge relevance",
            "use the default model, or train (docs/training.md)",
        )
    return Finding("model", "ok", words)


# -- the services ------------------------------------------------------------------------------------------------------


def look_at_redis(current: Settings) -> Finding:
    """Check that Redis answers, which eviction policy it has, and how many workers are alive."""
    if find_spec("redis") is None or find_spec("celery") is None:
        return Finding(
            "redis", "warning", "no Redis client is installed; only embedded serving works", "pip install 'slimrank[serve]'"
        )
    import redis

    from slimrank.engine import redis_clients

    address, named = redis_clients.address(current), "redis_url" in current.model_fields_set
    redis_clients.refuse_cluster(current)
    with redis_clients.connect(current) as store:
        try:
            store.ping()
            policy = _policy(store)
            alive = _workers(store)
        except redis.RedisError as error:
            cure = "start Redis or set SLIMRANK_REDIS_URL; `slimrank serve --embedded` needs no Redis"
            return Finding("redis", "fault" if named else "warning", f"{address} does not answer: {error}", cure)
    words = f"{address} answers, {alive} workers are alive"
    if policy not in (None, "noeviction"):
        return Finding(
            "redis",
            "warning",
            f"{words}; its eviction policy is {policy}",
            "set maxmemory-policy noeviction, so that no work is lost",
        )
    if not alive:
        return Finding("redis", "warning", words, "start a worker: slimrank worker")
    return Finding("redis", "ok", words)


def _policy(store: Any) -> str | None:
    """Return the eviction policy, read with INFO, because our user may not read the configuration."""
    info = store.info("memory")
    return str(info["maxmemory_policy"]) if info.get("maxmemory_policy") else None


def _workers(store: Any) -> int:
    from slimrank.serving.queue import messages

    return sum(store.exists(messages.worker_key(worker.decode())) for worker in store.smembers(messages.WORKERS_KEY))


def look_at_gateway(current: Settings, url: str | None) -> Finding:
    """Ask the gateway whether it can score; to answer, it scores one pair with the model."""
    scheme = "https" if current.tls_certificate else "http"
    host = "localhost" if current.host in ("0.0.0.0", "::") else current.host
    address = (url or f"{scheme}://{host}:{current.port}").rstrip("/")
    absent: Any = "fault" if url else "warning"
    try:
        answer = httpx.get(f"{address}/readyz", timeout=SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding("gateway", absent, f"nothing answers at {address} ({error})", "start the gateway: slimrank serve")
    if answer.status_code == 200:
        return Finding("gateway", "ok", f"{address} scores")
    words = f"{address} answers {answer.status_code}: {answer.text[:200]}"
    if answer.status_code == 503:
        return Finding("gateway", "fault", words, "start a worker, or read the worker's log")
    return Finding("gateway", absent, words, "check that this is a slimrank gateway, or name another with --gateway")


def look_at_engine(url: str) -> Finding:
    """Ask the engine what it is, and report which way to connect fits it."""
    with open_cluster(url, timeout_seconds=SECONDS) as cluster:
        return way_of(read_facts(cluster))


def way_of(facts: Facts) -> Finding:
    """Return the finding that names the way to connect that fits a cluster."""
    if facts.distribution != "opensearch":
        cure = "slimrank connect elasticsearch check (a licence is needed), or slimrank proxy"
        return Finding("engine", "ok", facts.name, cure)
    try:
        require_reranking(facts)
    except PipelineNotInstalled as error:
        return Finding("engine", "warning", str(error), "slimrank proxy, or connector.client.rerank_search")
    return Finding("engine", "ok", f"{facts.name} can rerank by itself", "slimrank connect opensearch install, then check --deep")
