"""Where and with what the figures were measured."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

import anygpt

PACKAGES = ("torch", "transformers", "diffusers", "peft")


def describe() -> dict[str, str]:
    """Hardware, versions, date; also how busy the machine was, since a figure from a busy one says little."""
    load = os.getloadavg()[0]
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(),
        "versions": ", ".join(
            [f"anygpt {anygpt.__version__}", f"Python {platform.python_version()}"]
            + [f"{package} {version(package)}" for package in PACKAGES]
        ),
        "load before": f"{load:.1f} processes ready to run in the last minute",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # only Linux has it
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or not a checkout
        return "unknown"
