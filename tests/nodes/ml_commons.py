"""Run the published ML Commons classes outside a node: what shapes a request to a reranker, and what reads its answer.

The plugin itself is not published as an artifact, but its common jar is. The harness is compiled with Eclipse's
compiler, which is a jar too, so that a Java runtime without a compiler is enough.
"""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.nodes import java, maven
from tests.nodes.layout import laid_out
from tests.nodes.require import require

MINIMUM_JAVA = 21
_SOURCE = Path(__file__).resolve().parents[1] / "connector" / "jvm" / "Harness.java"
_JARS = [
    "org.opensearch:opensearch-ml-common:3.4.0.0",
    "org.opensearch:opensearch:3.5.0",
    "org.opensearch.plugin:lang-painless:3.5.0",
    # ml-common's own dependencies, which its pom does not name; versions are those of ML Commons 3.4
    "com.jayway.jsonpath:json-path:2.9.0",
    "net.minidev:json-smart:2.5.2",
    "com.google.code.gson:gson:2.13.2",
    "org.apache.commons:commons-text:1.14.0",
    "org.apache.commons:commons-lang3:3.18.0",
    "com.fasterxml.jackson.core:jackson-databind:2.20.1",
    "com.networknt:json-schema-validator:1.4.0",
    "org.json:json:20250517",
    "org.slf4j:slf4j-nop:2.0.17",
]
_COMPILER = "org.eclipse.jdt:ecj:3.40.0"


class MlCommons:
    """The harness, compiled and running."""

    def __init__(self, cache: Path) -> None:
        found = java.find_java(MINIMUM_JAVA)
        if found is None:
            require(f"ML Commons' classes need a Java {MINIMUM_JAVA}+ (set JAVA_HOME), and none is here")
        self._java = f"{found}/bin/java"
        recipe = hashlib.sha256(Path(__file__).read_bytes() + _SOURCE.read_bytes()).hexdigest()[:12]
        try:
            self._home = laid_out(cache / f"ml-commons-{recipe}", self._lay_out)
        except maven.MavenUnavailable as error:
            require(str(error))
        command = [self._java, "-cp", f"{self._home}/classes:{self._home}/jars/*", "Harness"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _lay_out(self, stage: Path) -> None:
        maven.copy_jars({stage / "jars": _JARS, stage / "compiler": [_COMPILER]}, work=stage / "build")
        (compiler,) = (stage / "compiler").glob("ecj-*.jar")
        target = ["-21", "-nowarn", "-cp", ":".join(map(str, (stage / "jars").glob("*.jar"))), "-d", f"{stage}/classes"]
        subprocess.run([self._java, "-jar", str(compiler), *target, str(_SOURCE)], check=True)

    def run(self, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return {"ok": ...} or {"error": ...} for each case; see Harness.java for what a case is."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(cases).encode() + b"\n")
        self._process.stdin.flush()
        results: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return results

    def close(self) -> None:
        """End the Java process."""
        self._process.communicate()
