"""Lay out folders of jars from Maven artifacts, in one Maven call.

A folder of a server (lib/, modules/x/) is the transitive closure of a few artifacts. Each becomes one module of a
generated Maven build, so that Maven resolves versions itself; nothing is resolved by hand here.
"""

import shutil
import subprocess
from pathlib import Path

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

_PARENT = """<project><modelVersion>4.0.0</modelVersion><groupId>slimrank.test</groupId><artifactId>layout</artifactId>
<version>1</version><packaging>pom</packaging><modules>{modules}</modules></project>
"""
_CHILD = """<project><modelVersion>4.0.0</modelVersion><parent><groupId>slimrank.test</groupId><artifactId>layout</artifactId>
<version>1</version></parent><artifactId>{name}</artifactId><packaging>pom</packaging>
<properties><outputDirectory>{folder}</outputDirectory><includeScope>runtime</includeScope></properties>
<dependencies>{dependencies}</dependencies></project>
"""


class MavenUnavailable(RuntimeError):
    """Maven is not installed, or could not resolve an artifact."""


def _dependency(coordinates: str) -> str:
    """Render `group:artifact:version[!]`; a trailing ! leaves the artifact's own dependencies out."""
    group, artifact, version = coordinates.removesuffix("!").split(":")
    alone = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        f"{alone if coordinates.endswith('!') else ''}</dependency>"
    )


def copy_jars(folders: dict[Path, list[str]], *, work: Path) -> None:
    """Copy the artifacts and all they depend on into each folder.

    Args:
        folders: folder to its `group:artifact:version` coordinates.
        work: a scratch folder for the generated build, emptied first.

    Raises:
        MavenUnavailable: no `mvn` on PATH, or Maven's own error, shortened.
    """
    mvn = shutil.which("mvn")
    if mvn is None:
        raise MavenUnavailable("Maven (mvn) is not installed; on Debian: apt-get install maven")
    shutil.rmtree(work, ignore_errors=True)
    names = [f"folder{number}" for number in range(len(folders))]
    for name, (folder, coordinates) in zip(names, folders.items(), strict=True):
        (work / name).mkdir(parents=True)
        dependencies = "".join(map(_dependency, coordinates))
        (work / name / "pom.xml").write_text(_CHILD.format(name=name, folder=folder, dependencies=dependencies))
    modules = "".join(f"<module>{name}</module>" for name in names)
    (work / "pom.xml").write_text(_PARENT.format(modules=modules))
    command = [mvn, "-B", "-q", "-Dstyle.color=never", "-f", str(work / "pom.xml"), _PLUGIN]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise MavenUnavailable("Maven could not bring the artifacts: " + (done.stdout + done.stderr).strip()[:1000])
