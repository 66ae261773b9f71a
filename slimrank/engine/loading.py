"""From the settings of a process to an engine: the one way, so that no command runs a model elsewhere than it was told to."""

from pathlib import Path

from slimrank.engine.session import OrtScorer
from slimrank.settings import Settings


def open_engine(settings: Settings, folder: Path, *, threads: int | None = None) -> OrtScorer:
    """Open a model folder where and as the settings say.

    Args:
        threads: In place of the setting, for a measurement that names its own.

    Raises:
        ConfigError: this machine lacks the provider, or the provider cannot run the folder's precision.
        ManifestError: the folder may not be served.
    """
    return OrtScorer.load(
        folder,
        threads=settings.threads if threads is None else threads,
        batch_tokens=settings.batch_tokens,
        provider=settings.provider,
        cuda_graphs=settings.cuda_graphs,
    )
