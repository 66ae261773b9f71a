"""Measure the time that the proxy adds to a request that it passes on: the p50 of pairs, one direct and one through the proxy.

    python -m tests.connector.proxy.overhead --requests 1000 [--engine URL]

Without a URL it starts the tests' OpenSearch. Each side keeps one connection open; the order within a pair alternates.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from tests.nodes.engine import OPENSEARCH, running
from tests.nodes.process import free_port

INDEX = "slimrank-test-overhead"
RULES = f"rules: [{{name: bench, indices: [{INDEX}], fields: [body]}}]"
WORDS = ["gold", "ring", "of", "the", "lost", "mine", "under", "a", "red", "hill"]
REQUESTS = {
    "a document": ("GET", f"/{INDEX}/_doc/7", None),
    "10 hits, no rule": ("POST", f"/{INDEX}*/_search", {"query": {"match": {"body": "gold"}}}),
    "10 hits, sorted": ("POST", f"/{INDEX}/_search", {"query": {"match": {"body": "gold"}}, "sort": ["n"]}),
    "100 hits, no rule": ("POST", f"/{INDEX}*/_search", {"query": {"match": {"body": "gold"}}, "size": 100}),
}


def send(connection: http.client.HTTPConnection, method: str, path: str, body: object) -> float:
    """Return the seconds from sending to the last byte."""
    content = json.dumps(body).encode() if body is not None else None
    begin = time.perf_counter()
    connection.request(method, path, body=content, headers={"content-type": "application/json"} if content else {})
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - begin
    assert answer.status == 200, answer.status
    return seconds


def measure(engine: str, proxy: str, requests: int) -> None:
    """Print a line for each kind of request."""
    direct = http.client.HTTPConnection(urlsplit(engine).netloc)
    through = http.client.HTTPConnection(urlsplit(proxy).netloc)
    for name, (method, path, body) in REQUESTS.items():
        times: dict[str, list[float]] = {"direct": [], "through": []}
        sides = [("direct", direct), ("through", through)]
        for number in range(requests + 50):
            for side, connection in sides if number % 2 else sides[::-1]:
                seconds = send(connection, method, path, body)
                if number >= 50:
                    times[side].append(1000 * seconds)
        added = [b - a for a, b in zip(times["direct"], times["through"], strict=True)]
        cuts = {side: (statistics.median(each), statistics.quantiles(each, n=20)[18]) for side, each in times.items()}
        print(
            f"{name:20} direct p50 {cuts['direct'][0]:.2f} p95 {cuts['direct'][1]:.2f} ms, "
            f"through p50 {cuts['through'][0]:.2f} p95 {cuts['through'][1]:.2f} ms, added p50 {statistics.median(added):.2f} ms"
        )


def fill(engine: str) -> None:
    """Index a thousand small documents."""
    lines = []
    for number in range(1000):
        lines += [json.dumps({"index": {"_id": str(number)}}), json.dumps({"n": number, "body": " ".join(WORDS * 6)})]
    connection = http.client.HTTPConnection(urlsplit(engine).netloc)
    connection.request("POST", f"/{INDEX}/_bulk?refresh=true", "\n".join(lines) + "\n", {"content-type": "application/x-ndjson"})
    assert connection.getresponse().read()


def main() -> None:
    """Start the engine and the proxy, measure, clean up."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=1000)
    options.add_argument("--engine", default="")
    chosen = options.parse_args()
    with ExitStack() as stack:
        engine = chosen.engine or stack.enter_context(running(OPENSEARCH)).url
        fill(engine)
        rules = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "rules.yaml"
        rules.write_text(RULES)
        port = free_port()
        line = [
            sys.executable,
            "-m",
            "slimrank",
            "proxy",
            "--upstream",
            engine,
            "--port",
            str(port),
            "--rules",
            str(rules),
            "--log-level",
            "error",
        ]
        proxy = subprocess.Popen(line)
        stack.callback(proxy.wait)
        stack.callback(proxy.terminate)
        time.sleep(5)
        measure(engine, f"http://127.0.0.1:{port}", chosen.requests)


if __name__ == "__main__":
    main()
