"""Configs: dataclasses hold schema, defaults and checks; YAML holds values; any value can be overridden.

`resolve` turns plain values into a checked dataclass; unknown keys, wrong types and impossible values become one
`ConfigError` that names the key, the value, what was expected and the fix.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from anygpt.errors import ConfigError
from anygpt.media import ImageLimits
from anygpt.registry import Registry

CONFIGS_DIR = Path(__file__).parent.parent / "configs"
Schema = TypeVar("Schema")


@dataclass
class StagePlacement:
    """Where one stage runs and how it batches.

    Attributes:
        device: torch device of the stage.
        dtype: dtype of its weights.
        num_cpus, num_gpus: share of a node that a Ray actor reserves; fractions are fine.
        replicas: copies of the stage.
        max_batch_size: most items in one forward pass.
        max_wait_s: how long an incomplete batch waits for company.
        max_queue: most items waiting; more are refused.
    """

    device: str = "cpu"
    dtype: str = "float32"
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    replicas: int = 1
    max_batch_size: int = 8
    max_wait_s: float = 0.002
    max_queue: int = 256

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ConfigError(f"dtype: '{self.dtype}' given, expected float32, bfloat16 or float16")
        for name in ("replicas", "max_batch_size", "max_queue"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} given, expected at least 1")


@dataclass
class Limits:
    """What a request may weigh.

    Attributes:
        image: limits on every picture.
        max_text_chars: longest conversation text.
        max_media: most media in a conversation.
        timeout_s: longest time for a reply.
    """

    image: ImageLimits = field(default_factory=ImageLimits)
    max_text_chars: int = 100_000
    max_media: int = 32
    timeout_s: float = 600.0


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
        placement: stage ("encoders.image", "backbone", "generators.image") → placement; the rest runs on the CPU.
    """

    name: str = "???"
    encoders: dict[str, Any] = field(default_factory=dict)
    projectors: ProjectorSections = field(default_factory=ProjectorSections)
    backbone: dict[str, Any] = field(default_factory=dict)
    generators: dict[str, Any] = field(default_factory=dict)
    adapters: str | None = None
    placement: dict[str, StagePlacement] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for kind, name in (("encoders", "input"), ("generators", "output")):
            parts, projectors = getattr(self, kind), getattr(self.projectors, name)
            for modality in parts.keys() ^ projectors.keys():
                has, lacks = (kind, f"projectors.{name}") if modality in parts else (f"projectors.{name}", kind)
                raise ConfigError(f"{has}.{modality} is given without {lacks}.{modality}; add it, or remove the first")
        signals = self.backbone.get("signal_tokens") or {}
        for modality in self.generators:
            if modality not in signals:
                raise ConfigError(
                    f"generators.{modality} has no signal tokens; set backbone.signal_tokens.{modality} to their number"
                )
        stages = {*(f"encoders.{m}" for m in self.encoders), "backbone", *(f"generators.{m}" for m in self.generators)}
        for stage in self.placement:
            if stage not in stages:
                raise ConfigError(
                    f"placement: no stage '{stage}' in this stack; there are: {', '.join(sorted(stages))}"
                )

    def placed(self, stage: str) -> StagePlacement:
        """The placement of a stage."""
        return self.placement.get(stage, StagePlacement())


def shipped_configs() -> list[str]:
    """Names of the stack configs that ship with anygpt."""
    return sorted(file.stem for file in CONFIGS_DIR.glob("*.yaml"))


def find_config(name_or_file: str | os.PathLike[str]) -> Path:
    """The YAML file of a shipped name or a path.

    Raises:
        ConfigError: if there is no such file; the message lists the shipped names.
    """
    given = str(name_or_file)
    if given.endswith((".yaml", ".yml")) or Path(given).is_dir():
        path = Path(given)
        path = path / "config.yaml" if path.is_dir() else path
        if not path.is_file():
            raise ConfigError(f"config: no file '{given}'; give a YAML file or one of: {', '.join(shipped_configs())}")
        return path
    shipped = CONFIGS_DIR / f"{given}.yaml"
    if not shipped.is_file():
        raise ConfigError(f"config: no config is called '{given}'; there are: {', '.join(shipped_configs())}")
    return shipped


def read_values(name_or_file: str | os.PathLike[str], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Plain values of a YAML config with `key.path=value` overrides applied."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = find_config(name_or_file)
    try:
        values = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"config: {path} is not readable YAML: {_one_line(error)}") from error
    for override in overrides:
        key, separator, _ = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"override: '{override}' given, expected key.path=value")
        try:
            values = OmegaConf.merge(values, OmegaConf.from_dotlist([override]))
        except (OmegaConfBaseException, YAMLError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(f"override: '{override}' cannot be applied: {_one_line(error)}") from error
    if not OmegaConf.is_dict(values):
        raise ConfigError(f"config: {path} holds no keys, expected a mapping like configs/tiny.yaml")
    return OmegaConf.to_container(values, resolve=True)  # type: ignore[return-value]


def resolve(schema: type[Schema], values: Mapping[str, Any], where: str = "") -> Schema:
    """Check plain values against a dataclass and build it.

    Args:
        schema: the dataclass.
        values: plain values; what is missing takes the schema's default.
        where: path of the section, for messages: "encoders.image".
    Raises:
        ConfigError: for an unknown key, a wrong type, a missing value, or whatever the dataclass refuses.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

    prefix = f"{where}." if where else ""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), dict(values))
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except ConfigKeyError as error:
        owner = error.object_type if dataclasses.is_dataclass(error.object_type) else schema
        allowed = ", ".join(f.name for f in dataclasses.fields(owner))  # type: ignore[arg-type]
        raise ConfigError(f"{prefix}{error.full_key}: no such key; expected one of {allowed}") from error
    except MissingMandatoryValue as error:
        raise ConfigError(f"{prefix}{error.full_key}: a value is missing; set it") from error
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{prefix}{error.full_key or ''}: {_one_line(error)}".replace(".:", ":")) from error


def resolve_component(registry: Registry, values: Mapping[str, Any] | None, where: str) -> tuple[type, Any]:
    """The class that a component section names, and its checked options.

    Raises:
        ConfigError: if the section names no component or its options are wrong.
        RegistryError: if the name is not registered.
    """
    if not isinstance(values, Mapping) or not values.get("name"):
        raise ConfigError(f"{where}: no name given; set {where}.name to one of {', '.join(registry.names())}")
    component = registry.resolve(str(values["name"]))
    return component, resolve(component.Config, values, where)


def load_stack_config(name_or_file: str | os.PathLike[str], overrides: Sequence[str] = ()) -> StackConfig:
    """Read, override and check a stack's config; component sections are checked when the stack is built."""
    return resolve(StackConfig, read_values(name_or_file, overrides))


def save_config(config: Any, path: Path) -> None:
    """Write a dataclass config as YAML."""
    from omegaconf import OmegaConf

    path.write_text(OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config))), encoding="utf-8")


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
