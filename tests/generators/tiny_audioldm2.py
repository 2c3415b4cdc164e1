"""A whole AudioLDM-2 folder at tiny size with random weights, saved the way diffusers saves one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AudioLDM2Pipeline,
    AudioLDM2ProjectionModel,
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    DDIMScheduler,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextConfig,
    GPT2Config,
    GPT2Model,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from anygpt.checkpoints.quiet import quiet_libraries
from generators.audioldm2.generator import AudioLDM2Generator
from generators.audioldm2.log_mels import LogMels

MELS = LogMels.Config(sampling_rate_hz=4000, bands=16, fft_size=128, hop_size=32, high_hz=2000.0)
DURATION_S = 0.25
SAMPLES = 1000
PROMPT_TOKENS = 24
GENERATED_TOKENS = 8
CLAP_DIM, T5_DIM, GPT2_DIM = 16, 24, 32


def build_clap_tokenizer() -> RobertaTokenizer:
    """Single bytes and RoBERTa's special tokens."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return RobertaTokenizer(vocab=vocab, merges=[], model_max_length=32)


def build_t5_tokenizer() -> T5Tokenizer:
    """Single letters and T5's special tokens."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*specials, *((letter, -3.0) for letter in letters)], extra_ids=0, model_max_length=512)


def build_clap(tokenizer: RobertaTokenizer) -> ClapModel:
    """One text layer and the smallest audio half."""
    text = ClapTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=34,
        projection_dim=CLAP_DIM,
    )
    audio = ClapAudioConfig(
        spec_size=8,
        window_size=4,
        num_mel_bins=8,
        depths=[1, 1],
        num_attention_heads=[1, 1],
        num_hidden_layers=1,
        hidden_size=16,
        patch_embeds_hidden_size=8,
        projection_dim=CLAP_DIM,
        patch_size=2,
        patch_stride=2,
        patch_embed_input_channels=4,
    )
    return ClapModel(ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=CLAP_DIM))


def build_t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Two layers, 24 wide."""
    config = T5Config(vocab_size=len(tokenizer), d_model=T5_DIM, d_kv=8, d_ff=32, num_layers=2, num_heads=3)
    return T5EncoderModel(config)


def build_language_model() -> GPT2Model:
    """Two layers, 32 wide, as many positions as a full prompt needs."""
    positions = 5 + PROMPT_TOKENS + GENERATED_TOKENS
    return GPT2Model(
        GPT2Config(
            n_embd=GPT2_DIM, n_head=2, n_layer=2, vocab_size=8, n_positions=positions, bos_token_id=0, eos_token_id=0
        )
    )


def build_unet() -> AudioLDM2UNet2DConditionModel:
    """Two levels, (16, 32) channels; each block attends to itself, the generated states and the T5."""
    return AudioLDM2UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=[[None, GPT2_DIM, T5_DIM]] * 2,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def build_vae() -> AutoencoderKL:
    """Three levels, 4×-down, one channel."""
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
    )


def build_vocoder() -> SpeechT5HifiGan:
    """32 samples a frame; weights large enough to be heard."""
    return SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=MELS.bands,
            sampling_rate=MELS.sampling_rate_hz,
            upsample_initial_channel=16,
            upsample_rates=[4, 8],
            upsample_kernel_sizes=[8, 16],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
            initializer_range=0.2,
        )
    )


def save_tiny_audioldm2(folder: Path) -> Path:
    """Build with fixed seeds and save."""
    torch.manual_seed(0)
    clap_tokenizer, t5_tokenizer = build_clap_tokenizer(), build_t5_tokenizer()
    pipeline = AudioLDM2Pipeline(
        tokenizer=clap_tokenizer,
        tokenizer_2=t5_tokenizer,
        text_encoder=build_clap(clap_tokenizer),
        text_encoder_2=build_t5(t5_tokenizer),
        projection_model=AudioLDM2ProjectionModel(CLAP_DIM, T5_DIM, GPT2_DIM),
        language_model=build_language_model(),
        feature_extractor=ClapFeatureExtractor(feature_size=8),
        unet=build_unet(),
        vae=build_vae(),
        scheduler=DDIMScheduler(
            beta_start=0.0015,
            beta_end=0.0195,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        vocoder=build_vocoder(),
    )
    with quiet_libraries():
        pipeline.save_pretrained(folder)
    return folder


def load(folder: Path, **config: Any) -> AudioLDM2Generator:
    """The generator over a saved folder; a quarter of a second and three steps unless told otherwise."""
    defaults = {
        "steps": 3,
        "guidance": 3.0,
        "duration_s": DURATION_S,
        "prompt_tokens": PROMPT_TOKENS,
        "mels": MELS,
        "scheduler": "dpm_solver_multistep",
    }
    return AudioLDM2Generator.from_config(AudioLDM2Generator.Config(pretrained=str(folder), **{**defaults, **config}))
