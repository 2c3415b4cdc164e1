"""anygpt: one any-to-any assistant out of frozen, off-the-shelf models.

Everything public can be imported from here and is loaded when first used: `import anygpt` itself loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name → where it lives. This table is the one place where the ground floor names the floors above.
_EXPORTS = {
    "AnyGPT": "pipelines.assistant",
    "Reply": "pipelines.replies",
    "AnyToAny": "pipelines.any_to_any",
    "Request": "pipelines.any_to_any",
    "Message": "anygpt.messages",
    "RequestOptions": "anygpt.options",
    "SamplingOptions": "anygpt.options",
    "GenerationOptions": "anygpt.options",
    "Audio": "anygpt.media",
    "Video": "anygpt.media",
    "PointCloud": "anygpt.media",
    "ImageLimits": "anygpt.media",
    "AudioLimits": "anygpt.media",
    "VideoLimits": "anygpt.media",
    "PointLimits": "anygpt.media",
    "load_image": "anygpt.media",
    "load_audio": "anygpt.media",
    "load_video": "anygpt.media",
    "load_points": "anygpt.media",
    "save_medium": "anygpt.media.kinds",
    "StackConfig": "anygpt.config.schema",
    "load_stack_config": "anygpt.config.loading",
    "Features": "anygpt.tensors",
    "TensorSpec": "anygpt.tensors",
    "TextDelta": "anygpt.events",
    "MediaStarted": "anygpt.events",
    "MediaProgress": "anygpt.events",
    "MediaReady": "anygpt.events",
    "MediaFailed": "anygpt.events",
    "Done": "anygpt.events",
    "Failed": "anygpt.events",
    "Usage": "anygpt.events",
    "AnyGPTError": "anygpt.errors",
    "UserError": "anygpt.errors",
    "ConfigError": "anygpt.errors",
    "RegistryError": "anygpt.errors",
    "MediaError": "anygpt.errors",
    "RequestError": "anygpt.errors",
    "CheckpointError": "anygpt.errors",
    "MissingExtraError": "anygpt.errors",
    "StageError": "anygpt.errors",
    "OverloadedError": "anygpt.errors",
    "TimedOutError": "anygpt.errors",
    "CancelledError": "anygpt.errors",
    "TrainingError": "anygpt.errors",
    "Encoder": "encoders.contract",
    "InputProjector": "projectors.contract",
    "OutputProjector": "projectors.contract",
    "Backbone": "backbone.contract",
    "Generator": "generators.contract",
    "ENCODERS": "encoders",
    "INPUT_PROJECTORS": "projectors",
    "OUTPUT_PROJECTORS": "projectors",
    "BACKBONES": "backbone",
    "GENERATORS": "generators",
}

__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from anygpt.messages import Message as Message
    from anygpt.options import RequestOptions as RequestOptions
    from anygpt.options import SamplingOptions as SamplingOptions
    from pipelines.any_to_any import AnyToAny as AnyToAny
    from pipelines.any_to_any import Request as Request
    from pipelines.assistant import AnyGPT as AnyGPT
    from pipelines.replies import Reply as Reply


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'anygpt' has no attribute '{name}'")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
