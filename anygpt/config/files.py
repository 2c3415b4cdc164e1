"""Configs as files and overrides: from a name to plain values. `schema.py` and `resolve.py` check what the values mean.

Values are what is written: nothing in a file or an override is looked up, computed or run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anygpt.config.yaml import load_yaml
from anygpt.errors import ConfigError

CONFIGS_DIR = Path(__file__).parents[2] / "configs"
BUNDLE_CONFIG = "config.yaml"
MAX_EXTENSIONS = 8
MAX_BYTES = 1_000_000
# What only the user says, as an option; key → the option on the command line.
USER_ALONE = {"trust_remote_code": "--trust-remote-code", "allow_outside": "--allow-outside"}


def shipped_configs() -> list[str]:
    """Names of the stack configs that ship with anygpt."""
    return sorted(file.stem for file in CONFIGS_DIR.glob("*.yaml"))


def find_config(name_or_file: str | os.PathLike[str]) -> Path:
    """The YAML file of a shipped name or a path.

    Raises:
        ConfigError: if there is no such file; the message lists the shipped names.
    """
    given = str(name_or_file)
    if given.endswith((".yaml", ".yml")) or os.path.isdir(given):
        path = Path(given, BUNDLE_CONFIG) if os.path.isdir(given) else Path(given)
        if os.path.isdir(given) and not os.path.isfile(path):
            raise ConfigError(
                f"config: no config.yaml in folder '{given}', so it is no adapter bundle; "
                "a training run writes it when it is finished"
            )
        if not os.path.isfile(path):
            raise ConfigError(f"config: no file '{given}'; give a YAML file or one of: {', '.join(shipped_configs())}")
        return path
    shipped = CONFIGS_DIR / f"{given}.yaml"
    if not os.path.isfile(shipped):
        raise ConfigError(
            f"config: no config is called '{given}'; there are: {', '.join(shipped_configs())}; or give a file"
        )
    return shipped


def read_values(
    name_or_file: str | os.PathLike[str], overrides: Sequence[str] = (), over: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Plain values of a YAML config, with the values `over` and `key.path=value` overrides laid over them.

    A file may have a key `extends`, the shipped name or YAML file of a config whose values it changes; a part with
    another `name` takes the place of the whole section.

    Raises:
        ConfigError: if the file cannot be read, or an override not be applied.
    """
    path = find_config(name_or_file)
    values = load_extended(path)
    if not isinstance(values, dict):
        raise ConfigError(f"config: {path} holds no keys, expected a mapping like configs/tiny.yaml")
    merged = merge(values, over or {})
    for override in overrides:
        merged = merge(merged, read_override(override))
    refuse_what_the_user_decides(merged)
    return merged


def read_override(override: str) -> dict[str, Any]:
    """The value of a `key.path=value` string, in its sections.

    Raises:
        ConfigError: if it cannot be applied.
    """
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"override: '{override}' given, expected key.path=value")
    try:
        value = load_yaml(text)
    except ValueError as error:
        raise ConfigError(f"override: '{override}' cannot be applied: {error}") from error
    for name in reversed(key.strip().split(".")):
        value = {name: value}
    return value


def load_extended(path: Path, extending: tuple[Path, ...] = ()) -> Any:
    """A YAML file's values, laid over those of the file that it extends; `extending` are the files before it.

    Raises:
        ConfigError: if a file cannot be read or extends itself.
    """
    values = load_file(path)
    if not isinstance(values, dict) or "extends" not in values:
        return values
    files = (*extending, path)
    extends = values.pop("extends")
    if not isinstance(extends, str):
        raise ConfigError(f"config: {path}: extends: {str(extends)[:40]} given, expected a name or file; quote it")
    base_file = find_config(extends)
    if any(base_file.resolve() == file.resolve() for file in files):
        circle = " extends ".join(map(str, (*files, base_file)))
        raise ConfigError(f"config: {circle}; expected no circle, leave out one of them")
    if len(files) > MAX_EXTENSIONS:
        raise ConfigError(f"config: {files[0]}: extends goes deeper than {MAX_EXTENSIONS} files; write some as one")
    base = load_extended(base_file, files)
    return _extended(base, values) if isinstance(base, dict) else values


def load_file(path: Path) -> Any:
    """A YAML file's own values.

    Raises:
        ConfigError: if it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
        return load_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:  # UnicodeDecodeError is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"config: {path} is not readable YAML: {reason}") from error


def merge(base: Mapping[Any, Any], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """`base` with `values` laid over it: sections merge key by key, all else is replaced."""
    merged = dict(base)
    for key, value in values.items():
        before = merged.get(key)
        merged[key] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def refuse_what_the_user_decides(values: Any, where: str = "") -> None:
    """Raise ConfigError where values hold a key that is an option of the user's, wherever it stands."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        path = f"{where}.{key}" if where else str(key)
        option = USER_ALONE.get(str(key))
        if option:
            raise ConfigError(
                f"{path}: no config decides this; give {option} on the command line, or {key}=True in Python"
            )
        refuse_what_the_user_decides(value, path)


def _extended(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that change others, key by key."""
    return {**base, **{key: _merged_section(base.get(key), value) for key, value in values.items()}}


def _merged_section(before: Any, after: Any) -> Any:
    """Sections of one part merge; another part's takes the place of the whole section, and so does any other value."""
    if (
        isinstance(before, dict)
        and isinstance(after, dict)
        and after.get("name", before.get("name")) == before.get("name")
    ):
        return _extended(before, after)
    return after
