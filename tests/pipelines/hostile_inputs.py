"""Hostile inputs by property: damaged media files, impossible configs, odd bodies.

The tests draw the same inputs every time. `ANYGPT_HOSTILE_FACTOR=20` draws twenty times as many, and new ones.
"""

from __future__ import annotations

import io
import json
import os
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

from anygpt.media import Audio, PointCloud, Video, encode_mp4, encode_ply, encode_wav

RNG = np.random.default_rng(0)
FACTOR = int(os.environ.get("ANYGPT_HOSTILE_FACTOR", "1"))
MAX_SECONDS = 10  # for each input
MAX_GROWTH_BYTES = 400_000_000  # of the process that answers


def hostile(examples: int) -> settings:
    """How many inputs a test draws."""
    return settings(
        max_examples=examples * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@lru_cache(maxsize=1)
def sound_files() -> dict[str, bytes]:
    """A small whole file of each format, by its ending."""
    import av

    sound = Audio((0.5 * np.sin(np.arange(8_000) / 9)).astype(np.float32), 16_000)
    files = {".wav": encode_wav(sound)}
    for ending, container, codec in ((".flac", "flac", "flac"), (".ogg", "ogg", "libopus"), (".mp3", "mp3", "mp3")):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container) as opened:
            stream = opened.add_stream(codec, rate=16_000, layout="mono")
            samples = (sound.waveform * 32_000).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 16_000
            resampler = av.AudioResampler(format=stream.format, layout="mono", rate=16_000, frame_size=1024)
            for piece in (*resampler.resample(frame), *resampler.resample(None)):
                opened.mux(stream.encode(piece))
            opened.mux(stream.encode(None))
        files[ending] = buffer.getvalue()
    return files


@lru_cache(maxsize=1)
def files() -> dict[str, list[tuple[str, bytes]]]:
    """Modality → small whole files, each with its ending."""
    picture = Image.fromarray(RNG.integers(0, 256, (24, 32, 3), np.uint8))
    pictures = []
    for kind, options in (("PNG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("WEBP", {}), ("BMP", {})):
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        pictures.append((f".{kind.lower()}", buffer.getvalue()))
    moving = io.BytesIO()
    picture.save(moving, "GIF", save_all=True, append_images=[picture.rotate(90)], duration=100)
    video = Video(RNG.integers(0, 256, (4, 32, 32, 3), np.uint8), 8.0)
    cloud = PointCloud(RNG.normal(size=(20, 3)).astype(np.float32), RNG.random((20, 3), np.float32))
    array = io.BytesIO()
    np.save(array, cloud.xyz)
    mesh = b"OFF\n4 2 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n"
    text = "\n".join(" ".join(f"{value:.3f}" for value in point) for point in cloud.xyz).encode()
    return {
        "image": pictures,
        "audio": list(sound_files().items()),
        "video": [(".mp4", encode_mp4(video)), (".gif", moving.getvalue())],
        "points": [(".ply", encode_ply(cloud)), (".npy", array.getvalue()), (".off", mesh), (".xyz", text)],
    }


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """A file with some bytes changed, most of them in its header."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.one_of(st.integers(0, min(96, len(changed))), st.integers(0, len(changed))))
        kind = draw(st.sampled_from(["field", "bytes", "cut", "insert", "repeat", "drop"]))
        if kind == "field":  # a length, a count or a size at its extremes
            value = draw(st.sampled_from([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000]))
            size = draw(st.sampled_from([2, 4]))
            field = (value % 2 ** (8 * size)).to_bytes(size, draw(st.sampled_from(["little", "big"])))
            changed[at : at + size] = field
        elif kind == "bytes":
            piece = draw(st.binary(min_size=1, max_size=8))
            changed[at : at + len(piece)] = piece
        elif kind == "cut":
            del changed[at:]
        elif kind == "insert":
            changed[at:at] = draw(st.binary(min_size=1, max_size=32))
        elif kind == "repeat":
            changed[at:at] = changed[max(0, at - 64) : at] * draw(st.integers(1, 50))
        else:
            del changed[at : at + draw(st.integers(1, 64))]
    return bytes(changed)


@st.composite
def damaged_files(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """(modality, ending, bytes)."""
    modality = draw(st.sampled_from(sorted(files())))
    ending, data = draw(st.sampled_from(files()[modality]))
    return modality, ending, draw(damaged(data))


odd_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(
            ["", " ", "${", "${oc.env:HOME}", "${name}", "../../etc/passwd", "/dev/zero", "\x00", "\ud7ff"]
        ),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)

KEYS = [
    "name", "extends", "adapters", "adapter_overlays", "encoders.image", "encoders.image.name", "encoders.audio",
    "encoders.image.pretrained", "projectors.input.image", "projectors.input.image.queries", "projectors.output.image",
    "backbone", "backbone.name", "backbone.pretrained", "backbone.lora", "backbone.lora.rank", "backbone.media_wrap",
    "backbone.signal_tokens", "backbone.signal_tokens.image", "backbone.max_tokens", "generators.image.steps",
    "generators.image.guidance", "generators.image.pretrained", "generators.video.fps", "placement", "limits",
    "placement.backbone.device", "placement.backbone.dtype", "placement.backbone.max_batch_size", "limits.image",
    "limits.timeout_s", "limits.max_media", "limits.image.max_pixels", "service.allowed_hosts", "service.max_requests",
    "service.model_aliases", "unknown", "trust_remote_code",
]  # fmt: skip


@st.composite
def odd_configs(draw: st.DrawFn) -> str:
    """A YAML config over `tiny` with some impossible values; JSON is YAML."""
    values: dict[str, Any] = {"extends": "tiny"}
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True)):
        *sections, last = key.split(".")
        inner = values
        for section in sections:
            if not isinstance(inner.get(section), dict):
                inner[section] = {}
            inner = inner[section]
        inner[last] = draw(odd_values)
    text = json.dumps(values)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=6)) + text[at:]
    return text


FIELDS = [
    "model", "messages", "stream", "stream_options", "modalities", "seed", "max_tokens", "temperature", "top_p", "stop",
    "top_k", "steps", "guidance", "size", "frames", "duration_s", "n", "tools", "logit_bias", "response_format",
    "audio", "user", "metadata", "markdown_media", "other",
]  # fmt: skip


@st.composite
def odd_bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A chat body in which some fields hold anything."""
    body: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    for field in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True)):
        body[field] = draw(odd_values)
    if draw(st.booleans()):
        role = draw(st.sampled_from(["user", "assistant", "system", "tool", "robot"]))
        extra = {"role": role, "content": draw(odd_values), draw(st.text(max_size=8)): draw(odd_values)}
        if draw(st.booleans()):
            extra[draw(st.sampled_from(["images", "audios", "errors", "audio", "refusal"]))] = draw(odd_values)
        messages = body["messages"] if isinstance(body["messages"], list) else []
        body["messages"] = [extra, *messages]
    return body
