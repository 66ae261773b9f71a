"""Settings of a process: environment variables ``SLIMRANK_*``, read once at the edge.

A command's flag of the same name wins over the environment, which wins over a secret: a file in ``/run/secrets`` with the
variable's name in small letters, such as ``slimrank_redis_url``. Containers get passwords that way, not by the environment. Nothing below the command line reads
the environment; it is handed a ``Settings``.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from slimrank.errors import ConfigError

DEFAULT_MODEL_NAME = "slimrank-135m"
CPU_DOCUMENT_TOKENS = 96
"""Tokens of each document that a CPU reads by default; the shipped model's gain was measured with as many (docs/decisions/0008)."""
SECRETS = Path("/run/secrets")


class Settings(BaseSettings):
    """The settings of an operator. Each field names its unit."""

    model_config = SettingsConfigDict(
        env_prefix="SLIMRANK_", extra="ignore", protected_namespaces=(), secrets_dir=SECRETS if SECRETS.is_dir() else None
    )

    home: Path = Field(Path("~/.cache/slimrank"), description="Folder for downloaded and exported models")
    model: Path | None = Field(
        None, description="Model to serve: its folder, or a shipped name such as slimrank-135m, the default; pulled on first use"
    )
    cascade_model: Path | None = Field(
        None, description="Cheaper model that narrows the documents first: its folder or a shipped name; left out, none"
    )
    cascade_keep: int = Field(30, ge=1, description="Documents that a cascade lets through to the full model")
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis that carries requests to the workers; sentinel://host1:26379,host2:26379/NAME/0 for a master behind Sentinels",
    )
    host: str = Field("127.0.0.1", description="Address that the gateway listens on, and a worker's metrics")
    port: int = Field(8080, ge=0, le=65535, description="Port that the gateway listens on")
    threads: int = Field(
        0, ge=0, description="Cores that score side by side, a batch each; 0 = all physical ones that the process may use"
    )
    provider: str = Field(
        "cpu",
        pattern="^(cpu|cuda|tensorrt)$",
        description="Where the model runs: cpu, cuda, or tensorrt, which is experimental (extra `gpu`)",
    )
    cuda_graphs: bool = Field(False, description="Experimental: record each shape of a batch as a CUDA graph (provider cuda)")
    document_window: str = Field(
        "head",
        pattern="^(head|best)$",
        description="Where a document is cut: head, or best, the window that shares most with the query",
    )
    document_tokens: int | None = Field(
        None,
        ge=0,
        description="Most tokens of a document that are read where a request does not say; 0 = as many as the model takes; left out,"
        f" {CPU_DOCUMENT_TOKENS} on a CPU and 0 on a GPU",
    )
    fusion_weight: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the first stage's order beside the score; left out, what the model was fitted with for BM25; 0 = none",
    )
    batch_tokens: int = Field(0, ge=0, description="Most padded tokens in one batch; 0 = timed at the first start")
    score_cache: str = Field(
        "memory",
        pattern="^(off|memory|redis)$",
        description="Where scores of a query and document are kept: off, memory, or redis beside memory",
    )
    score_cache_entries: int = Field(100_000, ge=1, description="Most scores kept, in each place")
    score_cache_seconds: float = Field(3600.0, gt=0, description="How long a score is kept, seconds")
    max_documents: int = Field(10_000, ge=1, description="Most documents in one request")
    max_body_bytes: int = Field(32 * 2**20, ge=1024, description="Largest request body, bytes")
    max_bodies_bytes: int = Field(
        48 * 2**20, ge=1024, description="All request bodies in hand, bytes; a gateway takes about six times as much memory"
    )
    timeout_seconds: float = Field(60.0, gt=0, description="Deadline of a request that names none, seconds")
    embedded: bool = Field(False, description="Run the model in the gateway's own process, without Redis")
    default_model: str | None = Field(None, description="Model for requests that name none; left out, the first by name")
    max_backlog_seconds: float = Field(10.0, gt=0, description="Refuse requests that would wait longer than this, seconds")
    max_waiting: int = Field(1000, ge=1, description="Most requests that one gateway lets wait")
    api_keys_file: Path | None = Field(None, description="File of API key hashes; left out, no key is asked for")
    tls_certificate: Path | None = Field(None, description="Certificate chain (PEM) for HTTPS; left out, HTTP")
    tls_key: Path | None = Field(None, description="Private key (PEM) of the certificate")
    tls_client_ca: Path | None = Field(None, description="Demand client certificates signed by these authorities (PEM)")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port on which a worker shows its metrics; 0 = none")
    traces_url: str | None = Field(
        None, description="Send OpenTelemetry traces to this OTLP/HTTP address, such as http://collector:4318/v1/traces"
    )
    worker_requests: int = Field(8, ge=1, le=256, description="Requests that one worker takes at a time")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")

    @property
    def home_folder(self) -> Path:
        """``home`` with ``~`` resolved."""
        return self.home.expanduser()

    @property
    def tokens_read(self) -> int:
        """``document_tokens`` with its default: it depends on where the model runs."""
        if self.document_tokens is not None:
            return self.document_tokens
        return CPU_DOCUMENT_TOKENS if self.provider == "cpu" else 0


def load(**flags: Any) -> Settings:
    """Read the settings; flags that are not None win.

    Raises:
        ConfigError: a value does not fit.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"setting {name} (SLIMRANK_{name.upper()}): {first['msg']}; found {first['input']!r}") from error
