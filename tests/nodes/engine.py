"""Decide where a search engine for the tests comes from: a named cluster, Docker's image, or Maven artifacts.

SLIMRANK_TEST_OPENSEARCH_URL, SLIMRANK_TEST_ELASTICSEARCH_8_URL and ..._7_URL name running clusters. Else the official
image is used where a Docker daemon runs, else the Maven node where Maven and a Java are installed. Without any of them
the test skips, and fails in CI.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

from tests.nodes import config, elasticsearch, java, maven, opensearch, process
from tests.nodes.require import require

_BESIDE_THE_CODE = Path(__file__).resolve().parents[2] / ".cache" / "nodes"
# A checkout in a private folder of root's cannot hold what an unprivileged server has to read.
CACHE = _BESIDE_THE_CODE if process.is_reachable(_BESIDE_THE_CODE) else Path("/var/tmp/slimrank-test-nodes")


@dataclass(frozen=True, slots=True)
class Engine:
    """A running search engine.

    Attributes:
        origin: where it came from; only a Maven node lacks ML Commons for certain.
        host_seen_from_engine: the name by which the engine reaches a server of this machine.
    """

    url: str
    origin: Literal["named", "docker", "maven"]
    host_seen_from_engine: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One engine and version, and the ways to have it."""

    name: str
    variable: str
    image: str
    settings: tuple[str, ...]
    java_range: tuple[int, int]
    node: Callable[[Path, Path], AbstractContextManager[str]]


OPENSEARCH = _Kind(
    f"OpenSearch {opensearch.VERSION}",
    "SLIMRANK_TEST_OPENSEARCH_URL",
    f"opensearchproject/opensearch:{opensearch.VERSION}",
    ("DISABLE_SECURITY_PLUGIN=true", "DISABLE_INSTALL_DEMO_CONFIG=true", "OPENSEARCH_JAVA_OPTS=-Xms1g -Xmx1g",
     "plugins.ml_commons.only_run_on_ml_node=false"),
    (opensearch.MINIMUM_JAVA, 99),
    opensearch.node,
)  # fmt: skip
_ELASTIC_SETTINGS = ("xpack.security.enabled=false", "ES_JAVA_OPTS=-Xms1g -Xmx1g")
ELASTICSEARCH_8, ELASTICSEARCH_7 = (
    _Kind(
        f"Elasticsearch {version}",
        f"SLIMRANK_TEST_ELASTICSEARCH_{version[0]}_URL",
        f"elasticsearch:{version}",
        _ELASTIC_SETTINGS,
        elasticsearch.JAVA_RANGES[version],
        partial(elasticsearch.node, version=version),
    )
    for version in (elasticsearch.VERSION_8, elasticsearch.VERSION_7)
)


@cache
def _docker_has(image: str) -> bool:
    """Return whether a Docker daemon runs and has the image, or can pull it."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode != 0:
        return False
    return any(
        subprocess.run([docker, *look, image], capture_output=True).returncode == 0 for look in (["image", "inspect"], ["pull"])
    )


@contextlib.contextmanager
def _docker_node(kind: _Kind) -> Iterator[str]:
    port = process.free_port()
    settings = [word for setting in ("discovery.type=single-node", *kind.settings) for word in ("-e", setting)]
    command = ["docker", "run", "--rm", "-p", f"127.0.0.1:{port}:9200", "--add-host=host.docker.internal:host-gateway"]
    url = f"http://127.0.0.1:{port}"
    with (
        process.scratch_folder() as folder,
        process.running(
            [*command, *settings, kind.image], folder=folder, is_up=lambda: config.is_green(url), timeout_seconds=600
        ),
    ):
        yield url


@contextlib.contextmanager
def running(kind: _Kind) -> Iterator[Engine]:
    """Run, or find, an engine for the tests; skip or fail where there is none."""
    if url := os.environ.get(kind.variable):
        if not config.is_green(url):
            require(f"{kind.variable} names {url}, where no search engine answers")
        yield Engine(url.rstrip("/"), "named")
        return
    if _docker_has(kind.image):
        with _docker_node(kind) as url:
            yield Engine(url, "docker", "host.docker.internal")
        return
    java_home = java.find_java(*kind.java_range)
    if java_home is None:
        oldest, newest = kind.java_range
        wanted = f"{oldest} to {newest}" if newest < 99 else f"{oldest} or newer"
        require(f"{kind.name} needs a Docker daemon or a Java {wanted} (set JAVA_HOME), and neither is here")
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(kind.node(CACHE, java_home))
        except maven.MavenUnavailable as error:
            require(str(error))
        yield Engine(url, "maven")
