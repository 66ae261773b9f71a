"""Lay out and run one real Elasticsearch node, 8.19 or 7.17, from Maven artifacts.

Both have bulk, search, rescore, highlight, aggregations, msearch, scroll and point in time. Only 7.17 has reindex,
rank-eval and stored templates. Neither has painless, the language analysers, `_inference` or licensed retrievers. What
the server needs and is not published is stood in for by the small classes in java_sources/.
"""

import contextlib
import ctypes.util
import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.nodes import config, java, maven, process
from tests.nodes.layout import laid_out

VERSION_8 = "8.19.21"
VERSION_7 = "7.17.29"
JAVA_RANGES = {VERSION_8: (17, 99), VERSION_7: (11, 23)}
"""7.17 needs the security manager, which Java 24 took away."""

_SOURCES = Path(__file__).parent / "java_sources"
_COMPILER = "org.eclipse.jdt:ecj:3.40.0"
_NETTY_PERMISSIONS = (
    'java.net.SocketPermission "*", "accept,connect,resolve"',
    'java.lang.RuntimePermission "setContextClassLoader"',
    'java.lang.RuntimePermission "getClassLoader"',
    'java.lang.RuntimePermission "accessDeclaredMembers"',
    'java.lang.reflect.ReflectPermission "suppressAccessChecks"',
    'java.util.PropertyPermission "*", "read,write"',
)
# module of 7.17: (artifact, class, what the security manager grants it)
_MODULES_7 = {
    "transport-netty4": ("transport-netty4-client", "org.elasticsearch.transport.Netty4Plugin", _NETTY_PERMISSIONS),
    "reindex": ("reindex-client", "org.elasticsearch.reindex.ReindexPlugin", _NETTY_PERMISSIONS),
    "rank-eval": ("rank-eval-client", "org.elasticsearch.index.rankeval.RankEvalPlugin", ()),
    "mapper-extras": ("mapper-extras-client", "org.elasticsearch.index.mapper.MapperExtrasPlugin", ()),
    "parent-join": ("parent-join-client", "org.elasticsearch.join.ParentJoinPlugin", ()),
}


def _descriptor(name: str, classname: str, *, version: str, java_version: str) -> str:
    return (
        f"description={name}\nversion={version}\nname={name}\nclassname={classname}\njava.version={java_version}\n"
        f"elasticsearch.version={version}\nextended.plugins=\nhas.native.controller=false\n"
    )


def _drop_duplicates(home: Path) -> None:
    """Delete the jars of modules that lib/ has too: the node refuses a class that it finds twice."""
    core = {jar.name for jar in (home / "lib").glob("*.jar")}
    for jar in (home / "modules").rglob("*.jar"):
        if jar.name in core:
            jar.unlink()


def _lay_out_7(home: Path) -> None:
    group = "org.elasticsearch"
    folders = {
        home / "lib": [
            f"{group}:elasticsearch:{VERSION_7}",
            f"{group}:elasticsearch-plugin-classloader:{VERSION_7}",
            "org.apache.logging.log4j:log4j-core:2.17.1",
        ]
    }
    for name, (artifact, _, _) in _MODULES_7.items():
        folders[home / "modules" / name] = [f"{group}.plugin:{artifact}:{VERSION_7}"]
    maven.copy_jars(folders, work=home / "build")
    _drop_duplicates(home)
    for name, (_, classname, permissions) in _MODULES_7.items():
        folder = home / "modules" / name
        text = _descriptor(name, classname, version=VERSION_7, java_version="1.8")
        (folder / "plugin-descriptor.properties").write_text(text)
        if permissions:
            grants = "".join(f"  permission {permission};\n" for permission in permissions)
            (folder / "plugin-security.policy").write_text(f"grant {{\n{grants}}};\n")
    for name in ("plugins", "bin"):
        (home / name).mkdir()


def _lay_out_8(home: Path, java_home: Path) -> None:
    group = "org.elasticsearch"
    netty = home / "modules" / "transport-netty4"
    folders = {
        home / "lib": [f"{group}:elasticsearch:{VERSION_8}"],
        home / "lib" / "entitlement-bridge": [f"{group}:elasticsearch-entitlement-bridge:{VERSION_8}"],
        netty: [f"{group}.plugin:transport-netty4:{VERSION_8}"],
        home / "compiler": [_COMPILER],
    }
    maven.copy_jars(folders, work=home / "build")
    _drop_duplicates(home)
    with zipfile.ZipFile(netty / f"transport-netty4-{VERSION_8}.jar") as jar:
        prefix = "META-INF/es-plugins/transport-netty4/"
        for entry in jar.namelist():
            if entry.startswith(prefix) and not entry.endswith("/"):
                (netty / entry.removeprefix(prefix)).write_bytes(jar.read(entry))
    compiler = _Compiler(java_home, home)
    manifest = "Agent-Class: Agent\nCan-Redefine-Classes: true\nCan-Retransform-Classes: true\n"
    compiler.jar(_SOURCES / "Agent.java", home / "lib" / "entitlement-agent" / "agent.jar", manifest)
    compiler.jar(_SOURCES / "AnsiConsoleLoader.java", home / "lib" / "tools" / "ansi-console" / "console.jar")
    compiler.jar(_SOURCES / "StartArguments.java", home / "start" / "start.jar")
    root = home / "modules" / "slimrank-root"
    compiler.jar(_SOURCES / "root" / "RootPlugin.java", root / "root.jar")
    text = _descriptor("slimrank-root", "slimrank.node.RootPlugin", version=VERSION_8, java_version="17")
    (root / "plugin-descriptor.properties").write_text(text)
    platform = home / "lib" / "platform" / "linux-x64"
    platform.mkdir(parents=True)
    if zstd := ctypes.util.find_library("zstd"):  # the server's own native libraries are not published
        found = next((Path(folder) / zstd for folder in _LIBRARY_FOLDERS if (Path(folder) / zstd).exists()), None)
        if found:
            shutil.copy(found.resolve(), platform / "libzstd.so")
    for name in ("plugins", "bin"):
        (home / name).mkdir()


_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/opt/homebrew/lib")


class _Compiler:
    """Compiles one source at a time against the server's jars, with a compiler that needs no JDK."""

    def __init__(self, java_home: Path, home: Path) -> None:
        (compiler,) = (home / "compiler").glob("ecj-*.jar")
        classpath = ":".join(map(str, (home / "lib").glob("*.jar")))
        self._command = [f"{java_home}/bin/java", "-jar", str(compiler), "-17", "-nowarn", "-cp", classpath]

    def jar(self, source: Path, target: Path, manifest: str = "") -> None:
        """Compile `source` into a jar at `target`."""
        classes = target.with_suffix(".classes")
        subprocess.run([*self._command, "-d", str(classes), str(source)], check=True)
        with zipfile.ZipFile(target, "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\n{manifest}")
            for file in sorted(classes.rglob("*.class")):
                jar.write(file, file.relative_to(classes))
        shutil.rmtree(classes)


def _common_options(java_home: Path, home: Path, folder: Path) -> list[str]:
    return [
        f"{java_home}/bin/java", "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        f"-Djava.io.tmpdir={folder}/tmp", f"-Djna.tmpdir={folder}/tmp", "-Djna.nosys=true", "-Dfile.encoding=UTF-8",
        "-Djava.awt.headless=true", "-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
        "-Dio.netty.recycler.maxCapacityPerThread=0", "-Dio.netty.allocator.numDirectArenas=0",
        "-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true", "-Dlog4j2.formatMsgNoLookups=true",
        f"-Des.path.home={home}", "-Des.distribution.type=tar",
    ]  # fmt: skip


def _command_7(java_home: Path, home: Path, folder: Path) -> list[str]:
    manager = ["-Djava.security.manager=allow"] if java.release(java_home)[0] >= 17 else []
    return [
        *_common_options(java_home, home, folder), *manager, "-Djava.locale.providers=SPI,COMPAT",
        "--add-opens=java.base/java.io=ALL-UNNAMED", f"-Des.path.conf={folder}/config", "-Des.distribution.flavor=default",
        "-cp", f"{home}/lib/*", "org.elasticsearch.bootstrap.Elasticsearch",
    ]  # fmt: skip


def _command_8(java_home: Path, home: Path, folder: Path) -> list[str]:
    (bridge,) = (home / "lib" / "entitlement-bridge").glob("*.jar")
    native = f"{home}/lib/platform/linux-x64"
    newer = java.release(java_home)[0] >= 21
    access = ["--enable-native-access=org.elasticsearch.nativeaccess,org.apache.lucene.core"] if newer else []
    return [
        *_common_options(java_home, home, folder), *access, "-Djava.locale.providers=CLDR", f"-Des.nativelibs.path={native}",
        f"-Djava.library.path={native}", f"-Djna.library.path={native}", "-Djdk.attach.allowAttachSelf=true",
        "-XX:+EnableDynamicAgentLoading", f"--patch-module=java.base={bridge}",
        "--add-exports=java.base/org.elasticsearch.entitlement.bridge="
        "org.elasticsearch.entitlement,java.logging,java.net.http,java.naming,jdk.net",
        "--add-modules=jdk.net,jdk.management.agent,ALL-MODULE-PATH",
        "--add-opens=org.apache.lucene.core/org.apache.lucene.store=org.elasticsearch.server",
        "--module-path", f"{home}/lib", "-m", "org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch",
    ]  # fmt: skip


def home_folder(cache: Path, version: str, java_home: Path) -> Path:
    """Return the node's folder under `cache`, laid out if need be (about 30 s, once)."""
    sources = b"".join(source.read_bytes() for source in sorted(_SOURCES.rglob("*.java")))
    recipe = hashlib.sha256(Path(__file__).read_bytes() + sources).hexdigest()[:12]
    home = cache / f"elasticsearch-{version}-{recipe}"
    return laid_out(home, _lay_out_7 if version == VERSION_7 else lambda stage: _lay_out_8(stage, java_home))


@contextlib.contextmanager
def node(cache: Path, java_home: Path, version: str) -> Iterator[str]:
    """Run a node until the block ends; yield its URL."""
    home = home_folder(cache, version, java_home)
    port, transport_port = process.free_port(), process.free_port()
    url = f"http://127.0.0.1:{port}"
    with process.scratch_folder() as folder:
        conf = config.write_config(folder, "elasticsearch", http_port=port, transport_port=transport_port)
        stdin = None
        if version == VERSION_8:
            stdin = folder / "start-arguments"
            start = [f"{java_home}/bin/java", "-cp", f"{home}/start/start.jar:{home}/lib/*", "StartArguments"]
            subprocess.run([*start, str(home), str(conf), f"{folder}/logs", str(stdin)], check=True, capture_output=True)
        process.hand_over(folder)
        command = (_command_7 if version == VERSION_7 else _command_8)(java_home, home, folder)
        with process.running(
            command,
            folder=folder,
            is_up=lambda: config.is_green(url),
            timeout_seconds=120,
            unprivileged=True,
            stdin=stdin,
            environment={"LIBFFI_TMPDIR": f"{folder}/tmp", "ES_TMPDIR": f"{folder}/tmp"},
        ):
            yield url
