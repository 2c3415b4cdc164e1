"""The shipped real stacks, built once a session at their real sizes without weights."""

from __future__ import annotations

import pytest

from anygpt.config.loading import load_stack_config
from anygpt.config.schema import StackConfig
from pipelines.planning.needs import StageNeed, measure
from pipelines.planning.weightless import build_without_weights
from pipelines.stack.build import Stack
from tests.pipelines.planning.real_stacks import REAL_STACKS


@pytest.fixture(scope="session")
def real_configs() -> dict[str, StackConfig]:
    return {name: load_stack_config(name) for name in REAL_STACKS}


@pytest.fixture(scope="session")
def real_stacks(real_configs: dict[str, StackConfig]) -> dict[str, Stack]:
    return {name: build_without_weights(config) for name, config in real_configs.items()}


@pytest.fixture(scope="session")
def real_needs(real_configs: dict[str, StackConfig], real_stacks: dict[str, Stack]) -> dict[str, list[StageNeed]]:
    return {name: measure(real_configs[name], stack) for name, stack in real_stacks.items()}
