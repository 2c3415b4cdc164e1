"""Every error that anygpt raises on purpose, in one tree.

    AnyGPTError
    ├── ConfigError (ValueError)        a config value, key or override that cannot work
    ├── RegistryError (LookupError)     a plug-in name that nobody registered
    ├── MediaError (ValueError)         a file or media value that cannot be used
    ├── RequestError (ValueError)       a request that asks for something impossible
    ├── CheckpointError (ValueError)    weights that are missing, damaged or do not fit
    ├── MissingExtraError (ImportError) an optional dependency that is not installed
    ├── StageError (RuntimeError)       a stage that failed while running; `.stage` names it
    │   ├── OverloadedError             its queue is full: try again later
    │   └── TimedOutError               it gave no result within its time limit
    ├── CancelledError (RuntimeError)   the caller asked to stop
    └── TrainingError (RuntimeError)    a training run that cannot start, go on or be resumed

Messages are one line: what, the value, what was expected, the fix. `UserError` groups those that the caller can mend
(the command line exits with 2 for them, with 1 for the rest).
"""

from __future__ import annotations


class AnyGPTError(Exception):
    """Base of all errors raised on purpose by anygpt."""


class UserError(AnyGPTError):
    """Base of the errors that the caller can mend: bad input, bad config, bad usage."""


class ConfigError(UserError, ValueError):
    """A config value, key or override that cannot work."""


class RegistryError(UserError, LookupError):
    """A plug-in name that is not registered."""


class MediaError(UserError, ValueError):
    """A file or media value that cannot be decoded, is broken or is over a limit."""


class RequestError(UserError, ValueError):
    """A request that asks for something that the loaded stack cannot do."""


class CheckpointError(UserError, ValueError):
    """Weights that are missing, damaged or do not fit the config."""


class MissingExtraError(UserError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class StageError(AnyGPTError, RuntimeError):
    """A stage failed while running."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"stage '{stage}': {message}")
        self.stage = stage
        self.reason = message

    def __reduce__(self) -> tuple[type[StageError], tuple[str, str]]:
        return type(self), (self.stage, self.reason)


class OverloadedError(StageError):
    """A stage has more work waiting than its limit allows; the same request may succeed later."""


class TimedOutError(StageError):
    """A stage, or the pipeline as a whole, gave no result within its time limit."""


class CancelledError(AnyGPTError, RuntimeError):
    """The caller asked to stop before the work was done."""


class TrainingError(AnyGPTError, RuntimeError):
    """A training run cannot start, go on or be resumed."""
