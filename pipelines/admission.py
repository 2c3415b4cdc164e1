"""Whether a request may be answered at all: the one place where its limits are checked.

What a stack's config says is known before any weights are loaded (`check_against_config`); the rest is checked when the
request comes (`check_request`, `check_generation`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.config.resolve import resolve_component
from anygpt.config.schema import Limits, StackConfig
from anygpt.errors import RequestError
from anygpt.messages import Message, check_conversation
from anygpt.options import GENERATION, GenerationOptions, RequestOptions
from generators import GENERATORS
from generators.limits import check_limits, limit_of

Check = Callable[[str, GenerationOptions], Awaitable[None]]


def check_request(
    conversation: Sequence[Message], options: RequestOptions, limits: Limits, output_modalities: Collection[str]
) -> None:
    """Refuse a conversation that is impossible or too long, and media that the stack does not produce.

    Raises:
        RequestError: naming the limit.
    """
    check_conversation(conversation)
    chars = sum(len(message.text) for message in conversation)
    media = sum(not isinstance(part, str) for message in conversation for part in message.parts)
    if chars > limits.max_text_chars:
        raise RequestError(f"conversation: {chars} characters given, expected at most {limits.max_text_chars}")
    if media > limits.max_media:
        raise RequestError(f"conversation: {media} media given, expected at most {limits.max_media}")
    for modality in options.sampling.modalities or ():
        if modality != "text" and modality not in output_modalities:
            raise RequestError(f"modalities: {modality} given, but this stack only produces: {_all(output_modalities)}")


async def check_generation(options: RequestOptions, output_modalities: Collection[str], check: Check) -> None:
    """Refuse options that no generator can follow, or that are about media which the stack does not produce.

    Args:
        options: of the request.
        output_modalities: the media that the stack produces.
        check: asks the generator of a modality, and raises RequestError with its answer.
    Raises:
        RequestError: naming the option.
    """
    if not options.asked:
        return
    # Options about the same media are checked together: a width with its height.
    asked = [option for option in GENERATION if option.name in options.asked]
    for modalities in dict.fromkeys(option.modalities for option in asked if option.modalities):
        given = {option.name: options.asked[option.name] for option in asked if option.modalities == modalities}
        having = [modality for modality in output_modalities if modality in modalities]
        if not having:
            name, value = next(iter(given.items()))
            wanted = " or ".join(modalities)
            raise RequestError(
                f"{name}: {value} given for {wanted}, but this stack only produces: {_all(output_modalities)}"
            )
        await _check_any(options.sampling.possible(having), GenerationOptions(**given), check)
    await _check_any(options.sampling.possible(output_modalities), options.generation(0), check)


def check_against_config(config: StackConfig, options: RequestOptions) -> None:
    """Refuse an option that exceeds the limits of all generators that it may be meant for.

    Raises:
        RequestError: naming the most generous limit.
        ConfigError, RegistryError: if a generator's section of the config cannot be used.
    """
    limited = [option.name for option in GENERATION if option.limit is not None and option.name in options.asked]
    if not limited:
        return
    with quiet_libraries():
        configs = {
            modality: resolve_component(GENERATORS, section, f"generators.{modality}")[1]
            for modality, section in config.generators.items()
        }
    for name in limited:
        limits = {m: most for m, settings in configs.items() if (most := limit_of(settings, name)) is not None}
        if limits:
            most_generous = max(options.sampling.possible(limits), key=lambda modality: limits[modality])
            check_limits(configs[most_generous], most_generous, **{name: options.asked[name]})


async def _check_any(modalities: Sequence[str], options: GenerationOptions, check: Check) -> None:
    """Refuse what none of their generators can follow, in the first one's words."""
    refusals = []
    for modality in modalities:
        try:
            await check(modality, options)
            return
        except RequestError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _all(output_modalities: Collection[str]) -> str:
    return ", ".join(("text", *output_modalities))
