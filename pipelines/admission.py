"""Whether a request asks for more than a stack's config allows, known before any weights are loaded."""

from __future__ import annotations

from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.config.resolve import resolve_component
from anygpt.config.schema import StackConfig
from anygpt.options import RequestOptions
from generators import GENERATORS
from generators.limits import LIMITS, check_limits


def check_option_limits(config: StackConfig, options: RequestOptions) -> None:
    """Refuse an option that exceeds the limits of all generators in question, as the pipeline would once it is loaded.

    Raises:
        RequestError: naming the most generous limit.
        ConfigError, RegistryError: if a generator's section of the config cannot be used.
    """
    asked = {name: value for name in LIMITS if (value := getattr(options, name)) is not None}
    if not asked:
        return
    with quiet_libraries():
        settings = {
            modality: resolve_component(GENERATORS, section, f"generators.{modality}")[1]
            for modality, section in config.generators.items()
        }
    for name, value in asked.items():
        limits = {m: most for m, held in settings.items() if (most := getattr(held, LIMITS[name], None)) is not None}
        if limits:
            most_generous = max(options.sampling.in_question(limits), key=lambda modality: limits[modality])
            check_limits(settings[most_generous], most_generous, **{name: value})
