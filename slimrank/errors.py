"""Every error slimrank raises, so that a caller can catch one tree.

    SlimrankError
    ├── ConfigError              a setting or a configuration file is wrong
    ├── InvalidRequest           a request that no retry can help
    ├── ModelSourceError         base weights could not be had, or are not what was pinned
    ├── ManifestError            a model folder is incomplete, altered or unverified
    │   └── PromptMismatch       ... or was made with another prompt than the one rendered here
    ├── DataError                a collection, run or judgment file cannot be read
    ├── ScoringError             the model could not score
    │   ├── Overloaded           too much work is waiting
    │   ├── ModelNotReady        no model, no worker or no queue answers
    │   └── DeadlineExceeded     the answer would come too late
    └── EngineError              a search engine
        ├── EngineUnavailable    ... does not answer
        ├── EngineRefused        ... answers no
        └── PipelineNotInstalled ... lacks what was to be used

A message says what was asked, what was found and what to do. Errors of other libraries are
translated once, at the border where they enter, with ``raise ... from error``.
"""


class SlimrankError(Exception):
    """Any error that slimrank raises on purpose."""


class ConfigError(SlimrankError):
    """A setting or a configuration file is wrong."""


class InvalidRequest(SlimrankError):
    """The request itself is wrong; sending it again does not help.

    Args:
        message: What was asked, what was found, what to do.
        status: The HTTP status it is answered with: 400, 413 or 422.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ModelSourceError(SlimrankError):
    """The base weights could not be fetched, or are not the pinned ones."""


class ManifestError(SlimrankError):
    """A model folder is incomplete, altered or not verified."""


class PromptMismatch(ManifestError):
    """A model folder was made with another prompt than this build renders."""


class DataError(SlimrankError):
    """A collection, a run or a file of judgments cannot be read."""


class ScoringError(SlimrankError):
    """The model could not score."""


class Overloaded(ScoringError):
    """Too much work is waiting; the caller may try again after ``retry_after_seconds``."""

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ModelNotReady(ScoringError):
    """No model is loaded, or no worker or queue answers."""


class DeadlineExceeded(ScoringError):
    """The answer did not come, or cannot come, before its deadline."""


class EngineError(SlimrankError):
    """A search engine could not do what was asked."""


class EngineUnavailable(EngineError):
    """The search engine does not answer."""


class EngineRefused(EngineError):
    """The search engine answered with an error."""


class PipelineNotInstalled(EngineError):
    """The search engine lacks the pipeline, model or plugin that was to be used."""
