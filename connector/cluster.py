"""Read from and write to one search cluster over HTTP, with clear error messages. The installers use it.

All writes are recorded; a dry run records them without sending them. Searches for a user go through the user's own client
(``connector.client``) or the proxy, never through this module.
"""

import json
import ssl
from dataclasses import dataclass, field
from typing import Self

import httpx

from connector.bounded import PLAIN_OR_GZIP, bounded
from connector.urls import require_url
from slimrank.errors import ConfigError, EngineError, EngineRefused, EngineUnavailable
from slimrank.types import Json

MAX_CLUSTER_BYTES = 256 * 2**20

# The answers to writes that a dry run continues with.
_DRY_ANSWER: Json = {"connector_id": "<CONNECTOR_ID>", "model_id": "<MODEL_ID>", "status": "COMPLETED"}


class Refusal(EngineRefused):
    """An answer with status 400 or above; holds the engine's own reason and the kind of error."""

    def __init__(self, message: str, *, status: int, reason: str, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Call:
    """One write, sent or only recorded."""

    method: str
    path: str
    body: Json | None = None

    def __str__(self) -> str:
        """Return the call in the form that the engines' consoles accept."""
        body = "" if self.body is None else "\n" + json.dumps(self.body, indent=2, ensure_ascii=False)
        return f"{self.method} {self.path}{body}"


@dataclass(slots=True)
class Cluster:
    """A cluster at the base URL of ``http``; ``calls`` holds every write so far."""

    http: httpx.Client
    dry_run: bool = False
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Return the cluster; its connections close at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connections."""
        self.http.close()

    def read(self, path: str, body: Json | None = None, *, method: str | None = None) -> Json:
        """Send a request that changes nothing: GET, or POST if there is a body."""
        return self._send(Call(method or ("GET" if body is None else "POST"), path, body))

    def find(self, path: str, body: Json | None = None) -> Json | None:
        """Read, and return None if the answer is 404."""
        try:
            return self.read(path, body)
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    def write(self, method: str, path: str, body: Json | None = None) -> Json:
        """Send a request that changes the cluster; a dry run only records it."""
        call = Call(method, path, body)
        self.calls.append(call)
        return dict(_DRY_ANSWER) if self.dry_run else self._send(call)

    def _send(self, call: Call) -> Json:
        try:
            answer = self.http.request(call.method, call.path, json=call.body)
        except httpx.HTTPError as error:
            raise explain_transport(error, str(self.http.base_url)) from error
        if answer.status_code >= 400:
            raise _explain_refusal(call, answer, str(self.http.base_url))
        try:
            parsed = answer.json()
        except ValueError as error:
            raise EngineUnavailable(
                f"asked {self.http.base_url} for {call.path}, found an answer that is not JSON; is a search engine at that URL?"
            ) from error
        return parsed if isinstance(parsed, dict) else {"answer": parsed}


def open_cluster(
    url: str,
    *,
    user: str | None = None,
    password: str | None = None,
    api_key: str | None = None,
    ca_cert: str | None = None,
    insecure: bool = False,
    timeout_seconds: float = 60.0,
    dry_run: bool = False,
) -> Cluster:
    """Return the cluster at ``url``; nothing is sent yet.

    Raises:
        ConfigError: ``url`` is not a URL, or the certificate file cannot be read.
    """
    require_url(url, "asked to reach a search engine at", "https://localhost:9200")
    headers = PLAIN_OR_GZIP | ({"Authorization": f"ApiKey {api_key}"} if api_key else {})
    auth = httpx.BasicAuth(user, password or "") if user else None
    client = httpx.Client(
        base_url=url,
        auth=auth,
        headers=headers,
        verify=_tls(ca_cert, insecure),
        timeout=timeout_seconds,
        trust_env=False,
        event_hooks=bounded(MAX_CLUSTER_BYTES),
    )
    return Cluster(client, dry_run=dry_run)


def _tls(ca_cert: str | None, insecure: bool) -> ssl.SSLContext | bool:
    if insecure:
        return False
    if ca_cert is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_cert)
    except OSError as error:
        raise ConfigError(f"asked to trust the certificates in {ca_cert}, but the file cannot be read: {error}") from error


def explain_transport(error: httpx.HTTPError, url: str) -> EngineError:
    """Return the ``EngineError`` for an httpx error: the server did not answer, or not completely."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        cure = "name its authority with --ca-cert FILE, or test with --insecure"
        return EngineUnavailable(f"{url} shows a certificate that is not trusted here; {cure} ({text})")
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return EngineUnavailable(f"{url} does not speak TLS; try the same address with http://")
    if isinstance(error, httpx.DecodingError):
        return EngineRefused(f"{url}: {text}; ask for fewer hits or fields")
    if isinstance(error, httpx.TimeoutException):
        return EngineUnavailable(
            f"{url} gave no answer in time ({type(error).__name__}); is the cluster overloaded or firewalled?"
        )
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and url.startswith("http://"):
        return EngineUnavailable(f"{url} closed the connection; if the cluster speaks TLS, try the same address with https://")
    return EngineUnavailable(f"nothing answers at {url} ({text or type(error).__name__}); is the engine up and the URL right?")


def _reason(answer: httpx.Response) -> tuple[str, str]:
    """Return the engine's own reason in an error answer, and the kind of error if the answer names it."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text.strip()[:300] or answer.reason_phrase, ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        causes = [error.get("caused_by") or {}, *(error.get("root_cause") or []), error]
        deepest = next((cause for cause in causes if cause.get("reason")), error)
        return str(deepest.get("reason") or error.get("type") or error), str(deepest.get("type", ""))
    return str(error), ""


def _explain_refusal(call: Call, answer: httpx.Response, url: str) -> Refusal:
    (reason, kind), status = _reason(answer), answer.status_code
    asked = f"{call.method} {call.path}"
    match status:
        case 401:
            message = f"{url} does not accept the credentials (401 at {asked}); check --user and the password, or --api-key"
        case 403:
            message = f"{url} knows the user but forbids {asked} (403: {reason}); give the user that permission"
        case 429:
            message = f"{url} is overloaded (429 at {asked}: {reason}); try again later"
        case _:
            message = f"{url} refused {asked} with {status}: {reason}"
    return Refusal(message, status=status, reason=reason, kind=kind)
