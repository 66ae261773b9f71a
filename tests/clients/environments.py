"""An environment of its own for a client, made once a pinned list of packages, and the command that asks through it."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.clients.table import Client

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "clients"
TOOLS = {"python": sys.executable, "node": "npm", "java": "mvn", "go": "go", "curl": "curl"}
INSTALL_SECONDS = 600
_POM = (
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    "<groupId>clients</groupId><artifactId>client</artifactId><version>1</version><dependencies>{}</dependencies></project>"
)


class NotInstalled(Exception):
    """A client cannot be installed here; the message says why."""


def command_of(client: Client) -> tuple[list[str], Path]:
    """Return the command that asks through a client, less the two URLs to ask, and the folder that it runs in.

    Raises:
        NotInstalled: the client's tool is not there, or its registry is not reached.
    """
    if shutil.which(TOOLS[client.kind]) is None:
        raise NotInstalled(f"{TOOLS[client.kind]} is not there")
    digest = hashlib.sha256("\n".join((client.kind, *client.packages)).encode()).hexdigest()[:12]
    folder = CACHE / f"{client.kind}-{client.function}-{digest}"
    if not (folder / "installed").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _install(client, folder)
        (folder / "installed").touch()
    match client.kind:
        case "python":
            return [str(folder / "bin" / "python"), str(HERE / "ask.py"), client.function], folder
        case "node":
            return ["node", str(HERE / "ask.mjs"), client.function], folder
        case "java":
            return [_java(), "-cp", "lib/*", str(HERE / _source(client))], folder
        case "go":
            return [str(folder / "ask")], folder
        case "curl":
            return ["bash", str(HERE / "ask.sh")], folder


def _install(client: Client, folder: Path) -> None:
    match client.kind:
        case "python":
            _run([sys.executable, "-m", "venv", folder], folder)
            python = folder / "bin" / "python"
            pip = ["uv", "pip", "install", "--python", python] if shutil.which("uv") else [python, "-m", "pip", "install"]
            _run([*pip, "--quiet", *client.packages], folder)
        case "node":
            (folder / "package.json").write_text("{}")
            _run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *client.packages], folder)
        case "java":
            parts = [package.split(":") for package in client.packages]
            names = ("groupId", "artifactId", "version")
            items = ["".join(f"<{name}>{part}</{name}>" for name, part in zip(names, each, strict=True)) for each in parts]
            (folder / "pom.xml").write_text(_POM.format("".join(f"<dependency>{item}</dependency>" for item in items)))
            _run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"], folder)
        case "go":
            shutil.copy(HERE / "ask.go", folder)
            _run(["go", "mod", "init", "client"], folder)
            for package in client.packages:
                _run(["go", "get", package], folder)
            _run(["go", "build", "-mod=mod", "-o", "ask", "."], folder)


def _run(command: list[str | Path], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{Path(command[0]).name} took more than {INSTALL_SECONDS} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no words"]
        raise NotInstalled(f"{Path(command[0]).name} failed: {lines[-1][:200]}")


def _java() -> str:
    return str(Path(os.environ["JAVA_HOME"]) / "bin" / "java") if "JAVA_HOME" in os.environ else "java"


def _source(client: Client) -> str:
    return {"cohere": "AskCohere.java", "langchain4j": "AskLangchain4j.java"}[client.function]
