"""Loads the stack of a command, and says meanwhile that it does."""

from __future__ import annotations

import os
from typing import Any

from pipelines.cli.progress import Progress


def load_model(
    config: str,
    overrides: list[str],
    executor: str = "local",
    address: str | None = None,
    deploy: str | None = None,
    *,
    allow_outside: bool = False,
    trust_remote_code: bool = False,
) -> Any:
    """A shipped or own config, or an adapter bundle."""
    from anygpt.config.loading import load_stack_config

    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    loaded = load_stack_config(config, overrides, deploy, **trust)  # before the slow imports: its errors come at once
    progress = Progress()
    progress.show(f"loading {loaded.name}")
    try:
        from pipelines.assistant import AnyGPT

        if os.path.isdir(config):
            return AnyGPT.from_pretrained(config, overrides, executor=executor, address=address, deploy=deploy, **trust)
        return AnyGPT.from_config(loaded, executor=executor, address=address)
    finally:
        progress.clear()
