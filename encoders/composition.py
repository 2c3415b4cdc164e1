"""Encoders inside encoders: their config sections and their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anygpt.config.resolve import resolve_component
from anygpt.errors import ConfigError, RegistryError
from encoders import ENCODERS


def resolve_inner(values: Mapping[str, Any], key: str, *, modality: str) -> tuple[Any, Any]:
    """The class and the checked options of an encoder that another encoder's config describes.

    Args:
        values: its section, plain values with a `name`.
        key: where the section is in the outer config: "parts.0".
        modality: what the outer encoder gives it.
    Raises:
        ConfigError: if it names no encoder, one of another modality, or its options are wrong; begins with the key.
        MissingExtraError: if it needs a package that is not installed.
    """
    try:
        encoder_class, options = resolve_component(ENCODERS, values, key)
    except RegistryError as error:
        raise ConfigError(f"{key}.name: {error}") from error
    if encoder_class.modality != modality:
        raise ConfigError(f"{key}.name: '{options.name}' takes in {encoder_class.modality}, expected {modality}")
    return encoder_class, options
