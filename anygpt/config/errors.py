"""Where in a config something is wrong: errors of OmegaConf and of dataclasses as one line that names the whole key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from anygpt.config.files import USER_ALONE
from anygpt.config.references import with_references
from anygpt.errors import ConfigError


def one_line(error: BaseException) -> str:
    """The first line of an error's message."""
    lines = [line.strip() for line in with_references(str(error)).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def schema_error(schema: type, values: Mapping[str, Any], error: Exception, where: str) -> ConfigError:
    """What OmegaConf refuses while plain values are merged into a dataclass of the section `where`."""
    prefix = f"{where}." if where else ""
    key = with_references(str(getattr(error, "full_key", None) or ".".join(map(str, _misfit(schema, values)))))
    if isinstance(error, ConfigKeyError):
        owner = error.object_type if dataclasses.is_dataclass(error.object_type) else schema
        allowed = ", ".join(f.name for f in dataclasses.fields(owner) if f.name not in USER_ALONE)
        return ConfigError(f"{prefix}{key}: no such key; expected one of {allowed}")
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(f"{prefix}{key}: a value is missing; set it")
    path = f"{prefix}{key}".rstrip(".")
    return ConfigError(f"{path}: {one_line(error)}" if path else one_line(error))


def check_error(merged: Any, error: ConfigError, where: str) -> ConfigError:
    """What a dataclass refuses in its `__post_init__`: "size: 0 given" with the path of its section before it."""
    prefix = f"{where}." if where else ""
    section, message = with_references(f"{prefix}{_refused_section(merged)}"), with_references(str(error))
    begins_with_key = re.match(r"[\w.]+:", message)
    return ConfigError(f"{section}{message}" if begins_with_key or not section else f"{section[:-1]}: {message}")


def _refused_section(node: Any) -> str:
    """The path, below `node`, of the innermost section that its dataclass refuses: "limits.image."."""
    for key in node if isinstance(node, DictConfig) else ():
        child = node._get_node(key)
        if isinstance(child, DictConfig) and child:
            try:
                OmegaConf.to_object(child)
            except ConfigError:
                return f"{key!s}.{_refused_section(child)}"
            except OmegaConfBaseException:
                continue
    return ""


def _misfit(schema: type, values: Mapping[str, Any], path: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """The path of the first value that is of the wrong kind: a number for a section, keys for a list."""
    for key, value in values.items():
        own = (*path, key)
        is_section = isinstance(value, Mapping)
        if not _merges(schema, own, {} if is_section else value):
            return own
        if is_section and not _merges(schema, own, value):
            return _misfit(schema, value, own)
    return path


def _merges(schema: type, path: tuple[Any, ...], value: Any) -> bool:
    for key in reversed(path):
        value = {key: value}
    try:
        OmegaConf.merge(OmegaConf.structured(schema), value)
    except (OmegaConfBaseException, TypeError):
        return False
    return True
