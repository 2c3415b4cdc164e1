"""From the bytes of a body to a checked request, and what of it the service does not know."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from anygpt.media.sources import one_line
from pipelines.serving.errors import ServiceError
from pipelines.serving.schema import AssistantMessage, Sent
from pipelines.serving.unavailable import without_idle

Body = TypeVar("Body", bound=Sent)
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)  # a string, in one pass


def parse_body(schema: type[Body], data: bytes, max_values: int) -> Body:
    """Check a JSON body. Null fields count as not given.

    Args:
        schema: `ChatBody` or `ImagesBody`.
        data: the bytes as they came.
        max_values: most values in it; each costs far more memory than its bytes.
    Raises:
        ServiceError: 400 if it is no JSON object or asks for what the service does not have, 422 if a field is
            missing or of a wrong type.
    """
    if _count(data) > max_values and _count(_TEXT.sub(b"", data)) > max_values:
        raise ServiceError(400, f"body: more than {max_values} values given; shorten the conversation")
    try:
        values = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # ValueError covers JSON and UTF-8 errors
        reason = "nested too deeply" if isinstance(error, RecursionError) else one_line(str(error))
        raise ServiceError(400, f"body: no valid JSON ({reason})") from error
    if not isinstance(values, dict):
        raise ServiceError(400, f"body: a JSON {type(values).__name__} given, expected an object")
    values = without_idle(values, schema.unavailable)
    if isinstance(values.get("messages"), list):
        values["messages"] = [_message(message, at) for at, message in enumerate(values["messages"])]
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from error
    except RecursionError as error:
        raise ServiceError(400, "body: nested too deeply") from error


def _count(data: bytes) -> int:
    """At least as many as there are values in a JSON text."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _message(message: Any, at: int) -> Any:
    """A message without fields that ask for nothing; tools' own messages are refused with words."""
    if not isinstance(message, dict):
        return message
    where = f"messages.{at}."
    if message.get("role") in ("tool", "function"):
        text = f"{where}role: '{message['role']}' given, but this service has no tools; leave the message out"
        raise ServiceError(400, text, param=f"{where}role")
    if message.get("role") == "assistant":
        return without_idle(message, AssistantMessage.unavailable, where)
    return message


def unknown_fields(sent: BaseModel) -> list[str]:
    """Paths of the fields that the service does not know and that are not null: ["messages.0.colour"]."""
    found = [name for name, value in (sent.model_extra or {}).items() if value is not None]
    for name in type(sent).model_fields:
        value = getattr(sent, name)
        items = [(name, value)] if not isinstance(value, list) else [(f"{name}.{at}", v) for at, v in enumerate(value)]
        found += [
            f"{path}.{inner}" for path, item in items if isinstance(item, BaseModel) for inner in unknown_fields(item)
        ]
    return found


def _path(steps: tuple[int | str, ...]) -> str:
    """Where in the body, without the names that pydantic gives to the branches of unions."""
    path: list[str] = []
    for before, step in zip((None, *steps), steps, strict=False):
        branch = isinstance(step, str) and ("[" in step or step == "str" or isinstance(before, int))
        path += [] if branch else [str(step)]
    return ".".join(path) or "body"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _refusal(error: ValidationError) -> ServiceError:
    """The first problem of a body, in one line."""
    problems = error.errors(include_url=False)
    problem = max(problems, key=lambda problem: len(problem["loc"]))  # of a union's branches, the one that fitted best
    where = _path(problem["loc"])
    if problem["type"] == "missing":
        return ServiceError(422, f"{where}: not given; add it", param=where)
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _refused_tag(where, problem)
    given = one_line(repr(problem["input"]))
    expected = problem["msg"][0].lower() + problem["msg"][1:]
    return ServiceError(422, f"{where}: {given} given, but {one_line(expected)}", param=where)


def _refused_tag(where: str, problem: Any) -> ServiceError:
    """A message of an unknown role, or a part of an unknown type."""
    context = problem["ctx"]
    field = f"{where}.{context['discriminator'].strip(chr(39))}"
    if "tag" not in context:
        return ServiceError(422, f"{field}: not given; add it", param=field)
    given, known = one_line(repr(context["tag"])), context["expected_tags"].replace("'", "")
    return ServiceError(422, f"{field}: {given} given, expected one of {known}", param=field)
