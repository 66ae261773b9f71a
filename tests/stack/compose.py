"""The compose file's stack from outside: docker compose as a command, and the addresses it publishes.

Which files make it up is told by docker compose's own variables (COMPOSE_FILE, COMPOSE_ENV_FILES), so the tests are the
same over the official images and over those of deploy/compose/offline.
"""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.deploy.helm import ROOT

GATEWAY, OPENSEARCH = "http://127.0.0.1:8080", "http://127.0.0.1:9200"
PLAYGROUND, PROMETHEUS = "http://127.0.0.1:8090", "http://127.0.0.1:9090"


def compose(*arguments: str, stdin: str | None = None, codes: tuple[int, ...] = (0,)) -> str:
    """Run docker compose; return its standard output.

    Raises:
        AssertionError: it ended with another code than one of `codes`.
    """
    done = subprocess.run(
        ["docker", "compose", *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode in codes, (
        f"docker compose {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}"
    )
    return done.stdout


def containers(service: str = "") -> list[dict[str, Any]]:
    """Return what docker knows of each container, running or ended."""
    found = compose("ps", "--all", "--quiet", *([service] if service else [])).split()
    return (
        list(json.loads(subprocess.run(["docker", "inspect", *found], capture_output=True, check=True).stdout)) if found else []
    )


def ask(method: str, url: str, **options: Any) -> Any:
    """Send one request; return the JSON of an answer of 200."""
    answer = httpx.request(method, url, timeout=120, **options)
    assert answer.status_code == 200, f"{url}: {answer.status_code} {answer.text[:500]}"
    return answer.json()


def eventually(claim: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until a claim holds.

    Raises:
        AssertionError: it did not within `seconds`.
    """
    give_up = time.monotonic() + seconds
    while True:
        try:
            if claim():
                return
        except (httpx.HTTPError, AssertionError):
            pass
        assert time.monotonic() < give_up, f"after {seconds:g} s still not: {what}"
        time.sleep(1)
