"""A small search engine on a real socket. It records every received byte; a test can set its answers."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from slimrank.types import Json


@dataclass
class Received:
    """One request, as it was received."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    raw_head: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}


@dataclass
class Reply:
    """An answer, as bytes."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("content-type", "application/json; charset=UTF-8")])
    body: bytes = b"{}"
    chunks: list[bytes] | None = None
    before_chunk: Callable[[int], None] = lambda _: None
    breaks_off: bool = False


class Engine:
    """Listens until it is closed. ``reply`` makes the answers; by default it searches ``documents``."""

    def __init__(self, *, wrap: Callable[[socket.socket], socket.socket] = lambda each: each) -> None:
        self.documents: list[Json] = []
        self.raw_hits: list[str] | None = None
        self.received: list[Received] = []
        self.reply: Callable[[Received], Reply] = self.search
        self.closed_early = threading.Event()
        self._wrap = wrap
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            connection = self._wrap(plain)
            with connection, connection.makefile("rb") as reader:
                while (request := _read(reader)) is not None:
                    self.received.append(request)
                    if not self._answer(connection, request):
                        return
        except (OSError, ValueError):  # the connection was cut, perhaps inside a chunk
            self.closed_early.set()

    def _answer(self, connection: socket.socket, request: Received) -> bool:
        reply = self.reply(request)
        head = f"HTTP/1.1 {reply.status} Whatever\r\n" + "".join(f"{key}: {value}\r\n" for key, value in reply.headers)
        if reply.chunks is None:
            connection.sendall((head + f"Content-Length: {len(reply.body)}\r\n\r\n").encode() + reply.body)
            return True
        connection.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
        for number, chunk in enumerate(reply.chunks):
            reply.before_chunk(number)
            connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        if reply.breaks_off:
            return False
        connection.sendall(b"0\r\n\r\n")
        return True

    # -- a small search engine -----------------------------------------------------------------------------------------

    def search(self, request: Received) -> Reply:
        """Answer ``_search`` and ``_msearch`` over the documents in their order, in the format of the engines."""
        if not request.path.endswith(("/_search", "/_msearch")):
            return Reply()
        if request.path.endswith("/_msearch"):
            lines = request.body.split(b"\n")
            answers = [self._page({}, json.loads(body)) for body in lines[1::2]]
            return Reply(body=('{"took":3,"responses":[' + ",".join(answers) + "]}").encode())
        return Reply(body=self._page(request.params, request.json).encode())

    def _page(self, params: dict[str, str], body: Json) -> str:
        start, size = int(params.get("from", body.get("from", 0))), int(params.get("size", body.get("size", 10)))
        hits = self.raw_hits or [
            json.dumps(self._hit(place, document, params, body)) for place, document in enumerate(self.documents)
        ]
        best = float(len(hits)) if hits else "null"
        return (
            f'{{"took":3,"timed_out":false,"hits":{{"total":{{"value":{len(hits)},"relation":"eq"}},"max_score":{best},'
            f'"hits":[{",".join(hits[start : start + size])}]}},"aggregations":{{"a":{{"value":1.0}}}}}}'
        )

    def _hit(self, place: int, document: Json, params: dict[str, str], body: Json) -> Json:
        hit: Json = {"_index": "products", "_id": str(place), "_score": float(len(self.documents) - place)}
        asked = body.get("_source", params.get("_source", True))
        if asked in (True, "true"):
            hit["_source"] = document
        elif asked not in (False, "false"):
            names = asked.split(",") if isinstance(asked, str) else asked
            hit["_source"] = {name: value for name, value in document.items() if name in names}
        fields = {name: [document[name]] for name in body.get("fields", []) if name in document}
        named = body.get("highlight", {}).get("fields", {})
        fragments = {name: [f"fragment {place} of {name}"] for name in named if document.get(name)}
        return hit | ({"fields": fields} if fields else {}) | ({"highlight": fragments} if fragments else {})


def _read(reader: Any) -> Received | None:
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line)
    if not lines:
        return None
    method, target, _ = lines[0].decode("latin-1").split(" ", 2)
    headers = [tuple(line.decode("latin-1").rstrip("\r\n").split(": ", 1)) for line in lines[1:]]
    named = {key.lower(): value for key, value in headers}
    if named.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(reader.readline(), 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
    else:
        body = reader.read(int(named.get("content-length", 0)))
    return Received(method, target, headers, body, b"".join(lines))  # type: ignore[arg-type]
