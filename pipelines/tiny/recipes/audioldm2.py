"""Pretrain the tiny AudioLDM-2: an autoencoder of log-mel spectrograms, then the UNet in its latents.

Its text encoders stay as they were drawn: the world has some eighty words, whose embeddings a random T5 keeps apart,
and the UNet learns what they mean. Griffin-Lim takes the vocoder's place. Saves a whole `AudioLDM2Pipeline` folder.

Legend: B batch, S samples, F mel frames, M mel bands, T text tokens, c/h/w latent.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import (
    AudioLDM2Pipeline,
    AudioLDM2ProjectionModel,
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    DPMSolverMultistepScheduler,
)
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from transformers import (
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from generators.audioldm2.griffin_lim import GriffinLimVocoder
from generators.audioldm2.log_mels import FLOOR, LogMels
from generators.audioldm2.parts import check_parts
from generators.audioldm2.prompts import AudioLDM2Prompts
from generators.noise_prediction import NoisePrediction
from pipelines.tiny.recipes.precision import bf16_products
from pipelines.tiny.recipes.prompting import DROPPED_SHARE, noise_schedule, sayings, with_noise
from pipelines.tiny.world import audio
from pipelines.tiny.world.phrases import MOTION_WAYS, SIZE_WORDS
from pipelines.tiny.world.scenes import COLOURS, SHAPES, scenes_for
from pipelines.training.loop import Loop, LoopOptions, print_log

# 1.0 s as 64 frames of 80 bands, 8×10 latents. From 80 bands on, the oracle reads all of Griffin-Lim's sounds.
MELS = LogMels.Config(bands=80, hop_size=256)
FRAMES = 64
COPIES = 4
LATENT_CHANNELS = 8  # as AudioLDM-2 has
KL_WEIGHT = 1e-4
SOUND_WEIGHT = 4.0
PROMPT_TOKENS = 16
GENERATED_TOKENS = 4
CLAP_TOKENS = 64
CLAP_WIDTH, T5_WIDTH, GPT2_WIDTH = 32, 64, 32
CANONICAL_SHARE = 0.5
PREDICTION_TYPE: Final = "v_prediction"
SCENES = scenes_for("audio")


def mel_pool(seed: int) -> Tensor:
    """Log-mels of every scene, `COPIES` of each: (N, 1, F, M) float32, scene by scene."""
    waves_BS = audio.render_batch([scene for scene in SCENES for _ in range(COPIES)], np.random.default_rng(seed))
    filled_BS = nn.functional.pad(torch.from_numpy(waves_BS), (0, FRAMES * MELS.hop_size - waves_BS.shape[1]))
    log_mels = LogMels(MELS)
    return torch.cat([log_mels(batch) for batch in filled_BS.split(64)])[:, None]


def build_autoencoder() -> AutoencoderKL:
    """An untrained 8×-down autoencoder of one channel."""
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(16, 32, 48, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8,
        sample_size=FRAMES,
    )


def reconstruction_losses(vae: AutoencoderKL, mels_B1FM: Tensor) -> dict[str, Tensor]:
    """L1 that counts what is heard `1 + SOUND_WEIGHT` times, and a light KL term."""
    with bf16_products():
        posterior = vae.encode(mels_B1FM).latent_dist
        decoded_B1FM = vae.decode(posterior.sample()).sample.float()
    heard_B1FM = (mels_B1FM > torch.tensor(FLOOR).log() + 3.0).float()
    l1 = ((decoded_B1FM - mels_B1FM).abs() * (1.0 + SOUND_WEIGHT * heard_B1FM)).mean()
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1.0 - posterior.logvar).float().mean()
    return {"l1": l1, "kl": KL_WEIGHT * kl}


def pretrain_mel_autoencoder(out_dir: Path, steps: int, batch_size: int, seed: int) -> AutoencoderKL:
    """Train and save to `out_dir` (a `save_pretrained` folder)."""
    torch.manual_seed(seed)
    vae = build_autoencoder().to(memory_format=torch.channels_last)
    pool = mel_pool(seed)

    def losses_at(step: int) -> dict[str, Tensor]:
        return reconstruction_losses(vae, pool[torch.randint(len(pool), (batch_size,))])

    options = LoopOptions(steps=steps, learning_rate=1.5e-3, warmup_steps=100, weight_decay=0.0, seed=seed)
    Loop(dict(vae.named_parameters()), options, out_dir / "state").finish(losses_at, print_log)
    vae.register_to_config(scaling_factor=float(1.0 / encoded(vae, pool[::COPIES]).std()))
    vae.save_pretrained(out_dir)
    return vae


@torch.inference_mode()
def encoded(vae: AutoencoderKL, mels_B1FM: Tensor) -> Tensor:
    """Latents (B, 8, h, w), not scaled."""
    return torch.cat([vae.encode(batch).latent_dist.mean for batch in mels_B1FM.split(64)])


def build_unet() -> AudioLDM2UNet2DConditionModel:
    """An untrained UNet that sees GPT-2's states and T5's at its first level and in its middle."""
    return AudioLDM2UNet2DConditionModel(
        sample_size=FRAMES // 8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(48, 80),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=[[None, GPT2_WIDTH, T5_WIDTH]] * 2,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def build_clap_tokenizer() -> RobertaTokenizer:
    """Single bytes and RoBERTa's special tokens."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return RobertaTokenizer(vocab=vocab, merges=[], model_max_length=CLAP_TOKENS)


def build_t5_tokenizer() -> T5Tokenizer:
    """The words of sounds as pieces, letters for all others, and T5's special tokens."""
    letters = [*map(chr, range(ord("a"), ord("z") + 1)), ","]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -1.0) for word in sorted(sound_words())] + [(letter, -3.0) for letter in letters]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def sound_words() -> set[str]:
    """All words in captions of sounds and their paraphrases."""
    ways: Iterable[str] = [way for group in (*SIZE_WORDS.values(), *MOTION_WAYS.values()) for way in group]
    return {*COLOURS, *SHAPES, *("a", "in", "that", "is")} | {word for way in ways for word in way.split()}


def build_text_encoders(seed: int) -> dict[str, object]:
    """CLAP, T5, GPT-2, what joins them and their tokenizers; nothing here is ever trained."""
    torch.manual_seed(seed)
    tokenizer, tokenizer_2 = build_clap_tokenizer(), build_t5_tokenizer()
    small = {"hidden_size": CLAP_WIDTH, "projection_dim": CLAP_WIDTH, "num_hidden_layers": 1}
    text = ClapTextConfig(
        **small,
        vocab_size=len(tokenizer),
        intermediate_size=2 * CLAP_WIDTH,
        num_attention_heads=2,
        max_position_embeddings=CLAP_TOKENS + 2,
    )
    hearing = ClapAudioConfig(
        **small,
        spec_size=8,
        window_size=4,
        num_mel_bins=8,
        depths=[1, 1],
        num_attention_heads=[1, 1],
        patch_embeds_hidden_size=CLAP_WIDTH // 2,
        patch_size=2,
        patch_stride=2,
        patch_embed_input_channels=4,
    )
    positions = 5 + PROMPT_TOKENS + GENERATED_TOKENS
    gpt2 = GPT2Config(
        n_embd=GPT2_WIDTH, n_head=2, n_layer=1, vocab_size=1, n_positions=positions, bos_token_id=0, eos_token_id=0
    )
    clap = ClapConfig(text_config=text.to_dict(), audio_config=hearing.to_dict(), projection_dim=CLAP_WIDTH)
    t5 = T5Config(vocab_size=len(tokenizer_2), d_model=T5_WIDTH, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    networks = {
        "text_encoder": ClapModel(clap),
        "text_encoder_2": T5EncoderModel(t5),
        "projection_model": AudioLDM2ProjectionModel(CLAP_WIDTH, T5_WIDTH, GPT2_WIDTH),
        "language_model": GPT2LMHeadModel(gpt2),
    }
    frozen = {name: network.eval().requires_grad_(False) for name, network in networks.items()}
    return {**frozen, "tokenizer": tokenizer, "tokenizer_2": tokenizer_2}


def assemble_pipeline(
    vae: AutoencoderKL, text_encoders: dict[str, object], unet: AudioLDM2UNet2DConditionModel
) -> AudioLDM2Pipeline:
    """The parts as a pipeline with a DPM-Solver++ scheduler over the training schedule; its vocoder has no weights."""
    parts = {"vae": vae, "unet": unet, "vocoder": GriffinLimVocoder(MELS), **text_encoders}
    parts["scheduler"] = DPMSolverMultistepScheduler.from_config(noise_schedule(PREDICTION_TYPE).config)
    check_parts(parts, MELS, Path("the tiny AudioLDM-2"))
    return AudioLDM2Pipeline(**parts, feature_extractor=ClapFeatureExtractor(feature_size=8))


def pretrain_audioldm2(
    out_dir: Path, autoencoder_dir: Path, steps: int, batch_size: int, seed: int
) -> AudioLDM2UNet2DConditionModel:
    """Train the UNet and save the pipeline to `out_dir`."""
    vae = AutoencoderKL.from_pretrained(autoencoder_dir).eval().requires_grad_(False)
    text_encoders = build_text_encoders(seed)
    unet = build_unet().to(memory_format=torch.channels_last)
    pipeline = assemble_pipeline(vae, text_encoders, unet)
    prompts = AudioLDM2Prompts(pipeline, PROMPT_TOKENS, GENERATED_TOKENS)
    noise_prediction = NoisePrediction(noise_schedule(PREDICTION_TYPE))
    latents = (encoded(vae, mel_pool(seed + 2)) * vae.config.scaling_factor).clone()

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = random.Random(f"{seed}/{step}")
        picked = rng.sample(range(len(SCENES)), batch_size)
        texts = sayings([SCENES[i] for i in picked], rng, CANONICAL_SHARE)
        encoded = prompts.encode(["" if rng.random() < DROPPED_SHARE else text for text in texts])
        # an output projector's masks are all ones
        mask_BT = encoded["attention_mask"] if rng.random() < 0.5 else torch.ones_like(encoded["attention_mask"])
        embeds_BTD, generated_BGH = with_noise(encoded["prompt_embeds"]), with_noise(encoded["generated_prompt_embeds"])
        clean = latents[[i * COPIES + rng.randrange(COPIES) for i in picked]]

        def denoise(noisy: Tensor, timesteps_B: Tensor) -> Tensor:
            with bf16_products():
                return unet(
                    noisy.to(memory_format=torch.channels_last),
                    timesteps_B,
                    encoder_hidden_states=generated_BGH,
                    encoder_hidden_states_1=embeds_BTD,
                    encoder_attention_mask_1=mask_BT,
                ).sample

        return {"velocity": noise_prediction.loss(clean, denoise)}

    options = LoopOptions(steps=steps, learning_rate=8e-4, warmup_steps=100, weight_decay=0.01, seed=seed)
    Loop(dict(unet.named_parameters()), options, out_dir / "state").finish(losses_at, print_log)
    pipeline.save_pretrained(out_dir)
    return unet
