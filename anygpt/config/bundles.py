"""What a bundle's config may name. A bundle comes from somebody else: its config names models on the hub and what ships
with anygpt (`embedded:…`), and nothing else of this machine or the network, unless the user says so.

Every text in the config is looked at, whatever its key, so a new part's options are covered as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anygpt.config.files import load_file, shipped_configs
from anygpt.errors import ConfigError

ALLOWED = "--allow-outside on the command line, or allow_outside=True in Python"
# Files by which a folder is known as a bundle, also if its config is given itself.
_BUNDLE_FILES = ("input_projectors.safetensors", "output_projectors.safetensors", "signal_tokens.safetensors")
_WORDS = ("chat_template", "media_wrap")  # options that are words for the model, never names
_CHOICES = ("name",)  # of the stack and of registered parts
_PARTS = ("encoders", "projectors", "backbone", "generators", "adapters", "adapter_overlays")
_OTHERS_ACCESS = ("allowed_hosts", "allowed_origins")  # under `service`: who may be asked and who may ask
_PLACE = re.compile(r"[/\\~]|\.{1,2}([/\\]|$)|[A-Za-z]:[/\\]|[^/\\]*:/")
_UPWARDS = re.compile(r"(^|[:/\\])\.\.([/\\]|$)")
_CHECKPOINT_FILES = ("*.json", "*.yaml", "*.safetensors", "*.bin", "*.pt")


def is_bundle(name_or_file: str | os.PathLike[str]) -> bool:
    """True for a bundle's folder, and for a YAML file inside one."""
    given = os.fspath(name_or_file)
    folder, is_yaml = os.path.dirname(given), given.endswith((".yaml", ".yml"))
    return os.path.isdir(given) or (is_yaml and any(os.path.isfile(os.path.join(folder, n)) for n in _BUNDLE_FILES))


def refuse_outside(path: Path, given: Mapping[str, Any]) -> None:
    """Refuse a bundle's config that names something outside the bundle.

    Args:
        path: the config file.
        given: the user's own values, which take the place of the file's; those may name anything.
    Raises:
        ConfigError: naming the first key at fault, and how to allow it.
    """
    values = load_file(path)
    for key, text in _texts(values, given):
        reason = _outside(key, text)
        if reason:
            raise ConfigError(
                f"{'.'.join(key)}: '{text}' given by the bundle '{path.parent}', which {reason}; a bundle names hub "
                f"models and embedded:… alone. If you trust it, give {ALLOWED}"
            )


def stands_alone(folder: Path) -> bool:
    """True where a bundle's config names nothing outside the bundle."""
    try:
        refuse_outside(folder / "config.yaml", {})
    except ConfigError:
        return False
    return True


def _outside(key: tuple[str, ...], text: str) -> str | None:
    """Why a text is refused, None if it is not."""
    if key[0] == "service" and any(name in _OTHERS_ACCESS for name in key):
        return "is another host"
    if key == ("extends",):
        return None if text in shipped_configs() else "is no config that ships with anygpt"
    if key[-1] in _WORDS:
        return None
    if _PLACE.match(text) or _UPWARDS.search(text):
        return "is a path or an address"
    if key[0] in _PARTS and key[-1] not in _CHOICES and _is_here(text):
        return "is on this machine"
    return None


def _is_here(value: str) -> bool:
    """True for what would be taken for a file or a checkpoint's folder below the working directory."""
    try:
        if "/" in value or "\\" in value or not os.path.isdir(value):
            return os.path.lexists(value)
        return any(next(Path(value).glob(pattern), None) is not None for pattern in _CHECKPOINT_FILES)
    except (OSError, ValueError):  # a text that can be no path
        return False


def _texts(values: Any, given: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of the values with its path, but those that the user gave another value for; keys are texts, too."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            path = (*key, str(name))
            own = given.get(name) if isinstance(given, Mapping) else None
            if not isinstance(given, Mapping) or name not in given:
                yield from _texts(value, {}, path)
            elif isinstance(own, Mapping) and isinstance(value, Mapping):
                yield from _texts(value, own, path)
            if isinstance(name, str) and _PLACE.match(name):
                yield path, name
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _texts(value, {}, (*key, str(index)))
    elif isinstance(values, str):
        yield key, values
