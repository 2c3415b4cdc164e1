"""A stack's config from a name, a file or a bundle, and back into a file."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from anygpt.config.bundles import is_bundle, refuse_outside
from anygpt.config.files import CONFIGS_DIR, USER_ALONE, find_config, merge, read_override, read_values
from anygpt.config.references import with_references, without_references
from anygpt.config.resolve import resolve
from anygpt.config.schema import StackConfig
from anygpt.errors import ConfigError


def load_stack_config(
    name_or_file: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    deploy: str | None = None,
    *,
    allow_outside: bool = False,
    trust_remote_code: bool = False,
) -> StackConfig:
    """Read, override and check a stack's config; component sections are checked when the stack is built.

    Args:
        name_or_file: a shipped name, a YAML file or a bundle's folder.
        overrides: `key.path=value` strings.
        deploy: a shipped deployment or a YAML file; its `placement` lies over the config's and under the overrides.
        allow_outside: a bundle's config may name files, folders and hosts outside the bundle.
        trust_remote_code: checkpoints may run Python code that they bring.
    Raises:
        ConfigError: if a key or value is wrong.
    """
    placement = _deployment(deploy) if deploy else {}
    if is_bundle(name_or_file) and not allow_outside:
        given = functools.reduce(merge, map(read_override, overrides), placement)
        refuse_outside(find_config(name_or_file), given)
    values = read_values(name_or_file, overrides, placement)
    if isinstance(values.get("placement"), dict):
        values["placement"] = _by_stage(values["placement"])
    return dataclasses.replace(resolve(StackConfig, values), trust_remote_code=trust_remote_code)


def _deployment(name_or_file: str) -> dict[str, Any]:
    """The values of a deployment, which may say where stages run and nothing else."""
    shipped = sorted(file.stem for file in CONFIGS_DIR.glob("deploy/*.yaml"))
    file = str(CONFIGS_DIR / f"deploy/{name_or_file}.yaml") if name_or_file in shipped else name_or_file
    if not file.endswith((".yaml", ".yml")):
        raise ConfigError(f"deploy: no deployment is called '{name_or_file}'; there are: {', '.join(shipped)}")
    values = read_values(file)
    if set(values) != {"placement"}:
        raise ConfigError(f"deploy: {file} holds {', '.join(map(str, values))}, expected placement alone")
    return values


def _by_stage(placement: Mapping[str, Any]) -> dict[str, Any]:
    """Placements by stage: `placement.encoders.image.device=…` means the stage "encoders.image"."""
    stages: dict[str, Any] = {}
    for key, section in placement.items():
        is_kind = key in ("encoders", "generators") and isinstance(section, Mapping)
        named = {f"{key}.{modality}": values for modality, values in section.items()} if is_kind else {key: section}
        for stage, values in named.items():
            both = isinstance(values, Mapping) and isinstance(stages.get(stage), Mapping)
            stages[stage] = {**stages[stage], **values} if both else values
    return stages


def save_config(config: Any, path: Path) -> None:
    """Write a dataclass config as YAML; what was there stays whole until all is written.

    Raises:
        ConfigError: if it cannot be written.
    """
    from omegaconf import OmegaConf

    partial = path.with_name(f"{path.name}.partial")
    try:
        values = {key: value for key, value in dataclasses.asdict(config).items() if key not in USER_ALONE}
        text: str = with_references(OmegaConf.to_yaml(OmegaConf.create(without_references(values))))
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); make room or give another folder") from error
