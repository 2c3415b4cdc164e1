"""Pretrain the tiny Whisper encoder, BEATs and PointBERT: contrastive, towards the text tower of the tiny CLIP, as
CLAP (arXiv 2211.06687) and ULIP (arXiv 2212.05171) do it.

The text tower stays as it is, so that what was trained on it stays valid. Only the rows of tokens that no caption of a
picture has, those of the words for motion, are learned, along with the Whisper encoder.

Legend: B batch, E joint space, S samples, M mel bands, F mel frames, N points, V vocabulary, D width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from anygpt.media.values import Audio
from encoders.beats.model import BeatsModel, BeatsSettings
from encoders.beats.preprocessor import BeatsPreprocessor
from encoders.ulip2.pointbert import PointBertSettings, Ulip2Model
from encoders.whisper.preprocessor import log_mel_spectrogram
from pipelines.tiny.recipes.precision import bf16_products
from pipelines.tiny.recipes.prompting import prompt_ids, sayings
from pipelines.tiny.world import audio, points
from pipelines.tiny.world.phrases import caption, paraphrase
from pipelines.tiny.world.scenes import Scene, scenes_for
from pipelines.training.loop import Loop, LoopOptions, print_log

CANONICAL_SHARE = 0.4
SOUND_COPIES = 12
MELS = 80
SOUND_TOKENS = 100  # two seconds
SOUND_WIDTH = 128
GAIN_DB = 2.0
NOISE = 0.003  # most of it; half of the sounds are clean, as the world plays them
POINT_JITTER = 0.01
CALIBRATION_BATCHES = 50


class TextTower:
    """The CLIP's text half, with the rows of new words to be learned."""

    def __init__(self, clip_dir: Path) -> None:
        self.clip = CLIPModel.from_pretrained(clip_dir, dtype=torch.float32).eval().requires_grad_(False)
        self.tokenizer = CLIPTokenizer.from_pretrained(clip_dir)

    @property
    def width(self) -> int:
        """E, of the joint space."""
        return int(self.clip.config.projection_dim)

    @property
    def rows(self) -> nn.Parameter:
        """The token embedding (V, D)."""
        rows: nn.Parameter = self.clip.text_model.embeddings.token_embedding.weight
        return rows

    def learn_new_words(self, seed: int) -> None:
        """Let the rows train of those tokens that no caption of a picture has; all others get no gradient."""
        known = {token for text in _picture_captions(seed) for token in self.tokenizer(text).input_ids}
        is_new_V1 = torch.tensor([[token not in known] for token in range(len(self.rows))])
        self.rows.requires_grad_(True)
        self.rows.register_hook(lambda gradient: gradient * is_new_V1)

    def embed(self, scenes: Sequence[Scene], rng: random.Random) -> Tensor:
        """Unit vectors (B, E) of captions of the scenes, canonical or in other words."""
        texts = sayings(scenes, rng, CANONICAL_SHARE)
        pooled = self.clip.text_model(prompt_ids(self.tokenizer, texts)).pooler_output
        return nn.functional.normalize(self.clip.text_projection(pooled).float(), dim=-1)

    def save(self, folder: Path) -> None:
        """Write the CLIP with its new rows, and its tokenizer."""
        self.clip.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def _picture_captions(seed: int) -> list[str]:
    rng = random.Random(seed)
    scenes = scenes_for("image")
    return [text for scene in scenes for text in (caption(scene), *(paraphrase(scene, rng) for _ in range(8)))]


@dataclass(frozen=True)
class Pairs:
    """Media and what they show.

    Attributes:
        scenes: of every medium.
        embed: () → vectors (B, E) of the media, of any length.
    """

    scenes: Sequence[Scene]
    embed: Callable[[], Tensor]


def train_contrastively(
    text: TextTower,
    trained: Mapping[str, nn.Parameter],
    pairs_at: Callable[[int], Pairs],
    options: LoopOptions,
    state_dir: Path,
) -> None:
    """Symmetric InfoNCE with a learned temperature, between media and captions of what they show."""
    scale = nn.Parameter(torch.tensor(2.66))

    def losses_at(step: int) -> dict[str, Tensor]:
        pairs = pairs_at(step)
        with bf16_products():
            media_BE = pairs.embed()
            texts_BE = text.embed(pairs.scenes, random.Random(f"{options.seed}/{step}"))
        media_BE = nn.functional.normalize(media_BE.float(), dim=-1)
        return {"infonce": contrastive_loss(media_BE, texts_BE, pairs.scenes, scale)}

    Loop({**trained, "scale": scale}, options, state_dir).finish(losses_at, print_log)


def contrastive_loss(media_BE: Tensor, texts_BE: Tensor, scenes: Sequence[Scene], scale: Tensor) -> Tensor:
    """Symmetric InfoNCE in which all captions of a medium's scene are right."""
    same_BB = torch.tensor([[float(one == other) for other in scenes] for one in scenes])
    wanted_BB = same_BB / same_BB.sum(-1, keepdim=True)
    logits_BB = scale.exp().clamp(max=100.0) * media_BE @ texts_BE.T
    return (nn.functional.cross_entropy(logits_BB, wanted_BB) + nn.functional.cross_entropy(logits_BB.T, wanted_BB)) / 2


def sound_pool(seed: int) -> tuple[list[Scene], list[Tensor]]:
    """Sounds (S,) of every scene, `SOUND_COPIES` of each, a bit louder or softer and half noisy; and their scenes."""
    rng = np.random.default_rng(seed)
    scenes = [scene for scene in scenes_for("audio") for _ in range(SOUND_COPIES)]
    waves = []
    for scene in scenes:
        wave_S = audio.render_array(scene, rng) * 10 ** (rng.uniform(-GAIN_DB, GAIN_DB) / 20)
        wave_S = wave_S + rng.normal(scale=NOISE * max(0.0, rng.uniform(-1, 1)), size=wave_S.shape)
        waves.append(torch.from_numpy(wave_S.astype(np.float32)))
    return scenes, waves


def distinct_sounds(batch_size: int, seed: int, step: int) -> list[int]:
    """Positions in the pool of sounds of distinct scenes."""
    rng = random.Random(f"{seed}/{step}")
    picked = rng.sample(range(len(scenes_for("audio"))), batch_size)
    return [scene * SOUND_COPIES + rng.randrange(SOUND_COPIES) for scene in picked]


def build_sound_tower() -> WhisperEncoder:
    """An untrained Whisper encoder, 3 × 128."""
    return WhisperEncoder(
        WhisperConfig(
            num_mel_bins=MELS,
            d_model=SOUND_WIDTH,
            encoder_layers=3,
            encoder_attention_heads=4,
            encoder_ffn_dim=3 * SOUND_WIDTH,
            max_source_positions=SOUND_TOKENS,
        )
    )


def sound_states(tower: WhisperEncoder, mels_BMF: Tensor) -> Tensor:
    """Last hidden states (B, F/2, D) of clips that may be shorter than the tower's positions."""
    frames = 2 * tower.config.max_source_positions
    padded = nn.functional.pad(mels_BMF, (0, frames - mels_BMF.shape[-1]), value=float(mels_BMF.min()))
    states: Tensor = tower(padded).last_hidden_state[:, : mels_BMF.shape[-1] // 2]
    return states


def pretrain_sound_tower(out_dir: Path, clip_dir: Path, steps: int, batch_size: int, seed: int) -> WhisperEncoder:
    """Train the Whisper encoder; save it to `out_dir/encoder` and the CLIP with words for motion to `out_dir/clip`."""
    torch.manual_seed(seed)
    text = TextTower(clip_dir)
    text.learn_new_words(seed)
    tower, head = build_sound_tower(), nn.Linear(SOUND_WIDTH, text.width)
    scenes, waves = sound_pool(seed + 1)
    pool_BMF = torch.stack([log_mel_spectrogram(wave_S, MELS) for wave_S in waves])

    def pairs_at(step: int) -> Pairs:
        places = distinct_sounds(batch_size, seed, step)
        return Pairs([scenes[place] for place in places], lambda: head(sound_states(tower, pool_BMF[places]).mean(1)))

    options = LoopOptions(steps=steps, learning_rate=1e-3, warmup_steps=100, weight_decay=0.0, seed=seed)
    trained = {**_named("tower", tower), **_named("head", head), "rows": text.rows}
    train_contrastively(text, trained, pairs_at, options, out_dir / "state")
    tower.save_pretrained(out_dir / "encoder")
    text.save(out_dir / "clip")
    return tower


def build_beats() -> BeatsModel:
    """An untrained BEATs, 3 × 128 over patches of 16 frames and 16 bands."""
    return BeatsModel(
        BeatsSettings(
            input_patch_size=16,
            embed_dim=64,
            conv_bias=False,
            encoder_layers=3,
            encoder_embed_dim=SOUND_WIDTH,
            encoder_ffn_embed_dim=3 * SOUND_WIDTH,
            encoder_attention_heads=4,
            activation_fn="gelu",
            layer_norm_first=False,
            deep_norm=True,
            conv_pos=32,
            conv_pos_groups=16,
            relative_position_embedding=True,
            num_buckets=64,
            max_distance=128,
            gru_rel_pos=True,
        )
    )


def pretrain_beats(out_dir: Path, clip_dir: Path, steps: int, batch_size: int, seed: int) -> BeatsModel:
    """Train the BEATs and save it to `out_dir/encoder`."""
    torch.manual_seed(seed)
    text = TextTower(clip_dir)
    model = build_beats()
    head = nn.Linear(SOUND_WIDTH, text.width)
    scenes, waves = sound_pool(seed + 1)
    preprocess = BeatsPreprocessor(patch_frames=model.settings.input_patch_size, max_duration_s=2.0, who="beats")
    pool_BFM = preprocess([Audio(wave_S.numpy(), audio.SAMPLING_RATE_HZ) for wave_S in waves])["fbank"]
    tokens = model.settings.bands * pool_BFM.shape[1] // model.settings.input_patch_size
    valid_BT = torch.ones(batch_size, tokens, dtype=torch.bool)

    def pairs_at(step: int) -> Pairs:
        places = distinct_sounds(batch_size, seed, step)
        return Pairs([scenes[place] for place in places], lambda: head(model(pool_BFM[places], valid_BT).mean(1)))

    options = LoopOptions(steps=steps, learning_rate=1e-3, warmup_steps=100, weight_decay=0.0, seed=seed)
    train_contrastively(text, {**_named("model", model), **_named("head", head)}, pairs_at, options, out_dir / "state")
    model.eval().save_pretrained(out_dir / "encoder")
    return model


def build_point_tower(joint_dim: int) -> Ulip2Model:
    """An untrained PointBERT, 3 × 96 over 32 groups of 16 coloured points."""
    return Ulip2Model(
        PointBertSettings(
            channels=6,
            trans_dim=96,
            depth=3,
            encoder_dims=64,
            joint_dim=joint_dim,
            num_heads=4,
            num_group=32,
            group_size=16,
        )
    )


def pretrain_point_tower(out_dir: Path, clip_dir: Path, steps: int, batch_size: int, seed: int) -> Ulip2Model:
    """Train the PointBERT and save it to `out_dir/encoder`."""
    torch.manual_seed(seed)
    text = TextTower(clip_dir)
    model = build_point_tower(text.width).train()
    scenes = scenes_for("points")

    def batch(step: int) -> tuple[list[Scene], Tensor]:
        rng = np.random.default_rng([seed, step])
        chosen = [scenes[index] for index in rng.integers(len(scenes), size=batch_size)]
        points_BN6 = torch.from_numpy(points.render_batch(chosen, rng))
        points_BN6[..., :3] += POINT_JITTER * torch.rand(batch_size, 1, 1) * torch.randn_like(points_BN6[..., :3])
        return chosen, points_BN6

    def pairs_at(step: int) -> Pairs:
        chosen, points_BN6 = batch(step)
        return Pairs(chosen, lambda: model.embed(points_BN6))

    options = LoopOptions(steps=steps, learning_rate=1e-3, warmup_steps=50, weight_decay=0.01, seed=seed)
    train_contrastively(text, _named("model", model), pairs_at, options, out_dir / "state")
    calibrate(model, [batch(steps + extra)[1] for extra in range(CALIBRATION_BATCHES)])
    model.eval().save_pretrained(out_dir / "encoder")
    return model


@torch.no_grad()
def calibrate(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Measure the batch norms' means and variances anew: a resumed run has lost them, since no loop saves them."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    for points_BN6 in batches:
        model(points_BN6)


def _named(prefix: str, module: nn.Module) -> dict[str, nn.Parameter]:
    return {f"{prefix}.{name}": value for name, value in module.named_parameters() if value.requires_grad}
