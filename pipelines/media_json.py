"""How media travel over HTTP: the types of a message's parts, and the lists of a reply's media.

A medium is `{"type": TYPE, TYPE: {"url": "data:…"}}`; OpenAI's `input_audio` parts are taken as well. The service and
its clients share this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anygpt.media.kinds import KINDS


@dataclass(frozen=True)
class JsonForm:
    """One modality on its way.

    Attributes:
        type: of its parts.
        listed: the list of a reply's message (or of a stream's delta) that holds its media.
    """

    type: str
    listed: str


JSON_FORMS = {
    "image": JsonForm("image_url", "images"),
    "audio": JsonForm("audio_url", "audios"),
    "video": JsonForm("video_url", "videos"),
    "points": JsonForm("points_url", "point_clouds"),
}
MODALITY_OF_TYPE = {form.type: modality for modality, form in JSON_FORMS.items()}


def medium_json(modality: str, medium: Any) -> dict[str, Any]:
    """A medium as JSON."""
    form = JSON_FORMS[modality]
    return {"type": form.type, form.type: {"url": KINDS[modality].data_url(medium)}}


def medium_from_json(item: dict[str, Any]) -> Any:
    """A medium of JSON that a service wrote, under the default limits.

    Raises:
        LookupError, TypeError: if the JSON has another shape.
        MediaError: if the medium is broken.
    """
    return KINDS[MODALITY_OF_TYPE[item["type"]]].load(item[item["type"]]["url"])
