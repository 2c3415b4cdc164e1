"""Any sound through a frozen BEATs.

Legend: B batch, F frames, M mel bands, R columns of patches, T tokens, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from anygpt.checkpoints.locate import locate
from anygpt.errors import CheckpointError, ConfigError, MediaError
from anygpt.tensors import Features
from encoders.beats.kaldi_fbank import MEL_BANDS
from encoders.beats.model import MODEL_TYPE, BeatsModel, BeatsSettings
from encoders.beats.preprocessor import BeatsPreprocessor
from encoders.contract import Encoder
from encoders.state_dicts import build_strictly, parse_settings, read_config, read_weights, tensors_in
from encoders.strict_loading import read_torch_file
from encoders.waveforms import check_durations, fixed_features

if TYPE_CHECKING:
    from typing_extensions import Self

_WHO = "audio encoder 'beats'"
_CLASSIFIER = "predictor."  # of fine-tuned releases
_WINDOWS_AT_ONCE = 8  # bounds the memory: attention needs some 35 MB a window of 10 s at the released size


class BeatsEncoder(Encoder):
    """BEATs' last layer as feature tokens: eight for every 160 ms, the lowest frequencies first.

    A sound longer than `window_s` is encoded in windows of equal length, whose tokens follow each other. Whole frames
    are counted for every sound by itself, so a batch gives what single sounds give; the original rounds a padded
    sound's length up to more or fewer tokens, depending on its neighbours.

    Args:
        config: the options.
        model: the network.
    Raises:
        ConfigError: if `window_s` or `max_duration_s` does not hold one patch.
    Source: BEATs (arXiv 2212.09058), section 3.1.
    """

    modality = "audio"

    @dataclass
    class Config:
        """Options of the `beats` encoder.

        Attributes:
            pretrained: an official `.pt` file; or a folder or `embedded:…` that `BeatsModel.save_pretrained` wrote.
            window_s: longest stretch that is encoded at once; BEATs was trained on 10 s.
            max_duration_s: sound after this is cut off. Decides the number of tokens: 1496 for 30 s.
        Raises:
            ConfigError: if a duration is not above 0.
        """

        pretrained: str
        name: Literal["beats"] = "beats"
        window_s: float = 10.0
        max_duration_s: float = 30.0

        def __post_init__(self) -> None:
            check_durations(_WHO, window_s=self.window_s, max_duration_s=self.max_duration_s)

    def __init__(self, config: Config, *, model: BeatsModel) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self._preprocessor = _make_preprocessor(config, model.settings)
        self._window_rows = self._preprocessor.rows_in(config.window_s)
        if self._window_rows < 1:
            raise ConfigError(
                f"{_WHO}: window_s={config.window_s:g} does not hold one patch of {model.settings.input_patch_size} "
                "frames; set it to 10, which BEATs was trained on"
            )
        self.freeze()

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load the network strictly; a fine-tuned release's classifier stays unused.

        Raises:
            CheckpointError: if the checkpoint is missing, damaged or does not fit its config.
            ConfigError: if a duration does not hold one patch.
        """
        source = locate(config.pretrained)
        settings, weights = _read(source)
        model = build_strictly(lambda: BeatsModel(settings), weights, source, who=_WHO, dtype=dtype)
        return cls(config, model=model).to(device)

    @classmethod
    def load_preprocessor(cls, config: Config) -> BeatsPreprocessor:
        """The front end, from config.json alone; an official file is read for its `cfg`.

        Raises:
            CheckpointError: if the checkpoint is missing or damaged.
            ConfigError: if `max_duration_s` does not hold one patch.
        """
        source = locate(config.pretrained)
        if _is_official(source):
            return _make_preprocessor(config, _read(source)[0])
        values = read_config(source, who=_WHO, model_type=MODEL_TYPE)
        return _make_preprocessor(config, parse_settings(BeatsSettings, values, source, who=_WHO))

    @property
    def feature_dim(self) -> int:
        """D of the tokens."""
        return self.model.settings.encoder_embed_dim

    @property
    def num_tokens(self) -> int:
        """T: tokens of a sound of `max_duration_s`; shorter sounds are padded to it."""
        return self.model.settings.bands * self._preprocessor.max_rows

    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """Sounds → `fbank` (B, F, 128) float32 and `valid_mask` (B, F) on the CPU.

        Raises:
            MediaError: if there is no sound, or a value is not an `Audio`.
        """
        return self._preprocessor(media)

    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Encode spectrograms.

        Args:
            batch: as `preprocess` makes it, on any device.
        Returns:
            Features with tokens (B, T, D) in the encoder's dtype, T = `num_tokens`.
        Raises:
            MediaError: if the tensors have other shapes.
        """
        fbank_BFM, valid_BF = batch["fbank"], batch["valid_mask"]
        patch = self.model.settings.input_patch_size
        frames = fbank_BFM.shape[1] if fbank_BFM.ndim == 3 else 0
        fits = 0 < frames <= patch * self._preprocessor.max_rows and frames % patch == 0
        if not fits or fbank_BFM.shape[2] != MEL_BANDS or valid_BF.shape != fbank_BFM.shape[:2]:
            raise MediaError(
                f"{_WHO}: fbank of shape {tuple(fbank_BFM.shape)} and valid_mask of {tuple(valid_BF.shape)}, expected "
                f"(B, F, {MEL_BANDS}) and (B, F), F a multiple of {patch} up to {patch * self._preprocessor.max_rows}; "
                "make them with preprocess()"
            )
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            clips = self._encode_clips(
                [fbank_FM[valid_F] for fbank_FM, valid_F in zip(fbank_BFM, valid_BF, strict=True)]
            )
        return fixed_features([clip_TD.clone() for clip_TD in clips], self.num_tokens)  # out of inference mode

    def _encode_clips(self, clips: list[Tensor]) -> list[Tensor]:
        """(F, M) each → (T, D) each."""
        patch = self.model.settings.input_patch_size
        windows, windows_a_clip = [], []
        for fbank_FM in clips:
            rows = len(fbank_FM) // patch
            parts = fbank_FM.unflatten(0, (rows, patch)).tensor_split(-(-rows // self._window_rows))
            windows += [part.flatten(0, 1) for part in parts]
            windows_a_clip.append(len(parts))
        encoded: list[Tensor] = []
        for first in range(0, len(windows), _WINDOWS_AT_ONCE):
            encoded += self._encode_windows(windows[first : first + _WINDOWS_AT_ONCE])
        remaining = iter(encoded)
        return [torch.cat([next(remaining) for _ in range(count)]) for count in windows_a_clip]

    def _encode_windows(self, windows: list[Tensor]) -> list[Tensor]:
        """(F, M) each, at most `window_s` long → (T, D) each."""
        settings = self.model.settings
        counts = [settings.bands * len(window) // settings.input_patch_size for window in windows]
        fbank_BFM = pad_sequence(windows, batch_first=True).to(self.device, self.dtype)
        valid_BT = torch.arange(max(counts))[None] < torch.tensor(counts)[:, None]
        tokens_BTD = self.model(fbank_BFM, valid_BT.to(self.device))
        return [own_TD[:count] for own_TD, count in zip(tokens_BTD, counts, strict=True)]


def _make_preprocessor(config: BeatsEncoder.Config, settings: BeatsSettings) -> BeatsPreprocessor:
    return BeatsPreprocessor(patch_frames=settings.input_patch_size, max_duration_s=config.max_duration_s, who=_WHO)


def _is_official(source: str) -> bool:
    return Path(source).is_file()


def _read(source: str) -> tuple[BeatsSettings, dict[str, Tensor]]:
    """Settings and weights of either kind of checkpoint."""
    if not _is_official(source):
        values = read_config(source, who=_WHO, model_type=MODEL_TYPE)
        return parse_settings(BeatsSettings, values, source, who=_WHO), read_weights(source, who=_WHO)
    content = read_torch_file(source, who=_WHO)
    found = content if isinstance(content, dict) else {}
    cfg, weights = found.get("cfg"), tensors_in(found.get("model"))
    if not isinstance(cfg, dict) or not weights:
        raise CheckpointError(
            f"{_WHO}: '{source}' has no 'cfg' or no weights under 'model', expected an official BEATs file; "
            "correct `pretrained`"
        )
    own = {key: tensor for key, tensor in weights.items() if not key.startswith(_CLASSIFIER)}
    return parse_settings(BeatsSettings, cfg, source, who=_WHO), own
