"""From plain values to checked dataclasses.

Unknown keys, wrong types and impossible values become one `ConfigError` that names the key, the value, what was
expected and the fix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from anygpt.config.references import with_references, without_references
from anygpt.errors import ConfigError
from anygpt.registry import Registry

MAX_WHOLE = 2**53
Schema = TypeVar("Schema")


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
    from omegaconf.errors import OmegaConfBaseException

    from anygpt.config.errors import check_error, schema_error

    _refuse_huge(values, where)
    values = without_references(values)
    merged: Any = None
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), values)
        return with_references(OmegaConf.to_object(merged))
    except ConfigError as error:
        raise check_error(merged, error, where) from error
    except (OmegaConfBaseException, TypeError) as error:
        raise schema_error(schema, values, error, where) from error


def _refuse_huge(values: Any, where: str) -> None:
    """No setting is a whole number beyond what a float holds exactly; libraries fail at them in their own words."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        path = f"{where}.{key}" if where else str(key)
        if isinstance(value, int) and abs(value) > MAX_WHOLE:
            digits = int(value.bit_length() * math.log10(2)) + 1
            raise ConfigError(f"{path}: a number of {digits} digits given, expected at most {MAX_WHOLE}")
        _refuse_huge(value, path)


def resolve_component(registry: Registry, values: Mapping[str, Any] | None, where: str) -> tuple[Any, Any]:
    """The class that a component section names, and its checked options.

    Raises:
        ConfigError: if the section names no component or its options are wrong.
        RegistryError: if the name is not registered.
    """
    if not isinstance(values, Mapping) or not values.get("name"):
        raise ConfigError(f"{where}: no name given; set {where}.name to one of {', '.join(registry.names())}")
    component = registry.resolve(str(values["name"]))
    return component, resolve(component.Config, values, where)
