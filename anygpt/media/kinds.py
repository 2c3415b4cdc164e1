"""The kinds of media: one line each says how its values are told, read and written, for every room above.

A later modality is one more entry in `KINDS`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from anygpt.errors import MediaError
from anygpt.media.audio import AudioLimits, encode_wav, load_audio, save_audio
from anygpt.media.image import ImageLimits, encode_png, load_image, save_image
from anygpt.media.point_limits import PointLimits
from anygpt.media.points import encode_ply, load_points, save_points
from anygpt.media.values import Audio, PointCloud, Video
from anygpt.media.video import VideoLimits, load_video
from anygpt.media.video_encoding import encode_mp4, save_video


@dataclass(frozen=True)
class MediaKind:
    """How one modality goes in and out.

    Attributes:
        word: what people call it.
        value: the type of its values.
        limits: the type of its limits.
        suffix, mime: of the files that are written.
        reads: endings of files that are taken for it where nothing else tells.
        load: a source (path, bytes, data URL) or a value, under limits → a value.
        encode: a value → a file's bytes.
        save: write a value to a path, the whole file or nothing.
        num_bytes: what a value takes in memory.
    """

    word: str
    value: type
    limits: type
    suffix: str
    mime: str
    reads: tuple[str, ...]
    load: Callable[..., Any]
    encode: Callable[[Any], bytes]
    save: Callable[[Any, str | os.PathLike[str]], None]
    num_bytes: Callable[[Any], int]

    def data_url(self, value: Any) -> str:
        """The value as `data:<mime>;base64,…`."""
        return f"data:{self.mime};base64,{base64.b64encode(self.encode(value)).decode()}"


def _video_bytes(video: Video) -> int:
    return video.frames.nbytes + (0 if video.audio is None else video.audio.waveform.nbytes)


KINDS = {
    "image": MediaKind(
        word="picture",
        value=Image.Image,
        limits=ImageLimits,
        suffix=".png",
        mime="image/png",
        reads=(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".mpo"),
        load=load_image,
        encode=encode_png,
        save=save_image,
        num_bytes=lambda image: 3 * image.width * image.height,
    ),
    "audio": MediaKind(
        word="sound",
        value=Audio,
        limits=AudioLimits,
        suffix=".wav",
        mime="audio/wav",
        reads=(
            *(".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a"),
            *(".aac", ".aif", ".aiff", ".caf", ".amr", ".w64"),
        ),
        load=load_audio,
        encode=encode_wav,
        save=save_audio,
        num_bytes=lambda audio: audio.waveform.nbytes,
    ),
    "video": MediaKind(
        word="video",
        value=Video,
        limits=VideoLimits,
        suffix=".mp4",
        mime="video/mp4",
        reads=(".mp4", ".webm", ".mov", ".mkv", ".m4v", ".3gp"),
        load=load_video,
        encode=encode_mp4,
        save=save_video,
        num_bytes=_video_bytes,
    ),
    "points": MediaKind(
        word="point cloud",
        value=PointCloud,
        limits=PointLimits,
        suffix=".ply",
        mime="model/ply",
        reads=(".ply", ".obj", ".off", ".stl", ".glb", ".pcd", ".xyz", ".pts", ".npy", ".npz"),
        load=load_points,
        encode=encode_ply,
        save=save_points,
        num_bytes=lambda points: 2 * points.xyz.nbytes,
    ),
}


def save_medium(value: Any, path: str | os.PathLike[str]) -> None:
    """Write a picture as PNG, a sound as WAV, a video as MP4 or a point cloud as PLY; the whole file or nothing.

    Args:
        value: a media value, as replies hold them.
        path: its ending must fit; a regular file of that name is replaced, the folder must exist.
    Raises:
        MediaError: if the value is no medium, cannot be encoded or the file cannot be written.
        MissingExtraError: if a video is given and the extra `media` is not installed.
    """
    modality = kind_of_value(value)
    if modality is None:
        known = ", ".join(kind.value.__name__ for kind in KINDS.values())
        raise MediaError(f"medium: a {type(value).__name__} given, expected one of {known}")
    KINDS[modality].save(value, path)


def kind_of_value(value: Any) -> str | None:
    """The modality of a media value; None for anything else."""
    return next((modality for modality, kind in KINDS.items() if isinstance(value, kind.value)), None)


def kind_of_file(name: str | os.PathLike[str]) -> str:
    """The modality that a file's ending stands for; "image" where it stands for none."""
    ending = os.path.splitext(os.fspath(name))[1].lower()
    return next((modality for modality, kind in KINDS.items() if ending in kind.reads), "image")
