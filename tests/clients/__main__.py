"""Run the table of public clients against a gateway and print it as a table, a row a client.

    python -m tests.clients [--url URL] [--only WORD] [--write]

Without a URL a gateway over a fake model is run. Each client must find the order that a plain request finds; then it
asks a server that answers 504, and its requests are counted. `--write` puts the table into the guide.
A client that cannot be installed is skipped, with the reason. Exit status 1 if one fails, or none was run.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from docs.marks import fill
from tests.clients.environments import HERE, NotInstalled, command_of
from tests.clients.table import CLIENTS, Client
from tests.serving.process import gateway

PAGE = HERE.parent.parent / "docs" / "guides" / "clients.md"
BEGIN, END = "<!-- clients: make clients -->", "<!-- end of clients -->"
HEAD = "| client | what to set, where the gateway is at `URL` | run with | outcome | requests on 504 |\n|---|---|---|---|--:|"
BODY = {"query": "lead pipe", "documents": ["gold ring", "a lead pipe", "pipe"]}
ASK_SECONDS = 120


class TooLate(ThreadingHTTPServer):
    """Answers 504 to what is posted and counts it; what is asked for before comes from a gateway."""

    daemon_threads = True
    requests = 0
    gateway = ""


class _TooLate(BaseHTTPRequestHandler):
    server: TooLate

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.requests += 1
        words = "no answer within 60 s"
        self._answer(504, json.dumps({"message": words, "detail": words, "error": words}).encode())

    def do_GET(self) -> None:
        found = httpx.get(self.server.gateway + self.path)
        self._answer(found.status_code, found.content)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def too_late(url: str) -> Iterator[TooLate]:
    """Run a server that is always too late, beside the gateway at ``url``."""
    server = TooLate(("127.0.0.1", 0), _TooLate)
    server.gateway = url
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def outcome_of(client: Client, url: str, expected: list[int]) -> tuple[str, str]:
    """Return how a client fared at a gateway, and how many requests it makes of one call to a server that is too late."""
    try:
        command, folder = command_of(client)
    except NotInstalled as reason:
        return f"skipped: {reason}", ""
    with too_late(url) as late:
        command += [url, f"http://127.0.0.1:{late.server_address[1]}"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=ASK_SECONDS)
            printed, errors, more = done.stdout, done.stderr, ""
        except subprocess.TimeoutExpired as error:
            printed, errors, more = error.stdout or b"", error.stderr or b"", " and more"
        tries = late.requests
    if not (lines := printed.decode().strip().splitlines()):
        print(errors.decode()[-2000:], file=sys.stderr)
        return f"failed: {(errors.decode().strip().splitlines() or ['no answer'])[-1][:200]}", ""
    found = json.loads(lines[0])
    return ("right order" if found == expected else f"failed: {found}, not {expected}"), f"{tries}{more}"


def row_of(client: Client, outcome: str, tries: str) -> str:
    """Return a row of the table."""
    packages = ", ".join(f"`{package}`" for package in client.packages) or "the system's"
    return f"| {client.name} | {client.settings} | {packages} | {outcome} | {tries} |"


def main(arguments: list[str]) -> int:
    """Run the table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients")
    parser.add_argument("--url", help="a running gateway; left out, one over a fake model is run")
    parser.add_argument("--only", default="", help="run the clients with this word in their name")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    chosen = parser.parse_args(arguments)
    with nullcontext(chosen.url.rstrip("/")) if chosen.url else gateway(embedded=True) as url:
        results = httpx.post(f"{url}/v1/rerank", json=BODY).raise_for_status().json()["results"]
        expected, rows, outcomes = [result["index"] for result in results], [HEAD], []
        for client in CLIENTS:
            if chosen.only.lower() in client.name.lower():
                outcome, tries = outcome_of(client, url, expected)
                outcomes.append(outcome.partition(":")[0])
                rows.append(row_of(client, outcome, tries))
                print(f"{client.name}: {outcome}, requests on 504: {tries or '-'}", flush=True)
    counted = ", ".join(f"{outcomes.count(name)} {name}" for name in ("right order", "failed", "skipped"))
    print(counted)
    if chosen.write and not chosen.only:
        fill(PAGE, BEGIN, END, "\n".join(rows))
    return 0 if "right order" in outcomes and "failed" not in outcomes else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
