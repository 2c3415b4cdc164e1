"""The weights that ship with anygpt, and how `pretrained:` values find them."""

from __future__ import annotations

import os
from pathlib import Path

from anygpt.errors import CheckpointError

EMBEDDED_PREFIX = "embedded:"
WEIGHTS_DIR = Path(__file__).parents[1] / "weights"


def locate(pretrained: str) -> str:
    """Turn a `pretrained:` value into what `from_pretrained` takes.

    Args:
        pretrained: `embedded:tiny/clip` (ships with anygpt), a local folder ("~" is the home), or a hub name.
    Raises:
        CheckpointError: if embedded weights of that name do not ship.
    """
    if not pretrained.startswith(EMBEDDED_PREFIX):
        return os.path.expanduser(pretrained)
    folder = WEIGHTS_DIR / pretrained.removeprefix(EMBEDDED_PREFIX)
    if ".." in folder.parts or WEIGHTS_DIR not in folder.parents or not folder.is_dir():
        shipped = sorted(str(path.parent.relative_to(WEIGHTS_DIR)) for path in WEIGHTS_DIR.glob("*/*/*.json"))
        raise CheckpointError(
            f"pretrained: no weights '{pretrained}' ship with anygpt; there are: {', '.join(shipped) or 'none'}"
        )
    return str(folder)
