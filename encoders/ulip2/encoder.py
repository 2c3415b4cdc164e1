"""Point clouds through a frozen PointBERT of ULIP or ULIP-2.

Legend: B batch, N points, C channels, T tokens, D feature width, E joint space.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from anygpt.checkpoints.locate import locate
from anygpt.errors import CheckpointError, ConfigError, MediaError
from anygpt.tensors import Features
from encoders.contract import Encoder
from encoders.state_dicts import build_strictly, parse_settings, read_config, read_weights, tensors_in
from encoders.strict_loading import read_torch_file
from encoders.ulip2.pointbert import MODEL_TYPE, PointBertSettings, Ulip2Model
from encoders.ulip2.preprocessor import PointPreprocessor

if TYPE_CHECKING:
    from typing_extensions import Self

_WHO = "points encoder 'ulip2'"
_PARALLEL = "module."  # put before every key by the training script's DistributedDataParallel
_PROJECTION = "pc_projection"
_OWN_PARTS = ("point_encoder.", _PROJECTION)
MAX_POINTS = 10_000_000
MAX_SEED = 2**32 - 1
_CLOUDS_AT_ONCE = 4  # bounds the memory: a cloud needs some 150 MB at the released size


class Ulip2Encoder(Encoder):
    """PointBERT's normed tokens: the class token, then one for every local group of points.

    Args:
        config: the options.
        model: the network with its projection.
    Raises:
        ConfigError: if `num_points` is less than the network puts into one group.
    Source: ULIP-2 (arXiv 2305.08275).
    """

    modality = "points"

    @dataclass
    class Config:
        """Options of the `ulip2` encoder.

        Attributes:
            pretrained: an official ULIP or ULIP-2 PointBERT `.pt` file, with or without colours; or a folder or
                `embedded:…` that `Ulip2Model.save_pretrained` wrote.
            num_points: N, the points that the network sees: 10,000 for ULIP-2, 8192 for ULIP.
            seed: decides which points of a larger cloud it sees.
        Raises:
            ConfigError: if `num_points` or `seed` is out of range.
        """

        pretrained: str
        name: Literal["ulip2"] = "ulip2"
        num_points: int = 10_000
        seed: int = 0

        def __post_init__(self) -> None:
            for name, least, most in (("num_points", 1, MAX_POINTS), ("seed", 0, MAX_SEED)):
                if not least <= getattr(self, name) <= most:
                    raise ConfigError(f"{_WHO}: {name}={getattr(self, name)}, expected {least} to {most}")

    def __init__(self, config: Config, *, model: Ulip2Model) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self._preprocessor = _make_preprocessor(config, model.settings)
        self.freeze()

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load the point half strictly; an official file's other halves stay unused.

        Raises:
            CheckpointError: if the checkpoint is missing, damaged or does not fit.
            ConfigError: if `num_points` is less than the network puts into one group.
        """
        source = locate(config.pretrained)
        if _is_official(source):
            settings, weights = read_official(source)
        else:
            settings, weights = _read_settings(source), read_weights(source, who=_WHO)
        model = build_strictly(lambda: Ulip2Model(settings), weights, source, who=_WHO, dtype=dtype)
        return cls(config, model=model).to(device)

    @classmethod
    def load_preprocessor(cls, config: Config) -> PointPreprocessor:
        """The sampler, from config.json alone; an official file is read for its shapes.

        Raises:
            CheckpointError: if the checkpoint is missing or damaged.
            ConfigError: if `num_points` is less than the network puts into one group.
        """
        source = locate(config.pretrained)
        settings = read_official(source)[0] if _is_official(source) else _read_settings(source)
        return _make_preprocessor(config, settings)

    @property
    def feature_dim(self) -> int:
        """D of the tokens."""
        return self.model.settings.trans_dim

    @property
    def joint_dim(self) -> int:
        """E of the joint space."""
        return self.model.settings.joint_dim

    @property
    def num_tokens(self) -> int:
        """T: every cloud has this many tokens."""
        return self.model.settings.tokens

    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """Point clouds → `points` (B, N, C) float32 on the CPU; C is 6, or 3 for a network without colours.

        Raises:
            MediaError: if there is no cloud, or a value is not a `PointCloud`.
        """
        return self._preprocessor(media)

    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Encode clouds.

        Args:
            batch: `points` (B, N, C) float32, as `preprocess` makes them, on any device.
        Returns:
            Features with tokens (B, T, D) in the encoder's dtype; every token is valid.
        Raises:
            MediaError: if the points have another shape.
        """
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            tokens_BTD = torch.cat([self.model(points_BNC) for points_BNC in self._portions(batch)])
        tokens_BTD = tokens_BTD.clone()  # out of inference mode: a projector may keep it for its backward pass
        return Features(tokens_BTD, torch.ones(tokens_BTD.shape[:2], dtype=torch.bool, device=tokens_BTD.device))

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """Place clouds in the space that ULIP shares with pictures and texts (of OpenCLIP ViT-bigG-14 for ULIP-2).

        Args:
            batch: as for `encode`.
        Returns:
            (B, E) unit vectors in the encoder's dtype.
        Raises:
            MediaError: if the points have another shape.
        """
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            embeds_BE = torch.cat([self.model.embed(points_BNC) for points_BNC in self._portions(batch)])
        return embeds_BE.clone()

    def _portions(self, batch: dict[str, Tensor]) -> Iterator[Tensor]:
        """The points on the encoder's device, a few clouds at a time; float32, or centres would fall together."""
        points_BNC = batch["points"]
        expected = (self.config.num_points, self.model.settings.channels)
        if points_BNC.ndim != 3 or not len(points_BNC) or points_BNC.shape[1:] != expected:
            raise MediaError(
                f"{_WHO}: points of shape {tuple(points_BNC.shape)}, expected (B, {expected[0]}, {expected[1]}); "
                "make them with preprocess()"
            )
        for portion_BNC in points_BNC.split(_CLOUDS_AT_ONCE):
            yield portion_BNC.to(self.device, torch.float32)


def read_official(
    source: str, *, num_heads: int = 6, num_group: int = 512, group_size: int = 32
) -> tuple[PointBertSettings, dict[str, Tensor]]:
    """The point half of an official checkpoint, and its sizes.

    Args:
        num_heads, num_group, group_size: what no shape shows; the same in all released models.
    Raises:
        CheckpointError: if the file is missing, damaged or of another kind.
    """
    with torch.serialization.safe_globals([argparse.Namespace]):  # the training script's options, which are harmless
        content = read_torch_file(source, who=_WHO)
    found = content.get("state_dict") if isinstance(content, dict) else None
    named = {key.removeprefix(_PARALLEL): tensor for key, tensor in tensors_in(found).items()}
    weights = {key: tensor for key, tensor in named.items() if key.startswith(_OWN_PARTS)}
    blocks = {key.split(".")[3] for key in weights if key.startswith("point_encoder.blocks.blocks.")}
    try:
        settings = PointBertSettings(
            channels=weights["point_encoder.encoder.first_conv.0.weight"].shape[1],
            trans_dim=weights["point_encoder.cls_token"].shape[-1],
            depth=len(blocks),
            encoder_dims=weights["point_encoder.encoder.second_conv.3.weight"].shape[0],
            joint_dim=weights[_PROJECTION].shape[1],
            num_heads=num_heads,
            num_group=num_group,
            group_size=group_size,
        )
    except KeyError as error:
        raise CheckpointError(
            f"{_WHO}: '{source}' has no weight {error.args[0]}, expected an official ULIP PointBERT file; "
            "correct `pretrained`"
        ) from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(
            f"{_WHO}: the shapes in '{source}' are not a PointBERT's: {error}; correct `pretrained`"
        ) from error
    return settings, weights


def _read_settings(source: str) -> PointBertSettings:
    values = read_config(source, who=_WHO, model_type=MODEL_TYPE)
    return parse_settings(PointBertSettings, values, source, who=_WHO)


def _is_official(source: str) -> bool:
    return Path(source).is_file()


def _make_preprocessor(config: Ulip2Encoder.Config, settings: PointBertSettings) -> PointPreprocessor:
    if config.num_points < settings.group_size:
        raise ConfigError(
            f"{_WHO}: num_points={config.num_points}, but the network puts {settings.group_size} points into a group; "
            f"set num_points to at least {settings.group_size}"
        )
    return PointPreprocessor(num_points=config.num_points, channels=settings.channels, seed=config.seed, who=_WHO)
