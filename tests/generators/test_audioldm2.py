"""AudioLDM2Generator against its contract, diffusers' own pipeline and the text encoders' formula."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AudioLDM2Pipeline
from torch import Tensor
from transformers import GPT2LMHeadModel

from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.config.resolve import resolve_component
from anygpt.errors import CheckpointError, ConfigError, MediaError, RequestError, StageError
from anygpt.media.values import Audio
from anygpt.options import GenerationOptions
from generators import GENERATORS
from generators.audioldm2.generator import AudioLDM2Generator
from generators.audioldm2.griffin_lim import GriffinLimVocoder
from generators.audioldm2.log_mels import LogMels
from generators.audioldm2.prompts import generate_states
from tests.generators.generator_contract import GeneratorContract
from tests.generators.tiny_audioldm2 import (
    DURATION_S,
    GENERATED_TOKENS,
    GPT2_DIM,
    MELS,
    PROMPT_TOKENS,
    SAMPLES,
    T5_DIM,
    load,
    save_tiny_audioldm2,
)
from tests.generators.tiny_stable_diffusion import edit_json, edit_tensors

RATE_HZ = MELS.sampling_rate_hz


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_audioldm2(tmp_path_factory.mktemp("audioldm2"))


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


@pytest.fixture(scope="module")
def generator(folder: Path) -> AudioLDM2Generator:
    return load(folder)


@pytest.fixture(scope="module")
def with_griffin_lim(folder: Path) -> AudioLDM2Generator:
    return load(folder, vocoder="griffin_lim")


def play(generator: AudioLDM2Generator, prompt: str = "a red dog", **options: Any) -> np.ndarray:
    return generator.generate(generator.encode_prompt([prompt]), [GenerationOptions(**options)])[0].waveform


def tone(pitch_hz: float = 440.0, duration_s: float = DURATION_S, peak: float = 0.5) -> Audio:
    times_S = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return Audio((peak * np.sin(2 * np.pi * pitch_hz * times_S)).astype(np.float32), RATE_HZ)


class ContractOfSounds(GeneratorContract):
    def as_tensor(self, medium: Audio) -> Tensor:
        return torch.from_numpy(medium.waveform)

    def example_media(self, count: int) -> list[Audio]:
        return [tone(200.0 * (1 + index)) for index in range(count)]


class TestContract(ContractOfSounds):
    pass


class TestContractWithGriffinLim(ContractOfSounds):
    @pytest.fixture
    def generator(self, with_griffin_lim: AudioLDM2Generator) -> AudioLDM2Generator:
        return with_griffin_lim


def test_registry_resolves_the_class() -> None:
    assert GENERATORS.resolve("audioldm2") is AudioLDM2Generator


def test_spec_comes_from_config_and_text_encoders(generator: AudioLDM2Generator) -> None:
    spec = generator.conditioning_spec
    assert {name: tensor.shape for name, tensor in spec.items()} == {
        "prompt_embeds": (PROMPT_TOKENS, T5_DIM),
        "generated_prompt_embeds": (GENERATED_TOKENS, GPT2_DIM),
        "attention_mask": (PROMPT_TOKENS,),
    }
    assert [name for name, tensor in spec.items() if tensor.is_mask] == ["attention_mask"]


@pytest.mark.parametrize("vocoder", ["checkpoint", "griffin_lim"])
def test_sounds_have_the_asked_length(folder: Path, vocoder: str) -> None:
    generator = load(folder, vocoder=vocoder)
    durations = [None, 0.001, 0.29, 0.3]
    options = [GenerationOptions(duration_s=duration) for duration in durations]
    sounds = generator.generate(generator.encode_prompt(["a cat"] * 4), options)
    assert [len(sound.waveform) for sound in sounds] == [SAMPLES, 4, 1160, 1200]
    assert {sound.sampling_rate_hz for sound in sounds} == {RATE_HZ}
    assert all(sound.waveform.dtype == np.float32 for sound in sounds)


def reference_encoding(generator: AudioLDM2Generator, prompt: str) -> tuple[Tensor, Tensor]:
    """What diffusers computes for one prompt alone, with every step of GPT-2 run from the start."""
    modules: dict[str, Any] = generator.modules
    clap_text, t5_text = (
        getattr(generator._pipeline, name)([prompt], return_tensors="pt") for name in ("tokenizer", "tokenizer_2")
    )
    t5_BLD = modules["text_encoder_2"](t5_text.input_ids).last_hidden_state
    states_BLH = modules["projection_model"](
        modules["text_encoder"].get_text_features(clap_text.input_ids).pooler_output[:, None], t5_BLD
    ).hidden_states
    for _ in range(GENERATED_TOKENS):
        last_B1H = modules["language_model"](inputs_embeds=states_BLH, use_cache=False).last_hidden_state[:, -1:]
        states_BLH = torch.cat([states_BLH, last_B1H], 1)
    return t5_BLD[0], states_BLH[0, -GENERATED_TOKENS:]


def test_every_prompt_of_a_batch_is_encoded_as_diffusers_encodes_it_alone(generator: AudioLDM2Generator) -> None:
    prompts = ["a red dog", "a cat", "", "two dogs and a cat"]
    conditioning = generator.encode_prompt(prompts)
    for item, prompt in enumerate(prompts):
        t5_LD, generated_GH = reference_encoding(generator, prompt)
        length = len(t5_LD)
        assert conditioning["attention_mask"][item].tolist() == [1] * length + [0] * (PROMPT_TOKENS - length)
        torch.testing.assert_close(conditioning["prompt_embeds"][item, :length], t5_LD, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(conditioning["generated_prompt_embeds"][item], generated_GH, rtol=1e-4, atol=1e-5)


def test_masked_places_repeat_the_prompt(generator: AudioLDM2Generator) -> None:
    conditioning = generator.encode_prompt(["a cat"])
    length = int(conditioning["attention_mask"].sum())
    embeds_TD = conditioning["prompt_embeds"][0]
    assert torch.equal(embeds_TD[length:], embeds_TD[: PROMPT_TOKENS - length].repeat(4, 1)[: PROMPT_TOKENS - length])


def test_whole_repetitions_sound_the_same_with_a_projectors_mask_of_ones(folder: Path) -> None:
    length = int(load(folder).encode_prompt(["a cat"])["attention_mask"].sum())
    generator = load(folder, prompt_tokens=2 * length, guidance=1.0)
    conditioning = generator.encode_prompt(["a cat"])
    ones = {**conditioning, "attention_mask": torch.ones_like(conditioning["attention_mask"])}
    first, second = (generator.generate(each, [GenerationOptions()])[0].waveform for each in (conditioning, ones))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_states_of_a_batch_do_not_depend_on_where_its_masks_are(generator: AudioLDM2Generator) -> None:
    torch.manual_seed(0)
    embeds_BLH = torch.randn(1, 6, GPT2_DIM)
    language_model = generator.modules["language_model"]
    with torch.no_grad():
        dense = generate_states(language_model, embeds_BLH, torch.ones(1, 6, dtype=torch.int64), 3)
        for mask in ([1, 1, 1, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1]):
            mask_BL = torch.tensor([mask])
            gaps_BLH = torch.full((1, 8, GPT2_DIM), 9.0)
            gaps_BLH[:, mask_BL[0].bool()] = embeds_BLH
            torch.testing.assert_close(generate_states(language_model, gaps_BLH, mask_BL, 3), dense)


def test_checkpoints_with_a_language_model_head_load_too(folder: Path, damaged: Path) -> None:
    torch.manual_seed(0)
    plain = load(folder)
    headed = GPT2LMHeadModel(plain.modules["language_model"].config)
    headed.transformer.load_state_dict(plain.modules["language_model"].state_dict())
    with quiet_libraries():
        headed.save_pretrained(damaged / "language_model")
    edit_json(damaged / "model_index.json", language_model=["transformers", "GPT2LMHeadModel"])
    prompts = ["a red dog"]
    first, second = (each.encode_prompt(prompts)["generated_prompt_embeds"] for each in (plain, load(damaged)))
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_sound_is_what_diffusers_plays(folder: Path, guidance: float) -> None:
    generator = load(folder, scheduler="checkpoint")
    with quiet_libraries():
        pipeline = AudioLDM2Pipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    conditioning = generator.encode_prompt(["a red dog"])
    negative = {f"negative_{name}": tensor for name, tensor in generator.encode_prompt([""]).items()}
    expected_BS = pipeline(
        **conditioning,
        **negative,
        audio_length_in_s=0.256,
        num_inference_steps=4,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(7),
    ).audios
    played_S = play(generator, seed=7, steps=4, guidance=guidance)
    assert np.array_equal(played_S, expected_BS[0, :SAMPLES])
    assert 0 < np.abs(played_S).max() <= 1


def test_loudness_is_the_vocoders(generator: AudioLDM2Generator) -> None:
    vocoder = generator.modules["vocoder"]
    loud_S = play(generator)
    hook = vocoder.register_forward_hook(lambda module, given, output: output / 10)
    quiet_S = play(generator)
    hook.remove()
    hook = vocoder.register_forward_hook(lambda module, given, output: output * 1e6)
    clipped_S = play(generator)
    hook.remove()
    np.testing.assert_allclose(quiet_S * 10, loud_S, rtol=1e-4)
    assert np.array_equal(np.unique(np.abs(clipped_S)), [1.0])


def test_griffin_lim_needs_no_vocoder_and_sounds_like_its_mels(damaged: Path) -> None:
    shutil.rmtree(damaged / "vocoder")
    edit_json(damaged / "model_index.json", vocoder=[None, None])
    generator = load(damaged, vocoder="griffin_lim")
    vocoder = generator.modules["vocoder"]
    assert isinstance(vocoder, GriffinLimVocoder)
    calls: list[tuple[Tensor, Tensor]] = []
    hook = vocoder.register_forward_hook(lambda module, given, output: calls.append((given[0], output)))
    played_S = play(generator)
    hook.remove()
    ((log_mels_BTM, waveform_BS),) = calls
    assert log_mels_BTM.shape == (1, 32, MELS.bands)
    np.testing.assert_array_equal(played_S, waveform_BS[0, :SAMPLES].clamp(-1, 1))


@pytest.mark.parametrize("vocoder", ["checkpoint", "griffin_lim"])
def test_padded_batches_are_bit_for_bit_the_same_alone_or_together(folder: Path, vocoder: str) -> None:
    padded = load(folder, max_batch_size=2, pad_batches=True, vocoder=vocoder)
    conditioning = padded.encode_prompt(["a red dog", "a cat", "a dog"])
    options = [GenerationOptions(seed=seed) for seed in range(3)]
    together = padded.generate(conditioning, options)
    for item, option in enumerate(options):
        one = {name: tensor[[item]] for name, tensor in conditioning.items()}
        assert np.array_equal(padded.generate(one, [option])[0].waveform, together[item].waveform)


def test_samplers_that_draw_noise_take_it_from_each_sounds_own_seed(damaged: Path) -> None:
    edit_json(damaged / "model_index.json", scheduler=["diffusers", "EulerAncestralDiscreteScheduler"])
    generator = load(damaged, scheduler="checkpoint", max_batch_size=2, pad_batches=True)
    conditioning = generator.encode_prompt(["a red dog", "a red dog"])
    options = [GenerationOptions(seed=1), GenerationOptions(seed=2)]
    together = generator.generate(conditioning, options)
    assert not np.array_equal(together[0].waveform, together[1].waveform)
    for item, option in enumerate(options):
        one = {name: tensor[[item]] for name, tensor in conditioning.items()}
        assert np.array_equal(generator.generate(one, [option])[0].waveform, together[item].waveform)


def test_compatibility_key_fills_in_the_defaults(generator: AudioLDM2Generator) -> None:
    key = generator.compatibility_key
    explicit = GenerationOptions(seed=9, steps=3, guidance=3.0, duration_s=DURATION_S, width_px=99)
    assert key(GenerationOptions(seed=1)) == key(explicit) == (3, 3.0, SAMPLES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 401}, "steps: 401 given, expected at most max_steps=400"),
        ({"duration_s": 60.5}, "duration_s: 60.5 given, expected at most max_duration_s=60"),
    ],
)
def test_impossible_options_are_refused(generator: AudioLDM2Generator, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        generator.compatibility_key(GenerationOptions(**options))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"steps": 0}, "steps: 0 given, expected at least 1"),
        ({"duration_s": 0.0}, "duration_s: 0.0 given, expected a number above 0"),
        ({"guidance": 101.0}, "guidance: 101.0 given, expected 0 to 100"),
        ({"vocoder": "magic"}, "vocoder.*magic"),
        ({"mels": {"bands": 0}}, ".*bands: 0 given, expected at least 1"),
    ],
)
def test_wrong_config_is_refused_by_key(config: dict[str, Any], message: str) -> None:
    values = {"name": "audioldm2", "pretrained": "anything", **config}
    with pytest.raises(ConfigError, match=f"^generators.audio.{message}"):
        resolve_component(GENERATORS, values, "generators.audio")


def test_config_from_plain_values_reaches_the_mels() -> None:
    values = {"name": "audioldm2", "pretrained": "anything", "mels": {"bands": 80}}
    _, config = resolve_component(GENERATORS, values, "generators.audio")
    assert config.mels == LogMels.Config(bands=80)
    assert (config.steps, config.guidance, config.vocoder) == (200, 3.5, "checkpoint")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"duration_s": 100.0}, "generators.audio: the defaults cannot be made; duration_s: 100 given"),
        ({"prompt_tokens": 25}, "prompt_tokens=25, generated_tokens=8 given, expected at most 32 together"),
    ],
)
def test_defaults_that_the_checkpoint_cannot_make_are_refused(
    folder: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(folder, **config)


def test_loss_is_that_of_the_filled_up_sounds_log_mels(generator: AudioLDM2Generator) -> None:
    unet, calls = generator.modules["unet"], []
    hook = unet.register_forward_hook(
        lambda module, given, named, output: calls.append((given, named, output.sample)), with_kwargs=True
    )
    conditioning = generator.encode_prompt(["a cat"])
    short = tone(duration_s=0.1)
    torch.manual_seed(0)
    loss = generator.denoising_loss(conditioning, [short])
    hook.remove()
    (((noisy_BCFM, timesteps_B), named, predicted_BCFM),) = calls
    torch.manual_seed(0)
    filled_S = np.pad(short.waveform, (0, 1024 - len(short.waveform)))
    mels_BTM = LogMels(MELS)(torch.from_numpy(filled_S)[None])
    vae: Any = generator.modules["vae"]
    latents_BCFM = vae.encode(mels_BTM[:, None]).latent_dist.sample() * vae.config.scaling_factor
    noise_BCFM = torch.randn(latents_BCFM.shape)
    kept = torch.cumprod(1 - torch.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2, 0)[timesteps_B].sqrt()
    torch.testing.assert_close(noisy_BCFM, kept * latents_BCFM + (1 - kept**2).sqrt() * noise_BCFM)
    torch.testing.assert_close(loss, (predicted_BCFM - noise_BCFM).square().mean())
    assert torch.equal(named["encoder_hidden_states"], conditioning["generated_prompt_embeds"])
    assert torch.equal(named["encoder_hidden_states_1"], conditioning["prompt_embeds"])
    assert torch.equal(named["encoder_attention_mask_1"], conditioning["attention_mask"])


def test_loss_takes_sounds_of_the_right_rate_only(generator: AudioLDM2Generator) -> None:
    conditioning = generator.encode_prompt(["a cat"])
    with pytest.raises(MediaError, match=r"media\[0\]: str given, expected an Audio"):
        generator.denoising_loss(conditioning, ["cat.wav"])
    with pytest.raises(MediaError, match=r"media\[0\]: sampling_rate_hz 8000 given, expected 4000; resample it"):
        generator.denoising_loss(conditioning, [Audio(np.zeros(100, np.float32), 8000)])


@pytest.mark.parametrize("vocoder", ["checkpoint", "griffin_lim"])
def test_networks_that_overflow_cost_only_the_sound(damaged: Path, vocoder: str) -> None:
    weights = damaged / "vae" / "diffusion_pytorch_model.safetensors"
    edit_tensors(weights, lambda tensors: tensors["decoder.conv_out.bias"].fill_(torch.nan))
    generator = load(damaged, vocoder=vocoder)
    played = generator.generate(generator.encode_prompt(["a cat"]), [GenerationOptions()])[0]
    assert isinstance(played, StageError)
    assert played.stage == "generators.audio"
    assert "made NaN or infinity" in str(played)


PARTS = ["unet", "vae", "text_encoder", "text_encoder_2", "projection_model", "language_model", "vocoder"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_missing_or_incomplete_is_named(damaged: Path, part: str) -> None:
    path = next((damaged / part).glob("*.safetensors"))
    edit_tensors(path, lambda tensors: tensors.update(surplus=torch.ones(2)))
    with pytest.raises(CheckpointError, match=f"'{part}': tensor 'surplus' is not expected"):
        load(damaged)
    edit_tensors(path, lambda tensors: [tensors.pop("surplus"), tensors.popitem()])
    with pytest.raises(CheckpointError, match=f"'{part}': tensor '.*' is missing"):
        load(damaged)
    shutil.rmtree(damaged / part)
    with pytest.raises(CheckpointError, match=f"'{part}' has no config.json"):
        load(damaged)


def change(name: str, **changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, **changes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("model_index.json", _class_name="AudioLDMPipeline"), "names a 'AudioLDMPipeline', expected 'AudioLDM2"),
        (change("model_index.json", text_encoder_2=["transformers", "VitsModel"]), "'text_encoder_2' is a 'VitsModel'"),
        (change("vocoder/config.json", sampling_rate=8000), "vocoder.sampling_rate is 8000, expected 4000"),
        (lambda folder: shutil.rmtree(folder / "tokenizer_2"), "'tokenizer_2' has no tokenizer.json or spiece.model"),
    ],
)
def test_folders_that_do_not_fit_are_refused(damaged: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(damaged)
    with pytest.raises(CheckpointError, match=message):
        load(damaged)


def test_other_mels_than_the_vocoders_are_refused(folder: Path) -> None:
    wrong = LogMels.Config(sampling_rate_hz=4000, bands=32, fft_size=128, hop_size=32, high_hz=2000.0)
    with pytest.raises(CheckpointError, match=r"vocoder.model_in_dim is 16, expected 32 \(mels.bands\)"):
        load(folder, mels=wrong)


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder)
    assert capfd.readouterr() == ("", "")
