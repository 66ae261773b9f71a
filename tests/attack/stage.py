"""What is attacked: gateway, worker and Redis, playground and proxy, each a process within the memory it ships with."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from slimrank import manifest
from slimrank.serving.gateway.keys import new_key
from tests.attack.limits import limited, resident_megabytes
from tests.connector.proxy.engine import Engine
from tests.nodes import process
from tests.nodes.redis import running_redis

GATEWAY_MEGABYTES, WORKER_MEGABYTES, PLAYGROUND_MEGABYTES = 768, 3072, 512
"""As in docker-compose.yml and the chart; `tests/attack/test_attack.py` compares them."""
PROXY_MEGABYTES = 512
HEALTH_SECONDS, ANSWER_SECONDS = 3.0, 10.0
"""So long may an honest caller wait while others attack."""
DOCUMENTS = ["The bakery sells rye bread before noon.", "Titan is the largest moon of Saturn."]
RULES = {"rules": [{"name": "all", "indices": ["*"], "fields": ["text"], "rank_window_size": 10, "deadline_ms": 2000}]}


@dataclass
class Stage:
    """The running processes, and an honest caller's experience with them."""

    gateway: str
    tls: str
    proxy: str
    playground: str
    redis: str
    engine: Engine
    keys: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]]
    folder: Path
    model: Path
    waits: list[float] = field(default_factory=list)

    def port(self, name: str) -> int:
        """Return the port of `gateway`, `tls`, `proxy` or `playground`."""
        return httpx.URL(getattr(self, name)).port or 443

    def post(self, body: Any = None, *, key: str = "hostile", timeout: float = 60, **options: Any) -> httpx.Response:
        """Ask the gateway to rerank: a dictionary, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.keys[key]}"} | options.pop("headers", {})
        return httpx.post(
            f"{self.gateway}/v1/rerank", content=content, headers=headers, timeout=timeout, trust_env=False, **options
        )

    def complaints(self) -> list[str]:
        """Return what is wrong now: who has died, and who answers late or not."""
        wrong = [f"{name} died ({running.returncode})" for name, running in self.processes.items() if running.poll() is not None]
        for name in ("gateway", "proxy", "playground"):
            path = "/_slimrank/health" if name == "proxy" else "/healthz"
            try:
                begin = time.monotonic()
                status = httpx.get(getattr(self, name) + path, timeout=30, trust_env=False).status_code
                if status != 200 or time.monotonic() - begin > HEALTH_SECONDS:
                    wrong.append(f"{name} says {status} after {time.monotonic() - begin:.1f} s")
            except httpx.HTTPError as error:
                wrong.append(f"{name}: {type(error).__name__}")
        return wrong + self._honest()

    def _honest(self) -> list[str]:
        begin = time.monotonic()
        try:
            answer = self.post({"query": f"moon {begin}", "documents": DOCUMENTS}, key="honest", timeout=60)
            seconds = time.monotonic() - begin
            if answer.status_code == 200 and len(answer.json()["results"]) == 2 and seconds <= ANSWER_SECONDS:
                return []
            return [f"an honest caller got {answer.status_code} after {seconds:.1f} s"]
        except httpx.HTTPError as error:
            return [f"an honest caller got {type(error).__name__}"]

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[str]]:
        """Ask as an honest caller all the while; the list holds what went wrong, and `waits` how long each answer took."""
        wrong: list[str] = []
        ended = threading.Event()
        self.waits = []

        def ask() -> None:
            while not ended.wait(0.1):
                begin = time.monotonic()
                wrong.extend(self._honest())
                self.waits.append(time.monotonic() - begin)

        caller = threading.Thread(target=ask)
        caller.start()
        try:
            yield wrong
        finally:
            ended.set()
            caller.join()

    def memory(self) -> str:
        """Return the peak memory of each process."""
        return ", ".join(f"{name} {resident_megabytes(running.pid, peak=True)} MB" for name, running in self.processes.items())


@contextlib.contextmanager
def staged(model: Path, folder: Path, certificates: Path) -> Iterator[Stage]:
    """Run everything over a model folder."""
    with contextlib.ExitStack() as stack:
        redis_url, engine = stack.enter_context(running_redis()), Engine()
        stack.callback(engine.close)
        engine.documents = [{"text": text} for text in DOCUMENTS * 5]
        entries = {name: new_key(name) for name in ("honest", "hostile", "proxy")}
        keys = folder / "keys.json"
        keys.write_text(json.dumps({"keys": [entry.model_dump(exclude_none=True) for _, entry in entries.values()]}))
        key_file, rules = folder / "key", folder / "rules.json"
        key_file.write_text(entries["proxy"][0])
        rules.write_text(json.dumps(RULES))
        ports = {name: process.free_port() for name in ("gateway", "tls", "proxy", "playground")}
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        running: dict[str, subprocess.Popen[bytes]] = {}

        def start(name: str, arguments: list[str], megabytes: int, is_up: Any, **settings: object) -> None:
            running[name] = stack.enter_context(
                limited(arguments, megabytes=megabytes, folder=folder / name, is_up=is_up, **settings)
            )

        start("worker", ["slimrank", "worker"], WORKER_MEGABYTES, lambda: True, redis_url=redis_url, model=model, threads=1)
        start(
            "gateway", ["slimrank", "serve"], GATEWAY_MEGABYTES, lambda: process.answers(urls["gateway"] + "/readyz"),
            redis_url=redis_url, port=ports["gateway"], api_keys_file=keys, default_model=manifest.read(model).name,
        )  # fmt: skip
        start(
            "tls", ["tests.serving.process", "gateway"], GATEWAY_MEGABYTES, lambda: _listens(ports["tls"]), embedded=True,
            port=ports["tls"], tls_certificate=certificates / "cert.pem", tls_key=certificates / "key.pem",
        )  # fmt: skip
        engine_url = f"http://127.0.0.1:{engine.port}"
        start(
            "proxy",
            ["slimrank", "proxy", "--upstream", engine_url, "--rules", str(rules), "--scorer", urls["gateway"],
             "--port", str(ports["proxy"]), "--silent-seconds", "5", "--max-running", "4"],
            PROXY_MEGABYTES, lambda: process.answers(urls["proxy"] + "/_slimrank/health"), api_key=entries["proxy"][0],
        )  # fmt: skip
        start(
            "playground",
            ["slimrank", "playground", "--engine", engine_url, "--index", "index", "--field", "text", "--gateway", urls["gateway"],
             "--gateway-key-file", str(key_file), "--port", str(ports["playground"])],
            PLAYGROUND_MEGABYTES, lambda: process.answers(urls["playground"] + "/healthz"),
        )  # fmt: skip
        urls["tls"] = f"https://127.0.0.1:{ports['tls']}"
        secrets = {name: key for name, (key, _) in entries.items()}
        yield Stage(**urls, redis=redis_url, engine=engine, keys=secrets, processes=running, folder=folder, model=model)


def _listens(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
