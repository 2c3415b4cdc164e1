"""The schema of a stack's config: dataclasses hold names, defaults and checks; YAML holds values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anygpt.errors import ConfigError
from anygpt.media import AudioLimits, ImageLimits, PointLimits, VideoLimits

DTYPES = ("float64", "float32", "bfloat16", "float16")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")
_WHOLE_PROCESS = ("threads", "replicas", "max_replicas")  # what stages that share a process have in common


@dataclass
class StagePlacement:
    """Where one stage runs and how it batches.

    Attributes:
        device: torch device of the stage.
        dtype: dtype of its weights. With float64, a small model's results do not depend on its batch: rounding is far
            below what is kept of them.
        process: stages of one kind that name the same process share it on Ray, with its libraries and its GPU context;
            None gives the stage a process of its own. Replicas are the whole process's; shares of a node add up.
        threads: torch threads of the stage's process on Ray; None takes as many as the program that starts it has, and
            float32 results are then the same as there. In one process all stages share its threads.
        num_cpus, num_gpus: share of a node that a Ray actor reserves; fractions are fine.
        resources: Ray's custom resources that a node must have, as in {big_node: 1}.
        replicas: copies of the stage on Ray; the fewest, where `max_replicas` is set.
        max_replicas: Ray adds replicas up to here while the stage is busy; None keeps to `replicas`.
        max_batch_size: most items in one forward pass.
        max_wait_s: how long an incomplete batch waits for company, if other requests are on their way.
        max_queue: most items waiting; more are refused.
        timeout_s: longest time for a batch; the stage then gives it up and goes on with the next one.
    """

    device: str = "cpu"
    dtype: str = "float32"
    process: str | None = None
    threads: int | None = None
    num_cpus: float = 0.5
    num_gpus: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)
    replicas: int = 1
    max_replicas: int | None = None
    max_batch_size: int = 8
    max_wait_s: float = 0.002
    max_queue: int = 256
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype: '{self.dtype}' given, expected one of {', '.join(DTYPES)}")
        for name in ("replicas", "max_batch_size", "max_queue"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} given, expected at least 1")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads: {self.threads} given, expected at least 1")
        for name in ("num_cpus", "num_gpus", "max_wait_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: {value} given, expected a finite number of at least 0")
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise ConfigError(f"timeout_s: {self.timeout_s} given, expected a finite number of more than 0")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ConfigError(f"max_replicas: {self.max_replicas} given, expected at least replicas={self.replicas}")


@dataclass
class Limits:
    """What a request may weigh.

    Attributes:
        image, audio, video, points: limits on every medium of that modality.
        max_text_chars: longest conversation text.
        max_media: most media in a conversation.
        timeout_s: longest time for a reply.
        decode_timeout_s: longest time for reading one file, in the service and on the page.
    """

    image: ImageLimits = field(default_factory=ImageLimits)
    audio: AudioLimits = field(default_factory=AudioLimits)
    video: VideoLimits = field(default_factory=VideoLimits)
    points: PointLimits = field(default_factory=PointLimits)
    max_text_chars: int = 100_000
    max_media: int = 32
    timeout_s: float = 600.0
    decode_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        if self.max_text_chars < 1:
            raise ConfigError(f"max_text_chars: {self.max_text_chars} given, expected at least 1")
        if self.max_media < 0:
            raise ConfigError(f"max_media: {self.max_media} given, expected at least 0")
        for name in ("timeout_s", "decode_timeout_s"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise ConfigError(f"{name}: {seconds} given, expected a finite number of more than 0")


@dataclass
class ServiceLimits:
    """What the HTTP service and the page take, besides the limits on every request.

    Attributes:
        max_body_bytes: longest request body.
        max_body_bytes_in_flight: most bytes of all bodies that are arriving or being read; more must come back.
        max_json_values: most values in a body.
        body_timeout_s: longest time for a body to arrive.
        max_requests: most requests at a time; more are told to come back.
        max_media_bytes: most bytes of all media of a request together, decoded.
        max_media_bytes_in_flight: the same of all requests that are being answered; more must come back.
        max_tokens: most text tokens that a client may ask for.
        max_images: most pictures that one call of the images interface makes.
        write_timeout_s: a client that takes in nothing of an answer for so long is given up.
        allowed_hosts: hosts that media may be fetched from, over https; none by default. A port other than 443 is
            allowed by name: "media.example.org:8443".
        allowed_origins: web pages of these origins may use the service from a browser (CORS), as in
            "https://chat.example.org"; "*" allows every page. None by default.
        model_aliases: other names that clients may use for the model: {gpt-4o: tiny}.
        markdown_media: put pictures into the reply's text as well, as Markdown, for clients that show nothing else.
        strict: refuse fields that the service does not know. By default they are ignored, and named in the answer's
            header `x-anygpt-ignored`.
        metrics_key: `/metrics` needs the API key as well.
        max_upload_bytes_per_person: most bytes of files that one person may keep on the page at a time.
        max_upload_bytes: the same of all people together.
    """

    max_body_bytes: int = 16 * 1024 * 1024
    max_body_bytes_in_flight: int = 256 * 1024 * 1024
    max_json_values: int = 20_000
    body_timeout_s: float = 30.0
    max_requests: int = 32
    max_media_bytes: int = 100_000_000
    max_media_bytes_in_flight: int = 200_000_000
    max_tokens: int = 4096
    max_images: int = 8
    write_timeout_s: float = 30.0
    allowed_hosts: list[str] = field(default_factory=list)
    allowed_origins: list[str] = field(default_factory=list)
    model_aliases: dict[str, str] = field(default_factory=dict)
    markdown_media: bool = False
    strict: bool = False
    metrics_key: bool = False
    max_upload_bytes_per_person: int = 512 * 1024 * 1024
    max_upload_bytes: int = 4 * 1024 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in (name for name in vars(self) if name.startswith("max_")):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} given, expected at least 1")
        for origin in self.allowed_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"allowed_origins: '{origin}' given, expected one like https://chat.example.org, or *"
                )
        for host in self.allowed_hosts:
            if not _HOST.fullmatch(host):
                raise ConfigError(f"allowed_hosts: '{host}' given, expected one like media.example.org or a.org:8443")
        for name in ("body_timeout_s", "write_timeout_s"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise ConfigError(f"{name}: {seconds} given, expected a finite number of more than 0")


@dataclass
class ProjectorSections:
    """Projectors by modality."""

    input: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)


@dataclass
class StackConfig:
    """A whole stack. Component sections hold plain values here; the stack resolves each by its `name`.

    Attributes:
        adapters: the trained adapter bundle: a folder, a hub name or `embedded:…`; None starts untrained.
        adapter_overlays: folders like bundles that hold some projectors alone, which take the place of the bundle's.
        placement: stage ("encoders.image", "backbone", "generators.image") → placement; the rest runs on the CPU.
        trust_remote_code: checkpoints may run Python code that they bring. No file or override sets it; see
            `load_stack_config`.
    """

    name: str = "???"
    encoders: dict[str, Any] = field(default_factory=dict)
    projectors: ProjectorSections = field(default_factory=ProjectorSections)
    backbone: dict[str, Any] = field(default_factory=dict)
    generators: dict[str, Any] = field(default_factory=dict)
    adapters: str | None = None
    adapter_overlays: list[str] = field(default_factory=list)
    placement: dict[str, StagePlacement] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    service: ServiceLimits = field(default_factory=ServiceLimits)
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for kind, name in (("encoders", "input"), ("generators", "output")):
            parts, projectors = getattr(self, kind), getattr(self.projectors, name)
            for modality in parts.keys() ^ projectors.keys():
                has, lacks = (kind, f"projectors.{name}") if modality in parts else (f"projectors.{name}", kind)
                raise ConfigError(f"{has}.{modality} is given without {lacks}.{modality}; add it, or remove the first")
        self._check_signal_tokens(self.backbone.get("signal_tokens") or {})
        for alias, model in self.service.model_aliases.items():
            if model != self.name:
                raise ConfigError(
                    f"service.model_aliases.{alias}: '{model}' given, expected the stack's name: {self.name}"
                )
        for stage in self.placement:
            if stage not in self.stages:
                raise ConfigError(f"placement: no stage '{stage}' in this stack; there are: {', '.join(self.stages)}")
        for process, stages in self.processes.items():
            self._check_process(process, stages)

    def _check_process(self, process: str, stages: Sequence[str]) -> None:
        if stages == (process,):
            return
        named = f"placement.{stages[0]}.process"
        if process in self.stages or not process.strip():
            raise ConfigError(f"{named}: '{process}' given, expected a name that is no stage's")
        if len({stage.partition(".")[0] for stage in stages}) > 1:
            raise ConfigError(f"{named}: '{process}' is shared by {', '.join(stages)}, expected stages of one kind")
        for name in _WHOLE_PROCESS:
            values = [getattr(self.placed(stage), name) for stage in stages]
            if any(value != values[0] for value in values):
                given = ", ".join(f"{stage}: {value}" for stage, value in zip(stages, values, strict=True))
                raise ConfigError(
                    f"placement: '{process}' has {name} of {given}; expected the same for all, or process: null"
                )

    def _check_signal_tokens(self, signals: Any) -> None:
        if not isinstance(signals, Mapping):
            raise ConfigError(f"backbone.signal_tokens: {signals!r} given, expected modality: number of tokens")
        for modality in self.generators:
            if modality not in signals:
                raise ConfigError(
                    f"generators.{modality} has no signal tokens; set backbone.signal_tokens.{modality} to their number"
                )
        for modality in signals:
            if modality not in self.generators:
                raise ConfigError(
                    f"backbone.signal_tokens.{modality} is given without generators.{modality}; "
                    "add it, or remove the first"
                )

    @property
    def stages(self) -> tuple[str, ...]:
        """All stages by name, as `placement` knows them."""
        return (*(f"encoders.{m}" for m in self.encoders), "backbone", *(f"generators.{m}" for m in self.generators))

    @property
    def processes(self) -> dict[str, tuple[str, ...]]:
        """Process → the stages that it holds on Ray; a stage alone gives its process its own name."""
        held: dict[str, tuple[str, ...]] = {}
        for stage in self.stages:
            process = self.placed(stage).process or stage
            held[process] = (*held.get(process, ()), stage)
        return held

    def placed(self, stage: str) -> StagePlacement:
        """The placement of a stage."""
        return self.placement.get(stage, StagePlacement())
