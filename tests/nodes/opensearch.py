"""Lay out and run one real OpenSearch node from Maven artifacts.

It has reindex, rank-eval, painless and the common analysers. ML Commons, neural-search and the search-pipeline-common
module are not published as artifacts, so no `rerank`, `oversample` or `truncate_hits` processor is there.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.nodes import config, java, maven, process
from tests.nodes.layout import laid_out

VERSION = "3.5.0"
MINIMUM_JAVA = 21

_CORE = [
    f"org.opensearch:opensearch:{VERSION}",
    f"org.opensearch:opensearch-plugin-classloader:{VERSION}",
    # bootstrap.Security needs AgentPolicy, which the tarball's java agent brings; 3.5.0 of it is not published.
    "org.opensearch:opensearch-agent-bootstrap:3.4.0",
    "org.apache.logging.log4j:log4j-core:2.25.3",
]
# module: (artifact, class, the module it extends)
_MODULES = {
    "transport-netty4": ("transport-netty4-client", "org.opensearch.transport.Netty4ModulePlugin", ""),
    "lang-painless": ("lang-painless", "org.opensearch.painless.PainlessModulePlugin", ""),
    "analysis-common": ("analysis-common", "org.opensearch.analysis.common.CommonAnalysisModulePlugin", "lang-painless"),
    "mapper-extras": ("mapper-extras-client", "org.opensearch.index.mapper.MapperExtrasModulePlugin", ""),
    "reindex": ("reindex-client", "org.opensearch.index.reindex.ReindexModulePlugin", ""),
    "rank-eval": ("rank-eval-client", "org.opensearch.index.rankeval.RankEvalModulePlugin", ""),
}
_DESCRIPTOR = """description={name}
version={version}
name={name}
classname={classname}
java.version=21
opensearch.version={version}
custom.foldername=
extended.plugins={extends}
has.native.controller=false
"""


def _lay_out(home: Path) -> None:
    lib = home / "lib"
    folders = {lib: _CORE}
    for name, (artifact, _, _) in _MODULES.items():
        folders[home / "modules" / name] = [f"org.opensearch.plugin:{artifact}:{VERSION}"]
    maven.copy_jars(folders, work=home / "build")
    core_jars = {jar.name for jar in lib.glob("*.jar")}
    for name, (_, classname, extends) in _MODULES.items():
        folder = home / "modules" / name
        for jar in folder.glob("*.jar"):
            if jar.name in core_jars:  # the node refuses a module that ships a class of lib/ again
                jar.unlink()
        descriptor = _DESCRIPTOR.format(name=name, version=VERSION, classname=classname, extends=extends)
        (folder / "plugin-descriptor.properties").write_text(descriptor)
    for name in ("plugins", "extensions", "bin"):
        (home / name).mkdir()


def home_folder(cache: Path) -> Path:
    """Return the node's folder under `cache`, laid out if need be (about 20 s, once)."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    return laid_out(cache / f"opensearch-{VERSION}-{recipe}", _lay_out)


def _command(java_home: Path, home: Path, folder: Path) -> list[str]:
    vector = ["--add-modules=jdk.incubator.vector"] if java.has_module(java_home, "jdk.incubator.vector") else []
    return [
        f"{java_home}/bin/java", "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *vector,
        "--enable-native-access=ALL-UNNAMED", f"-Djava.io.tmpdir={folder}/tmp", f"-Djna.tmpdir={folder}/tmp", "-Djna.nosys=true",
        "-Dfile.encoding=UTF-8", "-Djava.awt.headless=true", "-Dio.netty.noUnsafe=true",
        "-Dio.netty.noKeySetOptimization=true", "-Dio.netty.recycler.maxCapacityPerThread=0",
        "-Dio.netty.allocator.numDirectArenas=0", "-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true",
        f"-Dopensearch.path.home={home}", f"-Dopensearch.path.conf={folder}/config", "-Dopensearch.distribution.type=tar",
        "-cp", f"{home}/lib/*", "org.opensearch.bootstrap.OpenSearch",
    ]  # fmt: skip


@contextlib.contextmanager
def node(cache: Path, java_home: Path) -> Iterator[str]:
    """Run a node until the block ends; yield its URL."""
    home = home_folder(cache)
    port, transport_port = process.free_port(), process.free_port()
    url = f"http://127.0.0.1:{port}"
    with process.scratch_folder() as folder:
        config.write_config(folder, "opensearch", http_port=port, transport_port=transport_port)
        process.hand_over(folder)
        command = _command(java_home, home, folder)
        with process.running(command, folder=folder, is_up=lambda: config.is_green(url), timeout_seconds=120, unprivileged=True):
            # one node can never place a replica
            setting = {"persistent": {"cluster.default_number_of_replicas": 0}}
            httpx.put(f"{url}/_cluster/settings", json=setting, timeout=30).raise_for_status()
            yield url
