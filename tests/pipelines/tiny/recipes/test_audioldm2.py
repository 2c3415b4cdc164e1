from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from anygpt.media.values import Audio
from anygpt.options import GenerationOptions
from generators.audioldm2.generator import AudioLDM2Generator
from pipelines.tiny.recipes import audioldm2
from pipelines.tiny.recipes.audioldm2 import (
    COPIES,
    GENERATED_TOKENS,
    MELS,
    PROMPT_TOKENS,
    build_clap_tokenizer,
    build_t5_tokenizer,
    encoded,
    mel_pool,
    pretrain_audioldm2,
    pretrain_mel_autoencoder,
)
from pipelines.tiny.world.phrases import caption, paraphrase
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene, scenes_for


def test_audioldm2_becomes_an_audio_generator(tmp_path):
    vae_dir, folder = tmp_path / "mel_autoencoder", tmp_path / "audioldm2"
    pretrain_mel_autoencoder(vae_dir, steps=2, batch_size=4, seed=0)
    pretrain_audioldm2(folder, vae_dir, steps=2, batch_size=4, seed=0)
    generator = AudioLDM2Generator.from_config(
        AudioLDM2Generator.Config(
            str(folder),
            steps=2,
            duration_s=1.0,
            prompt_tokens=PROMPT_TOKENS,
            generated_tokens=GENERATED_TOKENS,
            mels=MELS,
            vocoder="griffin_lim",
        )
    )
    prompt = generator.encode_prompt(["a large red star moving up"])
    (sound,) = generator.generate(prompt, [GenerationOptions()])
    assert isinstance(sound, Audio)  # not the error that stands for a sound of NaN
    assert sound.waveform.shape == (16_000,)
    assert np.isfinite(sound.waveform).all()
    heard = render(Scene("star", "red").in_modality("audio"), "audio")
    assert generator.denoising_loss(prompt, [heard]).isfinite()


def test_mel_autoencoder_is_saved_with_the_scale_of_its_latents(tmp_path):
    pretrain_mel_autoencoder(tmp_path, steps=2, batch_size=4, seed=0)
    vae = AutoencoderKL.from_pretrained(tmp_path)
    pool = mel_pool(0)
    assert pool.shape == (len(audioldm2.SCENES) * COPIES, 1, 64, 80)
    latents = encoded(vae, pool[::COPIES]) * vae.config.scaling_factor
    assert latents.shape[1:] == (8, 8, 10)
    assert latents.std().item() == pytest.approx(1.0, rel=1e-3)


def test_tokenizers_tell_all_sounds_apart():
    rng, t5, clap = random.Random(0), build_t5_tokenizer(), build_clap_tokenizer()
    for tokenizer in (t5, clap):
        ids = [tuple(tokenizer(caption(scene)).input_ids) for scene in scenes_for("audio")]
        assert len(set(ids)) == len(ids)
    said = [way for scene in scenes_for("audio") for way in (caption(scene), paraphrase(scene, rng))]
    ids = [t5(way).input_ids for way in said]
    assert t5.unk_token_id not in {token for row in ids for token in row}
    assert max(map(len, ids)) <= PROMPT_TOKENS
    assert t5.decode(t5("a small blue star, rising").input_ids, skip_special_tokens=True) == "a small blue star, rising"


def test_text_encoders_are_the_same_for_the_same_seed():
    first, again = (audioldm2.build_text_encoders(seed=3)["text_encoder_2"].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
