"""Where the stages run: in this process, or on Ray."""

from __future__ import annotations

from anygpt.config.schema import StackConfig
from anygpt.errors import ConfigError
from pipelines.executors.contract import Executor

EXECUTORS = ("local", "ray")


def start_executor(config: StackConfig, name: str = "local", address: str | None = None) -> Executor:
    """Load a stack's stages and set them to work.

    Args:
        config: the stack.
        name: "local" or "ray".
        address: for Ray, a running cluster, or "auto"; None starts a Ray that ends with the executor.
    Raises:
        ConfigError: if the name is unknown, or an address is given to the local executor.
        MissingExtraError: if ray is not installed.
        ConfigError, RegistryError, CheckpointError, StageError: if the stages cannot be started.
    """
    if name not in EXECUTORS:
        raise ConfigError(f"executor: '{name}' given, expected one of {', '.join(EXECUTORS)}")
    if name == "ray":
        from pipelines.executors.ray import RayExecutor

        return RayExecutor(config, address)
    if address is not None:
        raise ConfigError(f"address: '{address}' given with the local executor; set executor to ray, or leave it out")
    from pipelines.executors.local import LocalExecutor
    from pipelines.stack.build import build_stack

    return LocalExecutor(build_stack(config))
