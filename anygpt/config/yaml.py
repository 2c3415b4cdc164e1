"""YAML as plain values, and nothing more: text stays text, whatever it holds.

Configs come from strangers, in bundles for instance. So there are no tags beyond YAML's core ones, no references from
value to value (OmegaConf's "${…}", which can read the environment), no key that is given twice, and a limit on what
aliases can blow up. Anchors, aliases and merge keys work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

MAX_VALUES = 20_000  # of a file, with every alias counted as often as it is used
MAX_DEPTH = 64
_CORE = "tag:yaml.org,2002:"
_INT = re.compile(
    r"[-+]?(0b[01_]{1,3000}|0x[0-9a-fA-F_]{1,3000}|0[0-7_]{0,3000}|[1-9][0-9_]{0,3000})"
)  # Python cannot print longer ones: they are text
_FLOAT = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?"
    r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
)


class _Loader(yaml.SafeLoader):
    """PyYAML's, but "1e-3" is a number as in YAML 1.2; "2024-01-01", "1:30" and endless digits are text."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in (f"{_CORE}timestamp", f"{_CORE}float", f"{_CORE}int")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_CORE}int", re.compile(f"^(?:{_INT.pattern})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_CORE}float", re.compile(f"^(?:{_FLOAT.pattern})$"), list("-+0123456789."))


def load_yaml(text: str) -> Any:
    """The values of a YAML document: dicts, lists, text, numbers, booleans and None.

    Raises:
        ValueError: in one line, with the number of the line at fault.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _Plain(loader).value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from error
    except yaml.YAMLError as error:  # characters that no YAML file may hold
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None


class _Plain:
    """Turns one document's nodes into values."""

    def __init__(self, loader: _Loader) -> None:
        self._scalars = {
            f"{_CORE}{name}": getattr(loader, f"construct_yaml_{name}") for name in ("null", "bool", "int", "float")
        }
        self._counted = 0

    def value(self, node: yaml.Node, depth: int = 0) -> Any:
        """What a node stands for; the same alias gives a new value every time."""
        self._counted += 1
        if self._counted > MAX_VALUES:
            raise _refused(node, f"more than {MAX_VALUES} values, with every alias counted")
        if depth > MAX_DEPTH:
            raise _refused(node, f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
            return [self.value(item, depth + 1) for item in node.value]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.tag in (f"{_CORE}str", f"{_CORE}value"):
            return node.value
        if not isinstance(node, yaml.ScalarNode) or node.tag not in self._scalars:
            raise _refused(node, f"the tag '{node.tag.removeprefix(_CORE)}' is not taken; write plain values")
        try:
            return self._scalars[node.tag](node)
        except (ValueError, LookupError) as error:
            raise _refused(node, f"'{node.value[:40]}' cannot be read as {node.tag.removeprefix(_CORE)}") from error

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        own: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_CORE}merge":
                for mapping in self._merged(value_node, depth):
                    merged = {**mapping, **merged}  # the first of several wins
                continue
            key = self._scalar(key_node)
            if key in own:
                raise _refused(key_node, f"the key '{key}' is given twice")
            own[key] = self.value(value_node, depth + 1)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, depth: int) -> Iterator[dict[Any, Any]]:
        """What "<<" brings: a mapping, or several."""
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(item, yaml.MappingNode):
                raise _refused(item, "'<<' merges mappings alone")
            yield self.value(item, depth + 1)


def _refused(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
