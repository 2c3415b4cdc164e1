"""Videos as a few of their frames through a frozen image encoder, as Video-LLaVA and LLaVA-NeXT look at them.

Legend: B batch, F frames, N frames of a whole batch, T tokens, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from PIL import Image
from torch import Tensor

from anygpt.errors import ConfigError, MediaError
from anygpt.media.values import Video
from anygpt.tensors import Features
from encoders.composition import resolve_inner
from encoders.contract import Encoder, Preprocessor

if TYPE_CHECKING:
    from typing_extensions import Self

_WHO = "video encoder 'sampled_frames'"
_FRAME_MASK = "frame_mask"
MAX_FRAMES = 1024
# The slowest wave of the time embedding in frames: short enough for the few frames of a clip to differ in most of D.
_LONGEST_WAVE = 100.0


@dataclass(frozen=True)
class SampledFramesPreprocessor:
    """A callable, picklable preprocessor: chooses frames first, so that memory does not grow with a video's length.

    Attributes:
        preprocess_images: the image encoder's.
        frames: frames of a video.
    """

    preprocess_images: Preprocessor
    frames: int

    def __call__(self, videos: list[Any]) -> dict[str, Tensor]:
        """Choose frames and preprocess them as pictures.

        Args:
            videos: at least one `Video`; one with fewer frames than are wanted has all of them chosen, once each.
        Returns:
            the image encoder's tensors (B, F, …), zeros where a video has no frame, and `frame_mask` (B, F) bool,
            True = a real frame; all on the CPU.
        Raises:
            MediaError: if there is no video, or a value is not a `Video`.
        """
        if not videos:
            raise MediaError(f"{_WHO}: no videos given, expected at least one")
        for index, video in enumerate(videos):
            if not isinstance(video, Video):
                raise MediaError(
                    f"{_WHO}: video {index} is a {type(video).__name__}, expected a Video; "
                    "make one with Video(frames, fps)"
                )
        chosen = [middle_frames(len(video.frames), self.frames) for video in videos]
        images = [Image.fromarray(video.frames[at]) for video, own in zip(videos, chosen, strict=True) for at in own]
        mask_BF = torch.arange(self.frames) < torch.tensor([len(own) for own in chosen])[:, None]
        return {
            **{name: _spread(tensor, mask_BF) for name, tensor in self.preprocess_images(images).items()},
            _FRAME_MASK: mask_BF,
        }


class SampledFramesEncoder(Encoder):
    """The middle frames of equal segments of a video, each through an image encoder.

    Tokens come frame by frame, (F·T) of them for every video. A video with fewer frames than `frames` has each of its
    frames once, and the tokens of the others are zeros and not valid.

    Args:
        config: the options.
        frame_encoder: an image encoder.
    Source: Video-LLaVA (arXiv 2311.10122), section 3.1.
    """

    modality = "video"

    @dataclass
    class Config:
        """Options of the `sampled_frames` encoder.

        Attributes:
            frame_encoder: the section of an image encoder, as it would stand under `encoders.image`.
            frames: how many frames are looked at.
            time_embedding: True adds to the tokens of a frame a fixed sinusoidal embedding of its place, 0 for the
                first, so that a projector that does not know the order of tokens can tell it.
            time_embedding_scale: its root mean square, as a share of the standard deviation of the clip's tokens:
                clear to a linear layer, and too weak to hide what is in the picture.
        """

        frame_encoder: dict[str, Any]
        name: Literal["sampled_frames"] = "sampled_frames"
        frames: int = 5
        time_embedding: bool = True
        time_embedding_scale: float = 0.25

        def __post_init__(self) -> None:
            if not 1 <= self.frames <= MAX_FRAMES:
                raise ConfigError(f"frames: {self.frames} given, expected 1 to {MAX_FRAMES}")
            if not 0 < self.time_embedding_scale < float("inf"):
                raise ConfigError(
                    f"time_embedding_scale: {self.time_embedding_scale} given, expected a number above 0; "
                    "set time_embedding=false to go without"
                )
            _resolve_frame_encoder(self)

    def __init__(self, config: Config, *, frame_encoder: Encoder) -> None:
        super().__init__()
        self.config = config
        self.frame_encoder = frame_encoder
        self._preprocessor = SampledFramesPreprocessor(frame_encoder.preprocess, config.frames)
        self.freeze()

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load the image encoder strictly.

        Raises:
            CheckpointError, ConfigError, MissingExtraError: as the image encoder.
        """
        encoder_class, options = _resolve_frame_encoder(config)
        return cls(config, frame_encoder=encoder_class.from_config(options, device=device, dtype=dtype))

    @classmethod
    def load_preprocessor(cls, config: Config) -> SampledFramesPreprocessor:
        """The choice of frames and the image encoder's preprocessor, without weights.

        Raises:
            CheckpointError: as the image encoder.
        """
        encoder_class, options = _resolve_frame_encoder(config)
        return SampledFramesPreprocessor(encoder_class.load_preprocessor(options), config.frames)

    @property
    def feature_dim(self) -> int:
        """D of the tokens."""
        return self.frame_encoder.feature_dim

    @property
    def num_tokens(self) -> int:
        """Tokens of a video: every one has this many."""
        return self.config.frames * self.frame_encoder.num_tokens

    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """`Video` values → the image encoder's tensors (B, F, …) and `frame_mask` (B, F) on the CPU.

        Raises:
            MediaError: if there is no video, or a value is not a `Video`.
        """
        return self._preprocessor(media)

    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Encode videos.

        Args:
            batch: the image encoder's tensors (B, F, …) and `frame_mask` (B, F), as `preprocess` makes them, on any
                device.
        Returns:
            Features with tokens (B, F·T, D) in the encoder's dtype, frame by frame; valid where a frame is.
        Raises:
            MediaError: if the frame mask has another shape, or the image encoder refuses the tensors.
        """
        mask_BF = batch[_FRAME_MASK]
        if mask_BF.ndim != 2 or mask_BF.shape[1] != self.config.frames or not mask_BF.any(dim=1).all():
            raise MediaError(
                f"{_WHO}: frame_mask of shape {tuple(mask_BF.shape)}, expected (B, {self.config.frames}) with a frame "
                "in every row; make it with preprocess()"
            )
        images = {name: tensor[mask_BF.to(tensor.device)] for name, tensor in batch.items() if name != _FRAME_MASK}
        seen = self.frame_encoder.encode(images)
        mask_BF = mask_BF.to(seen.tokens.device)
        tokens_BFTD, valid_BFT = _spread(seen.tokens, mask_BF), _spread(seen.valid_mask, mask_BF)
        if self.config.time_embedding:
            tokens_BFTD = self._with_time(tokens_BFTD, valid_BFT)
        return Features(tokens_BFTD.flatten(1, 2), valid_BFT.flatten(1, 2))

    def _with_time(self, tokens_BFTD: Tensor, valid_BFT: Tensor) -> Tensor:
        """Add each frame's time embedding to its valid tokens, as strong as the clip's own tokens ask for."""
        with torch.autocast(tokens_BFTD.device.type, enabled=False):
            precise = torch.promote_types(tokens_BFTD.dtype, torch.float32)
            spread = [
                own_FTD[valid_FT].to(precise).std() for own_FTD, valid_FT in zip(tokens_BFTD, valid_BFT, strict=True)
            ]
            waves_FD = sinusoids(self.config.frames, self.feature_dim).to(tokens_BFTD.device)
            scale_B111 = self.config.time_embedding_scale * torch.stack(spread)[:, None, None, None]
            time_BFTD = (scale_B111 * waves_FD[:, None]).to(tokens_BFTD.dtype) * valid_BFT[..., None]
            return tokens_BFTD + time_BFTD


def middle_frames(available: int, wanted: int) -> list[int]:
    """Indices of the middle frames of equal segments: as many as wanted, or all frames if there are fewer."""
    count = min(available, wanted)
    return [(2 * index + 1) * available // (2 * count) for index in range(count)]


def sinusoids(positions: int, dim: int) -> Tensor:
    """Waves of several lengths over positions.

    Returns:
        (positions, dim) float32 with a root mean square of 1: sines in the first half of `dim`, cosines in the second.
    Source: Vaswani et al. (arXiv 1706.03762), section 3.5, with shorter waves.
    """
    half = (dim + 1) // 2
    rates = _LONGEST_WAVE ** -(torch.arange(half) / max(1, half - 1))
    angles = torch.arange(positions)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :dim] * 2**0.5


def _spread(tensor_N: Tensor, mask_BF: Tensor) -> Tensor:
    """Put the batch's frames (N, …) into their places (B, F, …), zeros elsewhere."""
    spread = tensor_N.new_zeros(*mask_BF.shape, *tensor_N.shape[1:])
    spread[mask_BF] = tensor_N
    return spread


def _resolve_frame_encoder(config: SampledFramesEncoder.Config) -> tuple[Any, Any]:
    return resolve_inner(config.frame_encoder, "frame_encoder", modality="image")
