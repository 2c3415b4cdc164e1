"""Keep other libraries' progress bars, advice and warnings to themselves while models load."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = r"(transformers|diffusers|peft|accelerate)(\..*)?"


@contextmanager
def quiet_libraries(*, hide_bars: bool = True) -> Iterator[None]:
    """Silence them inside the block and put everything back as it was; errors come through.

    Args:
        hide_bars: also hide progress bars, those of downloads among them.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    kept = [
        (logs, logs.get_verbosity(), logs.is_progress_bar_enabled())
        for logs in (diffusers_logging, transformers_logging)
    ]
    for logs, _, _ in kept:
        logs.set_verbosity(logs.CRITICAL)
        if hide_bars:
            logs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=LIBRARIES)
            yield
    finally:
        for logs, verbosity, bars in kept:
            logs.set_verbosity(verbosity)
            if hide_bars and bars:
                logs.enable_progress_bar()
