"""Run real Redis servers under a real Sentinel for the tests: a master, its replica, and one who watches them."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from tests.nodes import process
from tests.nodes.redis import answers
from tests.nodes.require import require

MASTER = "slim"


@dataclass(frozen=True, slots=True)
class Watched:
    """A master and who watches it."""

    url: str
    """As the settings name it: a Sentinel that is gone, and the one that is there."""
    master: Popen[bytes]
    replica_url: str


@contextlib.contextmanager
def running_sentinels(certificates: Path | None = None) -> Iterator[Watched]:
    """Run master, replica and a Sentinel that acts on its own within a second; skip or fail where there is no redis-server.

    Args:
        certificates: Folder of an authority, a certificate and its key; with it all speak TLS only, and demand certificates.
    """
    server = shutil.which("redis-server")
    if server is None:
        require("redis-server is not installed; on Debian: apt-get install redis-server")
    ports = [process.free_port() for _ in range(4)]
    scheme, options, tls = "", "", []
    if certificates:
        authority, certificate, key = (certificates / name for name in ("ca.pem", "cert.pem", "key.pem"))
        scheme, options = "s", f"?ssl_cert_reqs=required&ssl_ca_certs={authority}&ssl_certfile={certificate}&ssl_keyfile={key}"
        tls = [f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {authority}", "tls-replication yes"]
    urls = [f"redis{scheme}://127.0.0.1:{port}/0{options}" for port in ports]
    with contextlib.ExitStack() as stack:

        def run(place: int, *settings: str) -> Popen[bytes]:
            folder: Path = stack.enter_context(process.scratch_folder())
            listen = ["port 0", f"tls-port {ports[place]}"] if certificates else [f"port {ports[place]}"]
            text = ["bind 127.0.0.1", *listen, *tls, f"dir {folder}", *settings]
            (folder / "node.conf").write_text("\n".join(text) + "\n")
            command = [server, str(folder / "node.conf"), *(["--sentinel"] if place == 2 else [])]
            running = process.running(command, folder=folder, is_up=lambda: answers(urls[place]), timeout_seconds=20)
            return stack.enter_context(running)

        master = run(0, 'save ""')
        run(1, 'save ""', f"replicaof 127.0.0.1 {ports[0]}", "repl-diskless-sync-delay 0")
        run(
            2,
            f"sentinel monitor {MASTER} 127.0.0.1 {ports[0]} 1",
            f"sentinel down-after-milliseconds {MASTER} 500",
            f"sentinel failover-timeout {MASTER} 3000",
        )
        nodes = f"127.0.0.1:{ports[3]},127.0.0.1:{ports[2]}"
        yield Watched(f"sentinel{scheme}://{nodes}/{MASTER}/0{options}", master, urls[1])
