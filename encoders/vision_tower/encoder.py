"""Pictures through a frozen vision tower: CLIP, SigLIP, DINOv2 or ViT, as LLaVA uses CLIP.

Legend: B batch, T tokens, D feature width, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from transformers import (
    CLIPVisionModel,
    Dinov2Model,
    Dinov2WithRegistersModel,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipVisionModel,
    ViTModel,
)

from anygpt.checkpoints.locate import locate
from anygpt.errors import CheckpointError, ConfigError, MediaError
from anygpt.tensors import Features
from encoders.contract import Encoder
from encoders.strict_loading import load_strictly, read_model_config
from encoders.vision_tower.preprocessor import ImagePreprocessor

if TYPE_CHECKING:
    from typing_extensions import Self

_WHO = "image encoder 'clip'"


@dataclass(frozen=True)
class _Family:
    """How the towers of one kind are built.

    Attributes:
        has_cls: True where the first token is a class token.
        resizes: True where the tower takes pictures of another size than it was trained on.
        other_parts: beginnings of checkpoint keys that are not the tower's.
    """

    model_class: type[PreTrainedModel]
    has_cls: bool
    resizes: bool = False
    other_parts: tuple[str, ...] = ()
    model_options: dict[str, Any] = field(default_factory=dict)


_CLIP = _Family(
    CLIPVisionModel,
    has_cls=True,
    other_parts=("text_model.", "text_projection.", "visual_projection.", "logit_scale"),
)
_SIGLIP = _Family(SiglipVisionModel, has_cls=False, other_parts=("text_model.", "logit_scale", "logit_bias"))

# config.json's `model_type` → family. SigLIP 2 at a fixed resolution is of type "siglip".
_FAMILIES = {
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "dinov2": _Family(Dinov2Model, has_cls=True, resizes=True, other_parts=("classifier.",)),
    "dinov2_with_registers": _Family(
        Dinov2WithRegistersModel, has_cls=True, resizes=True, other_parts=("classifier.",)
    ),
    "vit": _Family(
        ViTModel,
        has_cls=True,
        other_parts=("classifier.", "pooler."),
        model_options={"add_pooling_layer": False},  # classifiers are saved without one
    ),
}


@dataclass(frozen=True)
class TokenLayout:
    """What a tower's features look like.

    Attributes:
        feature_dim: D.
        num_tokens: T, the same for every picture.
        prefix_tokens: class and register tokens before the patches in the tower's hidden states.
    """

    feature_dim: int
    num_tokens: int
    prefix_tokens: int


class ClipEncoder(Encoder):
    """A vision tower whose hidden states at one layer are the feature tokens.

    Args:
        config: the options.
        tower: a transformers vision model of one of the known families.
        preprocessor: makes the tower's pixel values.
        layout: from `ClipEncoder.layout(config)`.
    Source: LLaVA (arXiv 2304.08485), section 4.1: the grid features before the last layer.
    """

    modality = "image"

    @dataclass
    class Config:
        """Options of the `clip` encoder.

        Attributes:
            pretrained: folder, hub name or `embedded:…` of a CLIP, SigLIP, DINOv2 or ViT checkpoint.
            hidden_layer: index into the tower's hidden states; 0 is the embeddings, -1 the last layer's output, before
                any final norm.
            keep_cls: True puts the class token before the patch tokens. Register tokens are always left out.
            revision: branch, tag or commit of a hub repository.
        """

        pretrained: str
        name: Literal["clip"] = "clip"
        hidden_layer: int = -2
        keep_cls: bool = False
        revision: str = "main"

    def __init__(
        self, config: Config, *, tower: PreTrainedModel, preprocessor: ImagePreprocessor, layout: TokenLayout
    ) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self._preprocessor = preprocessor
        self._layout = layout
        self.freeze()

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load the tower strictly; a whole CLIP or SigLIP checkpoint may hold its text tower besides.

        Raises:
            CheckpointError: if the checkpoint is missing, damaged, of no known family or does not fit its config.
            ConfigError: if `hidden_layer` or `keep_cls` cannot be had from this tower.
        """
        family, tower_config = _read_tower_config(config)
        preprocessor = cls.load_preprocessor(config)
        layout = _lay_out(config, family, tower_config, preprocessor.size_px)
        tower = load_strictly(
            family.model_class,
            locate(config.pretrained),
            config=tower_config,
            who=_WHO,
            dtype=dtype,
            revision=config.revision,
            other_parts=family.other_parts,
            **family.model_options,
        )
        return cls(config, tower=tower, preprocessor=preprocessor, layout=layout).to(device)

    @classmethod
    def load_preprocessor(cls, config: Config) -> ImagePreprocessor:
        """The checkpoint's own image processor, without weights.

        Raises:
            CheckpointError: if it has none, or one whose output size depends on the picture.
        """
        return ImagePreprocessor.from_pretrained(locate(config.pretrained), who=_WHO, revision=config.revision)

    @classmethod
    def layout(cls, config: Config) -> TokenLayout:
        """Feature width and number of tokens, from the checkpoint's two JSON files alone.

        Raises:
            CheckpointError, ConfigError: as `from_config`.
        """
        family, tower_config = _read_tower_config(config)
        return _lay_out(config, family, tower_config, cls.load_preprocessor(config).size_px)

    @property
    def feature_dim(self) -> int:
        """D of the tokens."""
        return self._layout.feature_dim

    @property
    def num_tokens(self) -> int:
        """T: every picture has this many tokens."""
        return self._layout.num_tokens

    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """PIL images in mode RGB → `pixel_values` (B, 3, H, W) float32 on the CPU.

        Raises:
            MediaError: if there is no image, or a value is not a PIL image in mode RGB.
        """
        return self._preprocessor(media)

    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Encode pictures.

        Args:
            batch: `pixel_values` (B, 3, H, W), as `preprocess` makes them, on any device.
        Returns:
            Features with tokens (B, T, D) in the encoder's dtype; every token is valid.
        Raises:
            MediaError: if the pixel values have another shape.
        """
        pixels_BCHW = batch["pixel_values"]
        height, width = self._preprocessor.size_px
        if pixels_BCHW.ndim != 4 or pixels_BCHW.shape[1:] != (3, height, width):
            raise MediaError(
                f"{_WHO}: pixel_values of shape {tuple(pixels_BCHW.shape)}, expected (B, 3, {height}, {width}); "
                "make them with preprocess()"
            )
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            states = self.tower(
                pixel_values=pixels_BCHW.to(self.device, self.dtype), output_hidden_states=True
            ).hidden_states
            tokens_BTD = self._select_tokens(states[self.config.hidden_layer])
        tokens_BTD = tokens_BTD.clone()  # out of inference mode: a projector may keep it for its backward pass
        return Features(tokens_BTD, torch.ones(tokens_BTD.shape[:2], dtype=torch.bool, device=tokens_BTD.device))

    def _select_tokens(self, states_BTD: Tensor) -> Tensor:
        patches_BTD = states_BTD[:, self._layout.prefix_tokens :]
        return torch.cat([states_BTD[:, :1], patches_BTD], dim=1) if self.config.keep_cls else patches_BTD


def _read_tower_config(config: ClipEncoder.Config) -> tuple[_Family, PreTrainedConfig]:
    """The checkpoint's family and its vision tower's config."""
    source = locate(config.pretrained)
    checkpoint_config = read_model_config(source, who=_WHO, revision=config.revision)
    family = _FAMILIES.get(checkpoint_config.model_type)
    if family is None:
        raise CheckpointError(
            f"{_WHO}: '{source}' is of type '{checkpoint_config.model_type}', expected one of {', '.join(_FAMILIES)}; "
            "set `pretrained` to such a checkpoint"
        )
    return family, getattr(checkpoint_config, "vision_config", checkpoint_config)


def _lay_out(
    config: ClipEncoder.Config, family: _Family, tower_config: PreTrainedConfig, size_px: tuple[int, int]
) -> TokenLayout:
    """Check the options against the tower and count its tokens."""
    depth = tower_config.num_hidden_layers
    if not -depth - 1 <= config.hidden_layer <= depth:
        raise ConfigError(
            f"{_WHO}: hidden_layer={config.hidden_layer}, but the tower has {depth} layers; "
            f"set hidden_layer between {-depth - 1} and {depth}"
        )
    if config.keep_cls and not family.has_cls:
        raise ConfigError(
            f"{_WHO}: keep_cls=true, but a {tower_config.model_type} has no class token; set keep_cls=false"
        )
    height, width = size_px
    trained_px = tower_config.image_size
    if not family.resizes and (height, width) != (trained_px, trained_px):
        raise CheckpointError(
            f"{_WHO}: its image processor makes {height}x{width} px, but the tower takes {trained_px}x{trained_px}; "
            "correct preprocessor_config.json"
        )
    patches = (height // tower_config.patch_size) * (width // tower_config.patch_size)
    return TokenLayout(
        feature_dim=tower_config.hidden_size,
        num_tokens=patches + int(config.keep_cls),
        prefix_tokens=int(family.has_cls) + getattr(tower_config, "num_register_tokens", 0),
    )
