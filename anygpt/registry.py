"""Name → class, resolved lazily: the explicit list of one kind of plug-in, open to other packages by entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from operator import attrgetter
from typing import Any

from anygpt.errors import MissingExtraError, RegistryError


class Registry:
    """The plug-ins of one kind.

    Args:
        kind: what an entry is, for messages: "encoder".
        group: entry-point group through which other packages add entries: "anygpt.encoders".
        builtin: name → "module:attribute" of the parts that ship with anygpt.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted({*self._builtin, *(point.name for point in entry_points(group=self.group))})

    def resolve(self, name: str) -> Any:
        """Import and return the class registered as `name`.

        Raises:
            RegistryError: if nobody registered the name (the message lists the names there are), or for a thing that
                does not exist.
            MissingExtraError: if the class needs a package that is not installed.
        """
        target = self._builtin.get(name) or self._external_target(name)
        module_name, _, attribute = target.partition(":")
        try:
            return attrgetter(attribute)(import_module(module_name))
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"{self.kind} '{name}' needs the package '{error.name}', which is missing; pip install {error.name}"
            ) from error
        except AttributeError as error:
            raise RegistryError(
                f"{self.kind} '{name}': '{target}' names nothing that is there; correct the entry point"
            ) from error

    def _external_target(self, name: str) -> str:
        for point in entry_points(group=self.group, name=name):
            return point.value
        raise RegistryError(f"no {self.kind} is called '{name}'; there are: {', '.join(self.names())}")
