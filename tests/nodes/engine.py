"""Decide where a search engine for the tests comes from: a named cluster, Docker's image, or Maven artifacts.

SLIMRANK_TEST_OPENSEARCH_URL names a running cluster. Else the official image is used where a Docker daemon runs, else
the Maven node where Maven and a Java are installed. Without any of them the test skips, and fails in CI.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.nodes import java, maven, opensearch, process
from tests.nodes.require import require

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "nodes"
_IMAGE = f"opensearchproject/opensearch:{opensearch.VERSION}"


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


def _docker_runs() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True).returncode == 0


@contextlib.contextmanager
def _docker_node() -> Iterator[str]:
    port = process.free_port()
    command = [
        "docker", "run", "--rm", "-p", f"127.0.0.1:{port}:9200", "--add-host=host.docker.internal:host-gateway",
        "-e", "discovery.type=single-node", "-e", "DISABLE_SECURITY_PLUGIN=true", "-e", "DISABLE_INSTALL_DEMO_CONFIG=true",
        "-e", "OPENSEARCH_JAVA_OPTS=-Xms1g -Xmx1g", "-e", "plugins.ml_commons.only_run_on_ml_node=false", _IMAGE,
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    # the first run pulls the image
    with (
        process.scratch_folder() as folder,
        process.running(command, folder=folder, is_up=lambda: opensearch.is_green(url), timeout_seconds=600),
    ):
        yield url


@contextlib.contextmanager
def running_opensearch() -> Iterator[Engine]:
    """Run, or find, an OpenSearch for the tests; skip or fail where there is none."""
    if url := os.environ.get("SLIMRANK_TEST_OPENSEARCH_URL"):
        if not opensearch.is_green(url):
            require(f"SLIMRANK_TEST_OPENSEARCH_URL names {url}, where no OpenSearch answers")
        yield Engine(url.rstrip("/"), "named")
        return
    if _docker_runs():
        with _docker_node() as url:
            yield Engine(url, "docker", "host.docker.internal")
        return
    java_home = java.find_java(opensearch.MINIMUM_JAVA)
    if java_home is None:
        require(f"OpenSearch needs a Docker daemon or a Java {opensearch.MINIMUM_JAVA}+ (set JAVA_HOME), and neither is here")
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(opensearch.node(CACHE, java_home))
        except maven.MavenUnavailable as error:
            require(str(error))
        yield Engine(url, "maven")
