"""Fields of OpenAI's interface for what this service does not have.

Clients fill many of them in by habit. Null, and values that ask for nothing, are taken; anything else is refused by
name, since an answer without it would not be what was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anygpt.media.sources import one_line
from pipelines.serving.errors import ServiceError


@dataclass(frozen=True)
class Unavailable:
    """What one field asks for.

    Attributes:
        fact: what the service does instead, in words: "this service …".
        idle: values that ask for nothing, besides null.
    """

    fact: str
    idle: tuple[Any, ...] = ()


_TOOLS = "has no tools"
_LOGPROBS = "gives no log probabilities"
_PENALTIES = "has no penalties on tokens"

CHAT = {
    "tools": Unavailable(_TOOLS, ([],)),
    "tool_choice": Unavailable(_TOOLS, ("none", "auto")),
    "parallel_tool_calls": Unavailable(_TOOLS, (False, True)),
    "functions": Unavailable(_TOOLS, ([],)),
    "function_call": Unavailable(_TOOLS, ("none", "auto")),
    "web_search_options": Unavailable("has no web search"),
    "logit_bias": Unavailable("has no bias on tokens", ({}, [])),
    "logprobs": Unavailable(_LOGPROBS, (False, 0)),
    "top_logprobs": Unavailable(_LOGPROBS, (0,)),
    "n": Unavailable("gives one reply to a request", (1,)),
    "best_of": Unavailable("gives one reply to a request", (1,)),
    "frequency_penalty": Unavailable(_PENALTIES, (0,)),
    "presence_penalty": Unavailable(_PENALTIES, (0,)),
    "repetition_penalty": Unavailable(_PENALTIES, (1,)),
    "response_format": Unavailable("has no replies in a fixed form", ({"type": "text"},)),
    "reasoning_effort": Unavailable("has no reasoning to steer", ("none",)),
    "reasoning": Unavailable("has no reasoning to steer", ({}, {"effort": "none"})),
    "verbosity": Unavailable("has no levels of verbosity", ("medium",)),
    "prediction": Unavailable("has no predicted replies"),
    "service_tier": Unavailable("has no service tiers", ("auto", "default")),
}
REPLY = {
    "tool_calls": Unavailable(_TOOLS, ([],)),
    "function_call": Unavailable(_TOOLS),
}
IMAGES = {
    "quality": Unavailable(
        "has no levels of quality; steps=… is the number of denoising steps", ("auto", "standard", "medium")
    ),
    "style": Unavailable("has no styles", ("vivid",)),
    "background": Unavailable("makes no transparent pictures", ("auto", "opaque")),
    "response_format": Unavailable("gives pictures as b64_json", ("b64_json",)),
    "output_format": Unavailable("gives pictures as png", ("png",)),
    "output_compression": Unavailable("gives pictures as png, without loss", (100,)),
    "stream": Unavailable("gives pictures when they are complete", (False,)),
    "partial_images": Unavailable("gives pictures when they are complete", (0,)),
}


def without_idle(values: dict[str, Any], unavailable: dict[str, Unavailable], where: str = "") -> dict[str, Any]:
    """The values without fields of `unavailable`, all of which ask for nothing.

    Args:
        where: path of the values in the body, for messages: "messages.1.".
    Raises:
        ServiceError: 400 if a field asks for something.
    """
    for name in unavailable.keys() & values.keys():
        value, field = values[name], unavailable[name]
        if value is not None and value not in field.idle:
            given = one_line(repr(value))
            message = f"{where}{name}: {given} given, but this service {field.fact}; leave it out"
            raise ServiceError(400, message, param=f"{where}{name}")
    return {name: value for name, value in values.items() if name not in unavailable}
